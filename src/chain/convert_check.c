/* SPDX-License-Identifier: Apache-2.0 */
#include "convert_check.h"

#include <string.h>

#include "convert_bitmaps.h"

/* --- what a new target is asked to be ------------------------------------------------------- */

static int set_backing(struct convert_target *target, struct qimg_error *err)
{
    const struct qimg_convert_options *asked = target->asked;
    struct create_options *create = &target->create;

    if (asked->backing_name && !create_options_set(create, "backing_file", asked->backing_name, 0))
        return qimg_fail(err, EINVAL, "Backing file not supported for file format '%s'",
                         create->format);
    if (asked->backing_format &&
        !create_options_set(create, "backing_fmt", asked->backing_format, 0))
        return qimg_fail(err, EINVAL, "Backing file format not supported for file format '%s'",
                         create->format);
    return 0;
}

/* The size is the sources', whatever -o says. */
static int read_options(struct convert_target *target, struct qimg_error *err)
{
    const struct qimg_convert_options *asked = target->asked;

    TRY(create_options_init(&target->create, asked->target_format, err));
    TRY(create_options_parse(&target->create, asked->options, asked->option_count, err));
    (void)create_options_set(&target->create, "size", "", target->size);
    return set_backing(target, err);
}

static const char *option_of(const struct convert_target *target, const char *name)
{
    return target->fresh ? create_options_get(&target->create, name) : NULL;
}

static int check_backing(struct convert_target *target, struct qimg_error *err)
{
    const char *recorded = option_of(target, "backing_file");

    target->has_backing = recorded || target->asked->backing_name;
    if (!target->has_backing)
        return 0;
    if (target->asked->target_is_zero)
        return qimg_fail(err, EINVAL,
                         "Cannot use --target-is-zero when the destination image has a backing "
                         "file");
    if (target->asked->source_count > 1)
        return qimg_fail(err, EINVAL,
                         "Having a backing file for the target makes no sense when concatenating "
                         "multiple input images");
    if (recorded && *recorded == '\0')
        return qimg_fail(err, EINVAL, "Expected backing file name, got empty string");
    if (recorded && !option_of(target, "backing_fmt"))
        return qimg_fail(err, EINVAL, "Use of backing file requires explicit backing format");
    return 0;
}

static bool wants_encryption(const struct convert_target *target)
{
    const char *encryption = option_of(target, "encryption");

    return (encryption && strcmp(encryption, "off") != 0) || option_of(target, "encrypt.format");
}

static int check_compression(const struct convert_target *target, struct qimg_error *err)
{
    const char *preallocation = option_of(target, "preallocation");

    if (!target->asked->compress)
        return 0;
    if (target->fresh)
        TRY(convert_check_format(target, format_find(target->create.format), err));
    if (wants_encryption(target))
        return qimg_fail(err, EINVAL, "Compression and encryption not supported at the same time");
    if (preallocation && strcmp(preallocation, "off") != 0)
        return qimg_fail(err, EINVAL,
                         "Compression and preallocation not supported at the same time");
    return 0;
}

int convert_check_target(struct convert_target *target, struct qimg_error *err)
{
    if (target->fresh)
        TRY(read_options(target, err));
    TRY(check_backing(target, err));
    TRY(check_compression(target, err));
    return convert_check_bitmaps(target->asked, err);
}

int convert_check_format(const struct convert_target *target, const struct format_ops *format,
                         struct qimg_error *err)
{
    const struct qimg_convert_options *asked = target->asked;

    if (asked->bitmaps && !format->change_bitmaps)
        return qimg_fail(err, ENOTSUP, "Format driver '%s' does not support bitmaps", format->name);
    if (asked->compress && (!format->write || !format->write->packed_begin))
        return qimg_fail(err, ENOTSUP, "Compression not supported for this file format");
    return 0;
}

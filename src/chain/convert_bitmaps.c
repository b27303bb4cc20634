/* SPDX-License-Identifier: Apache-2.0 */
#include "convert_bitmaps.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "qimg/bitmap.h"
#include "str.h"

#define STEPS 3 /* for one bitmap at most: add, merge, disable */

static const struct qimg_bitmap_info *bitmaps_of(const struct qimg_info *info, size_t *count)
{
    *count = info->qcow2 ? info->qcow2->bitmap_count : 0;
    return *count ? info->qcow2->bitmaps : NULL;
}

static int check(const struct qimg_info *info, struct qimg_error *err)
{
    size_t count;
    const struct qimg_bitmap_info *bitmaps = bitmaps_of(info, &count);

    for (size_t i = count; i-- > 0;) { /* in QEMU's order */
        if (!bitmaps[i].in_use)
            continue;
        (void)qimg_fail(err, EINVAL, "Cannot copy inconsistent bitmap '%s'", bitmaps[i].name);
        return qimg_hint(err, "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to "
                              "delete it");
    }
    return 0;
}

int convert_check_bitmaps(const struct qimg_convert_options *options, struct qimg_error *err)
{
    AUTO(qimg_info_release) struct qimg_info info = { 0 };

    if (!options->bitmaps)
        return 0;
    if (options->source_count > 1)
        return qimg_fail(err, EINVAL, "Copying bitmaps only possible with single source");
    if (!options->sources[0]->layers[0].image->ops->change_bitmaps)
        return qimg_fail(err, ENOTSUP, "Source lacks bitmap support");
    if (options->skip_broken_bitmaps)
        return 0;
    TRY(qimg_image_info(options->sources[0], &info, err));
    return check(&info, err);
}

/* QEMU goes through its list backwards. */
static void tell_skipped(const struct qimg_context *context, const struct qimg_bitmap_info *bitmaps,
                         size_t count)
{
    while (count-- > 0)
        if (bitmaps[count].in_use)
            context_note(context, QIMG_NOTE_WARNING, "Skipping inconsistent bitmap '%s'",
                         bitmaps[count].name);
}

/* What makes a copy of @from; returns the number of steps. */
static size_t add_steps(const struct qimg_bitmap_info *from, struct qimg_image *source,
                        struct qimg_bitmap_action *steps)
{
    size_t count = 0;

    steps[count++] = (struct qimg_bitmap_action){ .verb = QIMG_BITMAP_ADD,
                                                  .name = from->name,
                                                  .granularity = from->granularity };
    steps[count++] = (struct qimg_bitmap_action){
        .verb = QIMG_BITMAP_MERGE, .name = from->name, .source = from->name, .source_image = source
    };
    if (!from->enabled)
        steps[count++] =
            (struct qimg_bitmap_action){ .verb = QIMG_BITMAP_DISABLE, .name = from->name };
    return count;
}

/* The words of convert for what failed, which @err tells in those of the bitmap command. */
static int in_words_of_convert(const char *verb, const char *word, const char *name,
                               struct qimg_error *err)
{
    AUTO_FREE char *prefix = str_format("Operation %s on bitmap %s failed: ", verb, name);
    const size_t len = prefix ? strlen(prefix) : 0;

    if (len == 0 || strncmp(err->text, prefix, len) != 0)
        return 0;
    memmove(err->text, err->text + len, strlen(err->text + len) + 1);
    (void)qimg_within(err, "Failed to %s bitmap %s", word, name);
    return 1;
}

static int copy_failed(const struct qimg_bitmap_info *bitmaps, size_t count, struct qimg_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (in_words_of_convert("add", "create", bitmaps[i].name, err) ||
            in_words_of_convert("merge", "populate", bitmaps[i].name, err))
            break;
    return -err->code;
}

int convert_copy_bitmaps(const struct qimg_convert_options *options, struct qimg_image *target,
                         struct qimg_error *err)
{
    AUTO(qimg_info_release) struct qimg_info info = { 0 };
    struct qimg_image *source = options->sources[0];
    size_t count, used = 0;

    TRY(qimg_image_info(source, &info, err));
    const struct qimg_bitmap_info *bitmaps = bitmaps_of(&info, &count);
    AUTO_FREE struct qimg_bitmap_action *steps = calloc(count * STEPS + 1, sizeof(*steps));
    if (!steps)
        return qimg_fail_memory(err);
    tell_skipped(source->context, bitmaps, count);
    for (size_t i = 0; i < count; i++)
        if (!bitmaps[i].in_use)
            used += add_steps(&bitmaps[i], source, steps + used);
    const int rc = qimg_image_change_bitmaps(target, steps, used, err);
    return rc < 0 ? copy_failed(bitmaps, count, err) : 0;
}

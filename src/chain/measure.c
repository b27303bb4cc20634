/* SPDX-License-Identifier: Apache-2.0
 *
 * How large an image would get: what of the source would be data, cluster by cluster of the target,
 * follows from the source's map alone; the rest is the target format's arithmetic.
 */
#include "measure_request.h"

#include <inttypes.h>
#include <string.h>

#include "bits.h"
#include "chain.h"
#include "cleanup.h"
#include "create_options.h"

#define SECTOR  512
#define EXTENTS 1024

/* Formats that QEMU makes and cannot measure. */
static const char *const unmeasured[] = { "file", "host_device", "parallels", "qcow", "qed",
                                          "vdi",  "vhdx",        "vmdk",      "vpc" };

static int refuse_format(const char *name, struct qimg_error *err)
{
    if (strcmp(name, "luks") == 0)
        return qimg_fail(err, ENOTSUP, "Measuring encrypted images is not supported");
    for (size_t i = 0; i < ARRAY_COUNT(unmeasured); i++)
        if (strcmp(unmeasured[i], name) == 0)
            return qimg_fail(err, ENOTSUP, "Block driver '%s' does not support size measurement",
                             name);
    return create_refuse_format(name, err);
}

/* --- the source ----------------------------------------------------------------------------- */

static bool is_data(const struct qimg_extent *extent)
{
    return extent->kind == QIMG_COMPRESSED || (extent->kind == QIMG_DATA && !extent->hole);
}

/* Bytes of the clusters in which @source has data. */
static int count_used(struct qimg_image *source, uint64_t cluster, uint64_t *used,
                      struct qimg_error *err)
{
    const uint64_t size = qimg_image_size(source);
    uint64_t at = 0, counted = 0; /* clusters before it were counted */
    AUTO_FREE struct qimg_extent *extents = calloc(EXTENTS, sizeof(*extents));

    if (!extents)
        return qimg_fail_memory(err);
    while (at < size) {
        const struct qimg_range rest = { at, size - at };
        const int n = qimg_image_map(source, rest, true, extents, EXTENTS, err);
        if (n < 0)
            return qimg_fail_errno(err, -n, "Unable to get block status");
        for (int i = 0; i < n; i++) {
            const struct qimg_extent *e = &extents[i];
            at = e->guest_off + e->len;
            if (!is_data(e) || at <= counted)
                continue;
            const uint64_t from = max_u64(counted, align_down(e->guest_off, cluster));
            counted = align_up(at, cluster);
            *used += counted - from;
        }
    }
    return 0;
}

static int look_at_source(const struct qimg_measure_options *options,
                          struct measure_request *request, struct qimg_info *info,
                          struct qimg_error *err)
{
    const struct create_spec *spec = request->spec;

    request->size = align_up(qimg_image_size(options->source), SECTOR);
    if (spec->cluster_size == 0)
        return 0;
    TRY(qimg_image_info(options->source, info, err));
    request->bitmaps = info->qcow2 && info->qcow2->version >= 3;
    if (request->bitmaps) {
        request->bitmap = info->qcow2->bitmaps;
        request->bitmap_count = info->qcow2->bitmap_count;
    }
    /* Nobody knows what of its chain the new image would share with the source. */
    if (spec->backing_name)
        request->used = align_up(request->size, spec->cluster_size);
    else
        TRY(count_used(options->source, spec->cluster_size, &request->used, err));
    return 0;
}

/* --- the whole ------------------------------------------------------------------------------ */

int qimg_measure(const struct qimg_measure_options *options, struct qimg_measure_result *out,
                 struct qimg_error *err)
{
    const char *name = options->format ? options->format : "raw";
    const struct format_ops *format = format_find(name);
    struct create_options given;
    struct create_spec spec;
    struct measure_request request = { .spec = &spec };
    AUTO(qimg_info_release) struct qimg_info info = { 0 };

    if (!format || !format->measure)
        return refuse_format(name, err);
    TRY(create_options_init(&given, name, err));
    TRY(create_options_parse(&given, options->options, options->option_count, err));
    if (!options->source)
        (void)create_options_set(&given, "size", "", options->size);
    TRY(create_options_for_measure(&given, &spec, err));
    if (options->source)
        TRY(look_at_source(options, &request, &info, err));
    else
        request.size = align_up(options->size, SECTOR);
    return format->measure(&request, out, err);
}

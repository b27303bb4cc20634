/* SPDX-License-Identifier: Apache-2.0
 *
 * What info says about a qcow2 image beyond what every format has.
 */
#include <stdlib.h>
#include <string.h>

#include "qcow2.h"

/* strdup for names that may be missing; tells a missing one from missing memory. */
static int copy_text(char **slot, const char *text, struct qimg_error *err)
{
    if (!text)
        return 0;
    *slot = strdup(text);
    return *slot ? 0 : qimg_fail_memory(err);
}

static int describe_snapshots(const struct qcow2 *q, struct qimg_info *info, struct qimg_error *err)
{
    if (q->snapshots.count == 0)
        return 0;
    info->snapshots = calloc(q->snapshots.count, sizeof(*info->snapshots));
    if (!info->snapshots)
        return qimg_fail_memory(err);
    for (size_t i = 0; i < q->snapshots.count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots.items[i];
        struct qimg_snapshot_info *out = &info->snapshots[info->snapshot_count++];
        out->vm_state_size = s->vm_state_size;
        out->date_sec = s->date_sec;
        out->date_nsec = s->date_nsec;
        out->vm_clock_nsec = s->vm_clock_nsec;
        out->icount = s->icount;
        out->disk_size = s->disk_size;
        TRY(copy_text(&out->id, s->id, err));
        TRY(copy_text(&out->name, s->name, err));
    }
    return 0;
}

static int describe_bitmaps(const struct qcow2 *q, struct qimg_qcow2_info *info,
                            struct qimg_error *err)
{
    if (q->bitmaps.count == 0)
        return 0;
    info->bitmaps = calloc(q->bitmaps.count, sizeof(*info->bitmaps));
    if (!info->bitmaps)
        return qimg_fail_memory(err);
    for (size_t i = 0; i < q->bitmaps.count; i++) {
        const struct qcow2_bitmap *b = &q->bitmaps.items[i];
        struct qimg_bitmap_info *out = &info->bitmaps[info->bitmap_count++];
        out->granularity = UINT64_C(1) << b->granularity_bits;
        out->in_use = b->flags & QCOW2_BITMAP_IN_USE;
        out->enabled = b->flags & QCOW2_BITMAP_AUTO;
        TRY(copy_text(&out->name, b->name, err));
    }
    return 0;
}

static enum qimg_encryption encryption_of(const struct qcow2_header *h)
{
    switch (h->crypt_method) {
    case QCOW2_CRYPT_AES:
        return QIMG_ENCRYPTION_AES;
    case QCOW2_CRYPT_LUKS:
        return QIMG_ENCRYPTION_LUKS;
    default:
        return QIMG_ENCRYPTION_NONE;
    }
}

static int describe_format(const struct qcow2 *q, struct qimg_qcow2_info *info,
                           struct qimg_error *err)
{
    const struct qcow2_header *h = &q->header;

    info->version = h->version;
    info->compression_type = h->compression_type == QCOW2_COMPRESSION_ZSTD ? "zstd" : "zlib";
    info->lazy_refcounts = h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
    info->corrupt = h->incompatible & QCOW2_INCOMPAT_CORRUPT;
    info->extended_l2 = q->geometry.extended_l2;
    info->refcount_bits = 1u << h->refcount_order;
    info->has_data_file = q->image.needs_data_file;
    info->data_file_raw = h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
    info->encryption = encryption_of(h);
    TRY(copy_text(&info->data_file, q->extensions.data_file, err));
    TRY(describe_bitmaps(q, info, err));
    return qcow2_luks_describe(q, &info->luks, err);
}

int qcow2_describe(struct image *image, struct qimg_info *info, struct qimg_error *err)
{
    const struct qcow2 *q = qcow2_of(image);

    info->cluster_size = image->cluster_size;
    info->encrypted = image->encrypted;
    info->has_dirty_flag = true;
    info->dirty_flag = q->header.incompatible & QCOW2_INCOMPAT_DIRTY;
    TRY(describe_snapshots(q, info, err));
    info->qcow2 = calloc(1, sizeof(*info->qcow2));
    if (!info->qcow2)
        return qimg_fail_memory(err);
    return describe_format(q, info->qcow2, err);
}

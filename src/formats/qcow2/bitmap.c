/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory of persistent bitmaps (layout in disk.h), checked as QEMU checks it whenever it
 * opens an image. What the bitmaps hold is not looked at here.
 */
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "bitmap_bits.h"
#include "checked.h"
#include "cleanup.h"
#include "qcow2.h"

#define MIN_GRANULARITY_BITS 9
#define MAX_GRANULARITY_BITS 31
#define ENTRY_MAX            (QCOW2_BITMAP_BYTES + 65536u) /* of one without extra data */
#define WINDOW_BYTES         (2 * ENTRY_MAX)

static int broken(struct qimg_error *err)
{
    return qimg_fail(err, EBADMSG, "Broken bitmap directory");
}

static bool is_sound(const struct qcow2 *q, const struct qcow2_bitmap *b, uint8_t type,
                     uint32_t name_len)
{
    const uint64_t data_bytes = (uint64_t)b->table_count << q->header.cluster_bits;

    if (type != QCOW2_BITMAP_DIRTY_TRACKING || (b->flags & ~QCOW2_BITMAP_KNOWN) ||
        name_len > LIMIT_QCOW2_BITMAP_NAME || b->granularity_bits < MIN_GRANULARITY_BITS ||
        b->granularity_bits > MAX_GRANULARITY_BITS)
        return false;
    if (b->table_count == 0 || b->table_count > LIMIT_QCOW2_BITMAP_TABLE || b->table_off == 0 ||
        !is_aligned(b->table_off, qcow2_cluster_size(q)) ||
        data_bytes > LIMIT_QCOW2_BITMAP_DATA_BYTES)
        return false;
    /* A bitmap in use may have missed a resize. The product fits: 2^29 * 8 << 31 < 2^64. */
    return b->flags & QCOW2_BITMAP_IN_USE || qcow2_disk_size(q) <= (data_bytes * 8)
                                                                       << b->granularity_bits;
}

/* One directory entry from @r, padding included. */
static int load_entry(struct qcow2 *q, struct reader *r, struct qimg_error *err)
{
    struct qcow2_bitmap b = { 0 };

    b.table_off = read_be64(r);
    b.table_count = read_be32(r);
    b.flags = read_be32(r);
    const uint8_t type = read_u8(r);
    b.granularity_bits = read_u8(r);
    const uint32_t name_len = read_be16(r);
    const uint32_t extra_len = read_be32(r);
    const uint8_t *extra = read_bytes(r, extra_len);
    const uint8_t *name = read_bytes(r, name_len);
    const uint64_t len = (uint64_t)QCOW2_BITMAP_BYTES + extra_len + name_len;
    (void)read_bytes(r, align_up(len, 8) - len);
    if (r->overrun || !extra || !name)
        return broken(err);
    if (extra_len != 0)
        return qimg_fail(err, ENOTSUP, "Bitmap extra data is not supported");
    if (!is_sound(q, &b, type, name_len))
        return qimg_fail(err, EBADMSG, "Bitmap '%.*s' doesn't satisfy the constraints",
                         (int)name_len, (const char *)name);
    b.name = strndup((const char *)name, name_len);
    if (!b.name)
        return qimg_fail_memory(err);
    if (qcow2_bitmap_vec_push(&q->bitmaps, b) < 0) {
        free(b.name);
        return qimg_fail_memory(err);
    }
    return 0;
}

/* Entries from @r while the next one is sure to be there as a whole; with @last, all of them. */
static int load_entries(struct qcow2 *q, struct reader *r, bool last, struct qimg_error *err)
{
    const uint32_t count = q->extensions.bitmaps.count;

    while (r->left >= ENTRY_MAX || (last && r->left > 0)) {
        if (r->left < QCOW2_BITMAP_BYTES)
            return broken(err);
        if (q->bitmaps.count == count)
            return qimg_fail(err, EBADMSG, "More bitmaps found than specified in header extension");
        TRY(load_entry(q, r, err));
    }
    return 0;
}

/* A window at a time: the first entry that makes no sense ends it, however long it claims to be. */
static int load_directory(struct qcow2 *q, struct qimg_range directory, struct qimg_error *err)
{
    AUTO_FREE uint8_t *raw = malloc(min_u64(directory.len, WINDOW_BYTES));

    if (!raw)
        return qimg_fail(err, ENOMEM, "Failed to allocate space for bitmap directory");
    while (directory.len > 0) {
        const size_t n = min_u64(directory.len, WINDOW_BYTES);
        const int rc = io_read_exact(q->image.file, directory.off, raw, n, NULL);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "Failed to read bitmap directory");
        struct reader r = reader_of(raw, n);
        TRY(load_entries(q, &r, n == directory.len, err));
        directory.off += n - r.left;
        directory.len -= n - r.left;
    }
    if (q->bitmaps.count != q->extensions.bitmaps.count)
        return qimg_fail(err, EBADMSG, "Less bitmaps found than specified in header extension");
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names tell bitmaps apart. */
static int refuse_twins(const struct qcow2 *q, struct qimg_error *err)
{
    const size_t count = q->bitmaps.count;
    AUTO_FREE const char **names = calloc(count ? count : 1, sizeof(*names));

    if (!names)
        return qimg_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        names[i] = q->bitmaps.items[i].name;
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return qimg_fail(err, EEXIST, "Bitmap already exists: %s", names[i]);
    return 0;
}

int qcow2_bitmaps_load(struct qcow2 *q, struct qimg_error *err)
{
    const struct qcow2_bitmaps_ext *ext = &q->extensions.bitmaps;
    const struct qimg_range directory = { ext->directory_off, ext->directory_len };

    if (!q->extensions.has_bitmaps)
        return 0;
    if (directory.len == 0)
        return qimg_fail(err, EBADMSG, "Requested bitmap directory size is zero");
    TRY(qcow2_table_begins_inside("Bitmap directory", directory, q->geometry.file_size, err));
    /* A directory that runs past the end of the file has zeros there, which are no entries. */
    if (!range_within(directory, q->geometry.file_size))
        return broken(err);
    TRY(load_directory(q, directory, err));
    return refuse_twins(q, err);
}

void qcow2_bitmaps_release(struct qcow2_bitmap_vec *bitmaps)
{
    for (size_t i = 0; i < bitmaps->count; i++) {
        free(bitmaps->items[i].name);
        bitmap_bits_free(bitmaps->items[i].bits);
    }
    qcow2_bitmap_vec_release(bitmaps);
}

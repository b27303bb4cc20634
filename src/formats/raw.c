/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw images, files and block devices. The guest sees whole sectors: a file of 1000 bytes is a
 * disk of 1024, whose tail reads as zeros. Holes of the file are EXTENT_ZERO with their place.
 */
#include "raw.h"

#include <stdlib.h>

#include "admin.h"
#include "bits.h"
#include "checked.h"
#include "measure_request.h"

#define SECTOR 512

/* Anything can be raw: the answer when nobody else wants the file. */
static int raw_probe(const uint8_t *head, size_t len)
{
    (void)head;
    (void)len;
    return 1;
}

static int raw_open(struct io_file *file, const struct image_open_options *options,
                    struct image **out, struct qimg_error *err)
{
    struct io_stat st;
    const int rc = io_stat(file, &st);

    (void)options;
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not get image size");
    if (st.size > INT64_MAX)
        return qimg_fail(err, EFBIG, "Image is too big");
    struct image *image = calloc(1, sizeof(*image));
    if (!image)
        return qimg_fail_memory(err);
    image->ops = &raw_ops;
    image->file = file;
    image->size = align_up(st.size, SECTOR);
    image->map_unit = SECTOR;
    *out = image;
    return 0;
}

static void raw_close(struct image *image)
{
    if (!image)
        return;
    io_file_close(image->file);
    io_file_close(image->data_file);
    free(image->backing_name);
    free(image->backing_format);
    free(image->data_file_name);
    free(image);
}

static int raw_select_snapshot(struct image *image, const char *id, const char *name,
                               struct qimg_error *err)
{
    (void)image;
    (void)id;
    (void)name;
    return qimg_fail(err, ENOTSUP, "Block format 'raw' does not support internal snapshots");
}

static int raw_describe(struct image *image, struct qimg_info *info, struct qimg_error *err)
{
    (void)image;
    (void)info;
    (void)err;
    return 0;
}

/* What lies at @off, up to a sector's boundary: bytes of a sector that has data are data. Where
 * the file can't tell, or contradicts itself, all that is left is data. */
static struct io_extent extent_at(const struct image *image, uint64_t file_size, uint64_t off)
{
    struct io_extent e = { .off = off, .len = image->size - off, .data = true };
    struct io_extent found;

    if (off >= file_size || io_extents(image->file, off, &found) < 0)
        return e;
    const uint64_t end = found.off + found.len;
    if (found.off > off || end <= off || end < found.off)
        return e;
    if (end >= file_size) {
        e.data = found.data;
        return e;
    }
    e.len = (found.data ? align_up(end, SECTOR) : align_down(end, SECTOR)) - off;
    e.data = found.data;
    if (e.len == 0) {
        e.len = SECTOR;
        e.data = true;
    }
    return e;
}

static int raw_map_direct(const struct image *image, struct qimg_range want, struct extent_vec *out)
{
    struct io_stat st;

    want = range_clip(want, image->size);
    TRY(io_stat(image->file, &st));
    for (uint64_t off = want.off; off < range_end(want);) {
        const uint64_t sector = align_down(off, SECTOR);
        struct io_extent e = extent_at(image, st.size, sector);
        const uint64_t end = min_u64(e.off + e.len, range_end(want));

        TRY(extent_vec_add(out, (struct extent){ .guest_off = off,
                                                 .len = end - off,
                                                 .host_off = off,
                                                 .kind = e.data ? EXTENT_DATA : EXTENT_ZERO }));
        off = end;
    }
    return 0;
}

static int raw_explain(struct image *image, uint64_t guest_off, struct qimg_error *err)
{
    (void)image;
    return qimg_fail_errno(err, EIO, "error while reading at byte %llu",
                           (unsigned long long)guest_off);
}

static bool raw_data_may_be_holes(struct image *image)
{
    (void)image;
    return false; /* map_direct has told all of them already */
}

static int raw_set_backing(struct image *image, const char *name, const char *format,
                           struct qimg_error *err)
{
    (void)image;
    (void)name;
    (void)format;
    return qimg_fail(err, ENOTSUP, "Operation not supported");
}

/* The file is as long as the disk, whatever the disk holds. */
static int raw_measure(const struct measure_request *request, struct qimg_measure_result *out,
                       struct qimg_error *err)
{
    (void)err;
    *out =
        (struct qimg_measure_result){ .required = request->size, .fully_allocated = request->size };
    return 0;
}

const struct format_ops raw_ops = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
    .close = raw_close,
    .select_snapshot = raw_select_snapshot,
    .describe = raw_describe,
    .map_direct = raw_map_direct,
    .explain = raw_explain,
    .data_may_be_holes = raw_data_may_be_holes,
    .set_backing = raw_set_backing,
    .create = raw_create,
    .measure = raw_measure,
    .write = &raw_write_ops,
    .admin = &raw_admin_ops,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * The beginning and the end of writing, the map as writes have made it, and the table of
 * operations.
 */
#include <assert.h>

#include "cleanup.h"
#include "meta_internal.h"

static int refuse(const struct qcow2 *q, struct qimg_error *err)
{
    if (!q->writable || q->info_only)
        return qimg_fail(err, EACCES, "Block node is read-only");
    if (q->meta) /* kept by a verb after a failed write: nobody knows what the disk holds */
        return qimg_fail(err, EIO, "An earlier change of the image has failed");
    if (q->image.encrypted)
        return qimg_fail(err, ENOTSUP, "Writing encrypted images is not supported");
    if (q->l1_off != q->header.l1_off)
        return qimg_fail(err, EACCES, "An internal snapshot cannot be written");
    if (q->image.needs_data_file && !q->image.data_file)
        return qimg_fail(err, EINVAL, "'data-file' is required for this image");
    return 0;
}

static int qcow2_begin(struct image *image, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);

    assert(!image->writing);
    TRY(refuse(q, err));
    TRY(meta_open(q, err));
    const int rc = qcow2_bitmaps_begin_writing(q, err);
    if (rc < 0) {
        meta_close(q);
        return rc;
    }
    image->packs = !q->geometry.data_file;
    image->codec = q->geometry.codec;
    image->writing = true;
    return 0;
}

static bool is_blank(struct qcow2 *q, struct qimg_range bytes)
{
    return blanks_have(&q->meta->blanks, q->image.file, bytes) && !pages_any(q->meta, bytes);
}

static int decode_live(struct qcow2 *q, struct qimg_range want, const struct table_ref *table,
                       struct extent_vec *out)
{
    const struct qimg_range bytes = { table->host_off, table->len };

    if (is_blank(q, bytes))
        return 0;
    AUTO_FREE uint8_t *raw = calloc(1, table->len ? table->len : 1);
    if (!raw)
        return -ENOMEM;
    if (table->host_off)
        TRY(meta_read_bytes(q, table->host_off, raw, table->len));
    if (bytes_are_zero(raw, table->len) && !pages_any(q->meta, bytes))
        blanks_note(&q->meta->blanks, bytes);
    return qcow2_map_decode(&q->image, want, table, raw, out);
}

static int qcow2_map_live(struct image *image, struct qimg_range want, struct extent_vec *out,
                          struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    AUTO(table_ref_vec_release) struct table_ref_vec tables = { 0 };

    int rc = qcow2_map_plan(image, want, &tables);
    for (size_t i = 0; rc == 0 && i < tables.count; i++)
        rc = decode_live(q, want, &tables.items[i], out);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not read mapping table") : 0;
}

static bool qcow2_bare_live(struct image *image, struct qimg_range want)
{
    AUTO(table_ref_vec_release) struct table_ref_vec tables = { 0 };
    bool bare = qcow2_map_plan(image, want, &tables) == 0;

    for (size_t i = 0; bare && i < tables.count; i++)
        bare = is_blank(qcow2_of(image),
                        (struct qimg_range){ tables.items[i].host_off, tables.items[i].len });
    return bare;
}

static int qcow2_flush(struct image *image, struct qimg_error *err)
{
    return meta_flush(qcow2_of(image), err);
}

static int finish(struct qcow2 *q, struct qimg_error *err)
{
    TRY(meta_settle(q, err));
    TRY(qcow2_bitmaps_store(q, err));
    return meta_settle(q, err);
}

static int qcow2_end(struct image *image, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);

    assert(image->writing && !q->meta->plans);
    const int rc = finish(q, err);
    meta_close(q);
    image->writing = false;
    return rc;
}

const struct format_write_ops qcow2_write_ops = {
    .begin = qcow2_begin,
    .write_begin = qcow2_write_begin,
    .packed_begin = qcow2_packed_begin,
    .write_commit = qcow2_write_commit,
    .write_abort = qcow2_write_abort,
    .zero = qcow2_zero,
    .discard = qcow2_discard,
    .map = qcow2_map_live,
    .bare = qcow2_bare_live,
    .flush = qcow2_flush,
    .end = qcow2_end,
};

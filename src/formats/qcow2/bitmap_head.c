/* SPDX-License-Identifier: Apache-2.0
 *
 * The header's word about bitmaps: the extension (count, length and place of the directory) and
 * autoclear bit 0, which change in one write of sector 0 (head.h).
 *
 * Where sector 0 cannot hold the extension, because others that must be kept fill it (a data
 * file's name of more than 300 bytes, unknown extensions), it stands behind them and changes in
 * steps, each durable before the next:
 *
 *   (1) autoclear bit 0 is cleared: there are no bitmaps; all else that waits is written too
 *   (2) the extension is written, a new one from its end to its beginning, so that the list of
 *       extensions is never cut
 *   (3) autoclear bit 0 is set
 *
 * A crash in between costs the bitmaps (as it does in QEMU, for every image), and nothing else.
 */
#include <errno.h>
#include <string.h>

#include "bitmap_store.h"
#include "cleanup.h"
#include "meta_internal.h"

int bitmap_edit_plan_head(const struct bitmap_edit *edit, struct qcow2_head *head,
                          struct qimg_error *err)
{
    *head = (struct qcow2_head){
        .q = edit->q,
        .header = edit->q->header,
        .set_bitmaps = true,
        .bitmaps = edit->directory,
    };
    head->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    if (edit->directory.count)
        head->header.autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    const int rc = qcow2_head_plan(head);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Failed to update bitmap extension") : 0;
}

static int failed(int rc, struct qimg_error *err)
{
    return qimg_fail_errno(err, -rc, "Failed to update bitmap extension");
}

/* --- sector 0 says it all ------------------------------------------------------------------- */

static int flip(struct bitmap_edit *edit, struct qcow2_head *head, struct qimg_error *err)
{
    uint8_t sector[QCOW2_SECTOR];

    const int rc = qcow2_head_stage(head);
    if (rc < 0)
        return failed(rc, err);
    qcow2_head_sector(head, sector);
    qcow2_head_adopt(head, edit->q);
    header_changed_with(edit->q, sector);
    return 0;
}

/* --- behind sector 0 ------------------------------------------------------------------------ */

/* Durable before the next header sector is written. */
static int write_behind(struct qcow2 *q, uint64_t off, const void *buf, size_t len)
{
    q->meta->unsynced = true;
    return io_write_exact(q->image.file, off, buf, len);
}

static int clear_bit(struct qcow2 *q, struct qimg_error *err)
{
    q->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    header_changed(q);
    return meta_flush(q, err);
}

/* Where the extension's 8 + 24 bytes lie, or would. *is_there: they do. */
static uint64_t place_of_extension(const struct qcow2 *q, bool *is_there)
{
    const struct qcow2_extension_vec *list = &q->extensions.list;
    uint64_t off = q->header.header_length;

    *is_there = false;
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].type == QCOW2_EXT_BITMAPS) {
            *is_there = true;
            return off;
        }
        off += QCOW2_EXT_HEADER_BYTES + align_up(list->items[i].len, 8);
    }
    return off;
}

/* Moves the backing name out of bytes [0, end), if it lies there. */
static int move_name(struct qcow2 *q, uint64_t end, struct qimg_error *err)
{
    const uint64_t old = q->header.backing_off, len = q->header.backing_len;
    const uint64_t at = max_u64(end, old + len);

    if (old == 0 || old >= end)
        return 0;
    if (at + len > qcow2_cluster_size(q))
        return failed(-ENOSPC, err);
    if (q->image.backing_name) {
        const int rc = write_behind(q, at, q->image.backing_name, strlen(q->image.backing_name));
        if (rc < 0)
            return failed(rc, err);
    }
    q->header.backing_off = at;
    header_changed(q);
    return meta_flush(q, err);
}

static int append(struct qcow2 *q, uint64_t at, const uint8_t *data)
{
    uint8_t bytes[QCOW2_EXT_HEADER_BYTES + QCOW2_EXT_BITMAPS_BYTES + QCOW2_EXT_HEADER_BYTES] = {
        0
    };

    store_be32(bytes, QCOW2_EXT_BITMAPS);
    store_be32(bytes + 4, QCOW2_EXT_BITMAPS_BYTES);
    memcpy(bytes + QCOW2_EXT_HEADER_BYTES, data, QCOW2_EXT_BITMAPS_BYTES);
    TRY(write_behind(q, at + QCOW2_EXT_HEADER_BYTES, bytes + QCOW2_EXT_HEADER_BYTES,
                     sizeof(bytes) - QCOW2_EXT_HEADER_BYTES));
    /* The old end marker goes only when there is another one. */
    TRY(meta_barrier(q, META_LINKS_BEFORE_HEADER));
    return write_behind(q, at, bytes, QCOW2_EXT_HEADER_BYTES);
}

static int write_extension(struct qcow2 *q, const struct qcow2_bitmaps_ext *ext,
                           struct qimg_error *err)
{
    uint8_t data[QCOW2_EXT_BITMAPS_BYTES];
    bool is_there;
    const uint64_t at = place_of_extension(q, &is_there);
    const uint64_t end = at + QCOW2_EXT_HEADER_BYTES + sizeof(data) + QCOW2_EXT_HEADER_BYTES;

    qcow2_bitmaps_ext_encode(ext, data);
    if (!is_there) {
        if (end > qcow2_cluster_size(q))
            return failed(-ENOSPC, err);
        TRY(move_name(q, end, err));
    }
    const int rc = is_there ? write_behind(q, at + QCOW2_EXT_HEADER_BYTES, data, sizeof(data))
                            : append(q, at, data);
    return rc < 0 ? failed(rc, err) : 0;
}

/* The extensions as the image knows them, after a change behind sector 0. */
static int reread(struct qcow2 *q, struct qimg_error *err)
{
    const uint64_t begin = q->header.header_length;
    const uint64_t end = q->header.backing_off ? q->header.backing_off : qcow2_cluster_size(q);
    struct qcow2_extensions new = { .bytes = malloc(end - begin) };

    if (!new.bytes)
        return qimg_fail_memory(err);
    int rc = io_read_exact(q->image.file, begin, new.bytes, end - begin, NULL);
    if (rc < 0)
        (void)failed(rc, err);
    else
        rc = qcow2_extensions_decode(&q->header, reader_of(new.bytes, end - begin), &new, err);
    if (rc < 0) {
        qcow2_extensions_release(&new);
        return rc;
    }
    qcow2_extensions_release(&q->extensions);
    q->extensions = new;
    return 0;
}

static int step_by_step(struct bitmap_edit *edit, struct qimg_error *err)
{
    struct qcow2 *q = edit->q;

    TRY(clear_bit(q, err)); /* (1) */
    if (edit->directory.count) {
        TRY(write_extension(q, &edit->directory, err)); /* (2) */
        q->header.autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
        header_changed(q); /* (3) */
    }
    return reread(q, err);
}

int bitmap_edit_publish(struct bitmap_edit *edit, struct qimg_error *err)
{
    AUTO(qcow2_head_release) struct qcow2_head head = { 0 };
    const struct qcow2_bitmaps_ext *d = &edit->directory;
    const struct qcow2_bitmaps_ext old = edit->q->extensions.bitmaps;
    const uint64_t cs = qcow2_cluster_size(edit->q);

    TRY(bitmap_edit_plan_head(edit, &head, err));
    if (edit->q->extensions.has_bitmaps)
        overlap_forget(edit->q,
                       (struct qimg_range){ old.directory_off, align_up(old.directory_len, cs) });
    if (d->count &&
        overlap_note(edit->q,
                     (struct qimg_range){ d->directory_off, align_up(d->directory_len, cs) },
                     META_KIND_BITMAPS) < 0)
        return qimg_fail_memory(err);
    return head.flips ? flip(edit, &head, err) : step_by_step(edit, err);
}

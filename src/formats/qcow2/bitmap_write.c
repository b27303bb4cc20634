/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent bitmaps while guest data is written: enabled ones are marked in use on disk before
 * the first write, told of every write in memory, and stored when writing ends, which takes the
 * mark away. A crash in between leaves them in use, which means: may have missed something, only
 * good for removal. Disabled bitmaps do not change, and stay valid throughout.
 *
 * The marks are set in place: flags of 4 bytes, each within one sector. A crash while this is
 * done leaves some bitmaps marked and others not, both true as long as nothing was written; and
 * no space is needed before the guest may write. Where no bit changed they are taken away the
 * same way; else the bitmaps are stored beside the old ones (bitmap_store.h).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap_store.h"
#include "bits.h"
#include "cleanup.h"
#include "meta.h"

/* --- marks in place --------------------------------------------------------------------------- */

static void mark_entry(uint8_t *entry, bool in_use)
{
    uint8_t *at = entry + QCOW2_BITMAP_AT_FLAGS;
    const uint32_t flags = load_be32(at);

    store_be32(at, in_use ? flags | QCOW2_BITMAP_IN_USE : flags & ~QCOW2_BITMAP_IN_USE);
}

static uint64_t padded_len(const uint8_t *entry)
{
    const uint64_t name_len = load_be16(entry + QCOW2_BITMAP_AT_NAME_LEN);
    const uint64_t extra_len = load_be32(entry + QCOW2_BITMAP_AT_EXTRA_LEN);

    return align_up(QCOW2_BITMAP_BYTES + name_len + extra_len, 8);
}

/* Changes the entries of recording bitmaps in the directory's bytes, which were checked when the
 * image was opened: entry i is bitmap i. */
static int mark_entries(const struct qcow2 *q, uint8_t *bytes, uint64_t len, bool in_use)
{
    uint64_t off = 0;

    for (size_t i = 0; i < q->bitmaps.count; i++) {
        if (len - off < QCOW2_BITMAP_BYTES)
            return -EBADMSG;
        uint8_t *entry = bytes + off;
        const uint64_t entry_len = padded_len(entry);
        if (entry_len > len - off || load_be64(entry) != q->bitmaps.items[i].table_off)
            return -EBADMSG;
        if (q->bitmaps.items[i].recording)
            mark_entry(entry, in_use);
        off += entry_len;
    }
    return 0;
}

static int mark(struct qcow2 *q, bool in_use)
{
    const struct qcow2_bitmaps_ext *d = &q->extensions.bitmaps;
    const struct qimg_range directory = { d->directory_off, d->directory_len };
    AUTO_FREE uint8_t *bytes = malloc(directory.len);

    if (!bytes)
        return -ENOMEM;
    TRY(overlap_check(q, directory, META_KIND_BITMAPS));
    TRY(io_read_exact(q->image.file, directory.off, bytes, directory.len, NULL));
    TRY(mark_entries(q, bytes, directory.len, in_use));
    TRY(io_write_exact(q->image.file, directory.off, bytes, directory.len));
    return io_sync(q->image.file); /* before the first byte of the guest's */
}

/* --- begin ---------------------------------------------------------------------------------- */

static void forget(struct qcow2 *q)
{
    for (size_t i = 0; i < q->bitmaps.count; i++) {
        struct qcow2_bitmap *b = &q->bitmaps.items[i];
        bitmap_bits_free(b->bits);
        b->bits = NULL;
        b->recording = false;
    }
}

/* How many record? Their bits are loaded, as far as their tables go. */
static int load_enabled(struct qcow2 *q, struct qimg_error *err)
{
    int count = 0;

    for (size_t i = 0; i < q->bitmaps.count; i++) {
        struct qcow2_bitmap *b = &q->bitmaps.items[i];
        if (!(b->flags & QCOW2_BITMAP_AUTO) || b->flags & QCOW2_BITMAP_IN_USE)
            continue;
        TRY(bitmap_bits_load(q, b, &b->bits, err));
        b->recording = true;
        count++;
    }
    return count;
}

int qcow2_bitmaps_begin_writing(struct qcow2 *q, struct qimg_error *err)
{
    int rc = load_enabled(q, err);

    if (rc > 0) {
        rc = mark(q, true);
        if (rc < 0)
            (void)qimg_fail_errno(err, -rc, "Can't update bitmap directory");
    }
    if (rc < 0) {
        forget(q);
        return rc;
    }
    for (size_t i = 0; i < q->bitmaps.count; i++)
        if (q->bitmaps.items[i].recording)
            q->bitmaps.items[i].flags |= QCOW2_BITMAP_IN_USE;
    return 0;
}

/* --- between -------------------------------------------------------------------------------- */

/* The disk may have another size than when writing began. */
static int record(struct bitmap_bits *bits, struct qimg_range range, uint64_t size)
{
    TRY(bitmap_bits_resize(bits, size));
    return bitmap_bits_set(bits, range);
}

void qcow2_bitmaps_record(struct qcow2 *q, struct qimg_range range)
{
    for (size_t i = 0; i < q->bitmaps.count; i++) {
        struct qcow2_bitmap *b = &q->bitmaps.items[i];
        if (b->recording && record(b->bits, range, qcow2_disk_size(q)) < 0)
            b->bits->lost = true;
    }
}

/* --- end ------------------------------------------------------------------------------------ */

/* Those that missed something stay marked, and keep what they had on disk; the others are as long
 * as the disk is now. */
static bool give_up_lost(struct qcow2 *q)
{
    bool any = false;

    for (size_t i = 0; i < q->bitmaps.count; i++) {
        struct qcow2_bitmap *b = &q->bitmaps.items[i];
        if (!b->recording)
            continue;
        if (bitmap_bits_resize(b->bits, qcow2_disk_size(q)) == 0 && !b->bits->lost)
            continue;
        any = true;
        b->recording = false;
        bitmap_bits_free(b->bits);
        b->bits = NULL;
    }
    return any;
}

/* The recording ones with their bits, no longer in use. */
static void hand_over(struct qcow2 *q, struct bitmap_edit *edit)
{
    for (size_t i = 0; i < q->bitmaps.count; i++) {
        struct qcow2_bitmap *b = &q->bitmaps.items[i], *to = &edit->list.items[i];
        if (!b->recording)
            continue;
        to->recording = b->recording = false;
        to->flags &= ~QCOW2_BITMAP_IN_USE;
        if (bitmap_bits_changed(b->bits))
            to->bits = TAKE(b->bits);
    }
}

static int store_changed(struct qcow2 *q, struct qimg_error *err)
{
    AUTO(bitmap_edit_release) struct bitmap_edit edit = { 0 };
    const struct bitmap_space space = bitmap_space_of_meta(q);

    TRY(bitmap_edit_begin(&edit, q, err));
    hand_over(q, &edit);
    TRY(bitmap_edit_store(&edit, &space, err));
    TRY(bitmap_edit_publish(&edit, err));
    (void)!bitmap_edit_drop(&edit, &space); /* what is not given back leaks */
    bitmap_edit_adopt(&edit);
    return meta_flush(q, err);
}

static int unmark(struct qcow2 *q, struct qimg_error *err)
{
    const int rc = mark(q, false);

    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Can't update bitmap directory");
    for (size_t i = 0; i < q->bitmaps.count; i++)
        if (q->bitmaps.items[i].recording)
            q->bitmaps.items[i].flags &= ~QCOW2_BITMAP_IN_USE;
    return 0;
}

int qcow2_bitmaps_store(struct qcow2 *q, struct qimg_error *err)
{
    bool any = false, changed = false;
    const bool lost = give_up_lost(q);

    for (size_t i = 0; i < q->bitmaps.count; i++) {
        const struct qcow2_bitmap *b = &q->bitmaps.items[i];
        any = any || b->recording;
        changed = changed || (b->recording && bitmap_bits_changed(b->bits));
    }
    int rc = 0;
    if (any)
        rc = changed ? store_changed(q, err) : unmark(q, err);
    forget(q);
    if (rc == 0 && lost)
        return qimg_fail(err, ENOMEM, "Lost persistent bitmaps: no memory to record writes");
    return rc;
}

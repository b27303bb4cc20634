/* SPDX-License-Identifier: Apache-2.0
 *
 * Another size of the disk: what lies beyond the smaller of both sizes leaves the tables, what is
 * new is hidden from the backing file or preallocated, bitmaps follow; all of it is a shadow
 * (shadow.h) that one write of the header makes true, size and all.
 *
 * The cluster in which the smaller size ends keeps its beginning, and reads as zeros behind it
 * from then on, so that old content never comes back: its bytes are zeroed in place where nobody
 * can see them (before a growing disk flips, after a shrunk one has), else the cluster is written
 * anew.
 */
#include "resize.h"

#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "bitmap_store.h"
#include "bitmap_verbs.h"
#include "cleanup.h"
#include "tree.h"

struct resizing {
    struct qcow2 *q;
    const struct resize_request *request;
    struct qimg_error *err;
    uint64_t old, new;
    bool exposed; /* the backing file reaches into what is new */
    struct shadow s;
    struct tree_l1 l1;
    struct tree_edit edit;
    struct qimg_range tail; /* host bytes to be zeroed; len 0 = none */
    struct bitmap_edit bitmaps;
    struct qcow2_head head;
    uint8_t sector[QCOW2_SECTOR];
};

static struct io_file *data_file(const struct resizing *z)
{
    return z->q->image.data_file ? z->q->image.data_file : z->q->image.file;
}

/* --- what goes ------------------------------------------------------------------------------ */

/* Tables @first and up; the one in hand is none of these. */
static int drop_whole_tables(struct resizing *z, uint64_t first)
{
    uint64_t *words = z->l1.words + first;
    const uint64_t count = z->l1.count - first;

    TRY(tree_drop(&z->s, words, count));
    for (uint64_t i = 0; i < count; i++) {
        z->edit.l1_changed = z->edit.l1_changed || words[i];
        words[i] = 0;
    }
    return 0;
}

static int drop_part_of_table(struct resizing *z, uint64_t cut)
{
    struct tree_part part = tree_all(z->q);
    struct tree_edit *e = &z->edit;

    TRY(tree_edit_at(e, cut, &part.first));
    if (e->off == 0)
        return 0;
    TRY(tree_unref(&z->s, e->l2, part, 1));
    for (uint64_t i = part.first; i < part.end; i++) {
        const struct qcow2_l2_entry entry = tree_entry_get(z->q, e->l2, i);
        if (entry.word || entry.bitmap)
            tree_edit_put(e, i, (struct qcow2_l2_entry){ 0, 0 });
    }
    return 0;
}

/* Everything from guest offset @cut on: guest data, and VM state behind the disk's end. */
static int drop_from(struct resizing *z, uint64_t cut)
{
    const unsigned coverage = qcow2_l2_coverage_bits(&z->q->geometry);
    uint64_t i = cut >> coverage;

    if (!is_aligned(cut, UINT64_C(1) << coverage)) {
        if (i < z->l1.count && z->l1.words[i])
            TRY(drop_part_of_table(z, cut));
        i++;
    }
    return i < z->l1.count ? drop_whole_tables(z, i) : 0;
}

/* --- the cluster in which the smaller size ends --------------------------------------------- */

/* The whole cluster anew: what the guest reads up to @end, then zeros. */
static int rewrite_cluster(struct resizing *z, uint64_t entry, uint64_t end)
{
    const uint64_t cluster = qcow2_cluster_size(z->q), start = align_down(end, cluster);
    const struct qcow2_l2_entry old = tree_entry_get(z->q, z->edit.l2, entry);
    AUTO_FREE uint8_t *buf = calloc(1, cluster);
    struct qcow2_cluster new = { .kind = QCOW2_KIND_DATA, .host_off = start };
    struct qimg_range refers;

    if (!buf)
        return -ENOMEM;
    if (!z->request->read)
        return -ENOTSUP;
    TRY(z->request->read(z->request->user, (struct qimg_range){ start, end - start }, buf, z->err));
    TRY(tree_entry_range(z->q, old, &refers));
    TRY(shadow_unref(&z->s, refers));
    if (z->q->geometry.data_file) {
        TRY(io_write_exact(data_file(z), start, buf, cluster));
    } else {
        TRY(shadow_alloc(&z->s, 1, &new.host_off));
        TRY(shadow_put(&z->s, new.host_off, buf, cluster));
    }
    tree_edit_put(&z->edit, entry, qcow2_l2_encode(&new, true, &z->q->geometry));
    return 0;
}

static bool shows_backing(const struct resizing *z, const struct qcow2_cluster *c)
{
    if (!z->exposed)
        return false;
    return c->kind == QCOW2_KIND_ABSENT ||
           (c->kind == QCOW2_KIND_MIXED && (c->alloc | c->zero) != UINT32_MAX);
}

/* What grows with storage behind it has some for the cluster in which it ended, too. */
static bool lacks_storage(const struct resizing *z, const struct qcow2_cluster *c)
{
    return z->new > z->old && z->request->preallocation != PREALLOC_OFF &&
           !z->q->geometry.data_file &&
           (c->kind == QCOW2_KIND_ABSENT || c->kind == QCOW2_KIND_ZERO) &&
           c->host_off == QIMG_NO_OFFSET;
}

static int settle_tail(struct resizing *z)
{
    const uint64_t cluster = qcow2_cluster_size(z->q), end = min_u64(z->old, z->new);
    uint64_t entry, count = 1;

    if (is_aligned(end, cluster) || end >> qcow2_l2_coverage_bits(&z->q->geometry) >= z->l1.count)
        return 0;
    TRY(tree_edit_at(&z->edit, end, &entry));
    const struct qcow2_cluster c = qcow2_l2_decode(tree_entry_get(z->q, z->edit.l2, entry),
                                                   align_down(end, cluster), &z->q->geometry);
    if (shows_backing(z, &c) || lacks_storage(z, &c))
        return rewrite_cluster(z, entry, end);
    if (c.kind == QCOW2_KIND_ABSENT || c.kind == QCOW2_KIND_ZERO || c.kind == QCOW2_KIND_BAD)
        return 0;
    if (c.kind == QCOW2_KIND_COMPRESSED)
        return rewrite_cluster(z, entry, end);
    if (c.host_off == QIMG_NO_OFFSET)
        return 0;
    if (!z->q->geometry.data_file)
        TRY(shadow_count(&z->s, c.host_off, &count));
    if (count != 1)
        return rewrite_cluster(z, entry, end);
    z->tail = (struct qimg_range){ c.host_off + end % cluster, cluster - end % cluster };
    return 0;
}

/* Only as far as the file reaches: behind its end it reads as zeros anyway. */
static int zero_tail(struct resizing *z)
{
    struct io_stat st;

    if (z->tail.len == 0)
        return 0;
    TRY(io_stat(data_file(z), &st));
    const struct qimg_range inside = range_clip(z->tail, st.size);
    if (inside.len)
        TRY(io_zero(data_file(z), inside, false));
    return io_sync(data_file(z));
}

/* --- what is new ---------------------------------------------------------------------------- */

/* Storage for host bytes that are new to the file. */
static int reserve(struct resizing *z, struct qimg_range host)
{
    struct io_file *file = data_file(z);

    if (host.len == 0)
        return 0;
    if (z->request->preallocation == PREALLOC_FULL)
        return admin_write_zeros(file, host, z->request);
    if (z->request->preallocation == PREALLOC_FALLOC)
        return io_allocate(file, host);
    return 0;
}

/* The entry of a new cluster: reserved at @host (QIMG_NO_OFFSET: not), and hidden from below, as
 * data where storage was made for it, else as zeros. */
static struct qcow2_l2_entry new_entry(const struct resizing *z, uint64_t host)
{
    const bool ext = z->q->geometry.extended_l2;
    const bool stored = host != QIMG_NO_OFFSET && (z->request->preallocation == PREALLOC_FALLOC ||
                                                   z->request->preallocation == PREALLOC_FULL);
    struct qcow2_l2_entry e = { 0, 0 };

    if (host != QIMG_NO_OFFSET)
        e.word = host | QCOW2_COPIED;
    if (z->exposed && ext)
        e.bitmap = stored ? UINT32_MAX : (uint64_t)UINT32_MAX << 32;
    else if (z->exposed && !stored)
        e.word |= QCOW2_ZERO;
    else if (ext && z->q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW)
        e.bitmap = UINT32_MAX;
    return e;
}

static int fill_new(struct resizing *z, struct qimg_range guest, uint64_t host)
{
    const uint64_t cluster = qcow2_cluster_size(z->q);

    for (uint64_t at = guest.off; at < range_end(guest); at += cluster) {
        uint64_t entry;
        TRY(tree_edit_at(&z->edit, at, &entry));
        tree_edit_put(&z->edit, entry, new_entry(z, host));
        host += host == QIMG_NO_OFFSET ? 0 : cluster;
    }
    return 0;
}

static bool preallocates(const struct resizing *z)
{
    return z->request->preallocation != PREALLOC_OFF ||
           z->q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
}

static int add_new(struct resizing *z)
{
    const uint64_t cluster = qcow2_cluster_size(z->q), from = align_up(z->old, cluster);
    const struct qimg_range guest = { from, z->new > from ? z->new - from : 0 };
    uint64_t host = QIMG_NO_OFFSET;

    if (z->new <= z->old || !(z->exposed || preallocates(z)))
        return 0;
    if (preallocates(z) && z->q->geometry.data_file) {
        host = from;
        TRY(reserve(z, (struct qimg_range){ z->old, z->new - z->old }));
    } else if (preallocates(z) && guest.len) {
        TRY(shadow_alloc_zeros(&z->s, div_up(guest.len, cluster), &host));
        z->s.grown = true;
        TRY(reserve(z, (struct qimg_range){ host, align_up(guest.len, cluster) }));
    }
    return fill_new(z, guest, host);
}

/* A data file is at least as long as the disk before the disk grows. */
static int grow_data_file(struct resizing *z)
{
    struct io_file *file = z->q->image.data_file;
    struct io_stat st;

    if (!file || z->new <= z->old)
        return 0;
    TRY(io_stat(file, &st));
    if (st.size < z->new) {
        if (file->is_device)
            return -ENOSPC;
        TRY(io_truncate(file, z->new));
    }
    return io_sync(file);
}

static int shrink_data_file(struct resizing *z)
{
    struct io_file *file = z->q->image.data_file;
    struct io_stat st;

    if (!file || file->is_device || z->new >= z->old)
        return 0;
    TRY(io_stat(file, &st));
    return st.size > z->new ? io_truncate(file, z->new) : 0;
}

/* --- bitmaps -------------------------------------------------------------------------------- */

/* A bitmap that would be too large is refused: with it the image could not be opened again. */
static int resize_bitmap(struct resizing *z, size_t i)
{
    const struct qcow2_bitmap *b = &z->bitmaps.list.items[i];

    if (bitmap_check_space(z->q, z->new, b->granularity_bits, z->err) < 0)
        return qimg_within(z->err, "Bitmap '%s' doesn't satisfy the constraints", b->name);
    TRY(bitmap_edit_load(&z->bitmaps, i, z->err));
    return bitmap_bits_resize(b->bits, z->new);
}

/* Bitmaps of the new size; sector 0 tells where they are. */
static int resize_bitmaps(struct resizing *z)
{
    const struct bitmap_space space = bitmap_space_of_shadow(&z->s);
    struct bitmap_edit *edit = &z->bitmaps;

    if (z->q->bitmaps.count == 0)
        return 0;
    TRY(bitmap_edit_begin(edit, z->q, z->err));
    for (size_t i = 0; i < edit->list.count; i++) {
        TRY(resize_bitmap(z, i));
        TRY(bitmap_edit_store_one(edit, i, &space));
        TRY(shadow_progress(&z->s));
    }
    TRY(bitmap_edit_store(edit, &space, z->err));
    TRY(bitmap_edit_drop(edit, &space));
    TRY(bitmap_edit_plan_head(edit, &z->head, z->err));
    if (!z->head.flips)
        return -ENOSPC;
    TRY(qcow2_head_stage(&z->head));
    qcow2_head_sector(&z->head, z->sector);
    z->s.header = z->head.header;
    z->s.sector = z->sector;
    return 0;
}

/* --- all of it ------------------------------------------------------------------------------ */

static uint64_t l1_needed(const struct resizing *z)
{
    return div_up(z->new, UINT64_C(1) << qcow2_l2_coverage_bits(&z->q->geometry));
}

/* The active L1 table, as long as it must be. */
static int load_l1(struct resizing *z)
{
    const struct qcow2_header *h = &z->q->header;
    const uint64_t count = max_u64(h->l1_count, l1_needed(z));

    TRY(tree_l1_load(z->q, h->l1_off, h->l1_count, &z->l1));
    if (count == h->l1_count)
        return 0;
    uint64_t *words = reallocarray(z->l1.words, count, sizeof(*words));
    if (!words)
        return -ENOMEM;
    memset(words + h->l1_count, 0, (count - h->l1_count) * sizeof(*words));
    z->l1.words = words;
    z->l1.count = count;
    return 0;
}

static int build(struct resizing *z)
{
    const uint64_t cluster = qcow2_cluster_size(z->q);

    TRY(resize_bitmaps(z));
    TRY(load_l1(z));
    TRY(tree_edit_begin(&z->edit, &z->s, &z->l1));
    TRY(settle_tail(z));
    TRY(drop_from(z, align_up(min_u64(z->old, z->new), cluster)));
    TRY(add_new(z));
    TRY(tree_edit_store(&z->edit));
    if (z->edit.l1_changed || z->l1.count != z->q->header.l1_count)
        TRY(tree_l1_replace(&z->s, z->l1.words, z->l1.count));
    TRY(grow_data_file(z));
    if (z->new > z->old)
        TRY(zero_tail(z));
    z->s.header.size = z->new;
    return shadow_commit(&z->s);
}

static int check(const struct resizing *z)
{
    const struct qcow2 *q = z->q;

    if (!is_aligned(z->new, QCOW2_SECTOR))
        return qimg_fail(z->err, EINVAL, "The new size must be a multiple of %u", QCOW2_SECTOR);
    if (q->header.snapshot_count && q->header.version < 3)
        return qimg_fail(z->err, ENOTSUP, "Can't resize a v2 image which has snapshots");
    for (size_t i = 0; i < q->bitmaps.count; i++)
        if (q->bitmaps.items[i].flags & QCOW2_BITMAP_IN_USE)
            return bitmap_refuse_inconsistent(&q->bitmaps.items[i], z->err);
    if (z->new < z->old && z->request->preallocation != PREALLOC_OFF)
        return qimg_fail(z->err, EINVAL, "Preallocation can't be used for shrinking an image");
    if (l1_needed(z) > LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES)
        return qimg_fail_errno(z->err, EFBIG, "Failed to grow the L1 table");
    if (z->exposed && q->header.version < 3)
        return qimg_fail_errno(z->err, ENOTSUP, "Failed to zero out new clusters");
    return 0;
}

static void resizing_release(struct resizing *z)
{
    tree_edit_release(&z->edit);
    tree_l1_release(&z->l1);
    bitmap_edit_release(&z->bitmaps);
    qcow2_head_release(&z->head);
}

int qcow2_resize(struct image *image, const struct resize_request *request, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    AUTO(resizing_release)
    struct resizing z = {
        .q = q, .request = request, .err = err, .old = image->size, .new = request->size
    };

    qimg_error_clear(err);
    z.exposed = z.new > z.old && request->backing_size > z.old;
    TRY(check(&z));
    int rc = shadow_begin(&z.s, q, SHADOW_BEHIND);
    shadow_tell(&z.s, z.new < z.old ? request->progress : NULL, request->progress_user,
                q->header.l1_count);
    if (rc == 0)
        rc = build(&z);
    TRY(shadow_finish(&z.s, rc, "Could not resize image", err));
    if (z.new < z.old) {
        rc = zero_tail(&z);
        if (rc == 0)
            rc = shrink_data_file(&z);
    }
    return rc < 0 ? qimg_fail_errno(err, -rc, "Failed to clear what was cut off") : 0;
}

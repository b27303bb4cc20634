/* SPDX-License-Identifier: Apache-2.0
 *
 * From version 2 to 3 and back.
 *
 * Upwards, the header gets longer, so that extensions and backing name move (head.c), and
 * snapshots get the fields that version 3 asks for.
 *
 * Downwards, everything goes that version 2 has no word for: feature bits, bitmaps, and zero
 * clusters, in the active state and in snapshots. A zero cluster becomes nothing where nothing
 * lies below; else real zeros: in the space reserved for it, if that is its alone, or in new
 * clusters, which are holes of the file. Each L2 table that changes becomes a table of its own.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "amend.h"
#include "bitmap_store.h"
#include "cleanup.h"
#include "snapshot_table.h"
#include "tree.h"

/* --- a shadow with another header ----------------------------------------------------------- */

struct versioning {
    struct qcow2 *q;
    struct qimg_error *err;
    struct shadow s;
    struct qcow2_head head;
    uint8_t sector[QCOW2_SECTOR];
    struct snapshot_table table;
    uint64_t *l1_offs; /* of the snapshots, as they shall be */
    uint8_t *new_table;
    struct bitmap_edit bitmaps;
    const struct amend_request *request;
    uint64_t walked, to_walk; /* words of all L1 tables */
};

static void versioning_release(struct versioning *v)
{
    qcow2_head_release(&v->head);
    snapshot_table_release(&v->table);
    bitmap_edit_release(&v->bitmaps);
    free(v->l1_offs);
    free(v->new_table);
}

/* The planned header goes into the shadow: to be called before anything else changes s.header. */
static int use_head(struct versioning *v)
{
    TRY(qcow2_head_plan(&v->head));
    if (!v->head.flips)
        return -ENOSPC;
    TRY(qcow2_head_stage(&v->head));
    qcow2_head_sector(&v->head, v->sector);
    v->s.header = v->head.header;
    v->s.sector = v->sector;
    return 0;
}

/* The snapshot table anew: entries completed, L1 tables at l1_offs. */
static int renew_table(struct versioning *v)
{
    const struct snapshot_edit edit = { .without = SIZE_MAX, .l1_offs = v->l1_offs };
    const struct qimg_range old = { v->q->header.snapshots_off, v->table.len };
    size_t len;

    TRY(snapshot_table_encode(v->q, &v->table, &edit, &v->new_table, &len));
    v->s.last = v->new_table;
    v->s.last_len = len;
    v->s.last_off = &v->s.header.snapshots_off;
    return shadow_unref(&v->s, old);
}

/* --- upwards -------------------------------------------------------------------------------- */

static struct qcow2_head head_of_v3(const struct qcow2 *q)
{
    struct qcow2_head head = { .q = q, .header = q->header };

    head.header.version = 3;
    head.header.header_length = QCOW2_V3_HEADER_LENGTH;
    head.header.incompatible = head.header.compatible = head.header.autoclear = 0;
    head.header.compression_type = QCOW2_COMPRESSION_ZLIB;
    return head;
}

static bool is_complete(const struct snapshot_table *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (load_be32(t->raw + t->offsets[i] + QCOW2_SNAPSHOT_AT_EXTRA_LEN) <
            QCOW2_SNAPSHOT_DISK_SIZE)
            return false;
    return true;
}

static int upgrade_with_table(struct versioning *v)
{
    TRY(shadow_begin(&v->s, v->q, SHADOW_BEHIND));
    TRY(use_head(v));
    TRY(renew_table(v));
    return shadow_commit(&v->s);
}

int qcow2_amend_upgrade(struct qcow2 *q, struct qimg_error *err)
{
    static const char what[] = "Failed to update the qcow2 version";
    AUTO(versioning_release) struct versioning v = { .q = q, .err = err, .head = head_of_v3(q) };

    int rc = snapshot_table_load(q, &v.table);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "%s", what);
    if (!is_complete(&v.table)) {
        v.s.q = q;
        return shadow_finish(&v.s, upgrade_with_table(&v), what, err);
    }
    rc = qcow2_head_plan(&v.head);
    if (rc == 0)
        rc = qcow2_head_write(&v.head);
    return rc < 0 ? qimg_fail_errno(err, -rc, "%s", what) : qcow2_reload(q, err);
}

/* --- downwards: zero clusters --------------------------------------------------------------- */

/* What takes the place of a zero cluster. */
static int expand_entry(struct versioning *v, const struct qcow2_cluster *c,
                        struct qcow2_l2_entry *entry)
{
    const uint64_t cluster = qcow2_cluster_size(v->q);
    struct qcow2_cluster new = { .kind = QCOW2_KIND_DATA, .host_off = c->host_off };
    uint64_t count;

    *entry = (struct qcow2_l2_entry){ 0, 0 };
    if (c->host_off != QIMG_NO_OFFSET) {
        const struct qimg_range reserved = { c->host_off, cluster };
        TRY(shadow_count(&v->s, c->host_off, &count));
        if (count == 1) {
            TRY(io_zero(v->q->image.file, reserved, true));
            *entry = qcow2_l2_encode(&new, true, &v->q->geometry);
            return 0;
        }
        TRY(shadow_unref(&v->s, reserved));
    }
    if (!v->q->image.backing_name)
        return 0;
    TRY(shadow_alloc_zeros(&v->s, 1, &new.host_off));
    *entry = qcow2_l2_encode(&new, true, &v->q->geometry);
    return 0;
}

static int expand_table(struct versioning *v, struct tree_edit *e)
{
    const struct tree_part all = tree_all(v->q);

    for (uint64_t i = all.first; i < all.end; i++) {
        struct qcow2_l2_entry entry = tree_entry_get(v->q, e->l2, i);
        if (!(entry.word & QCOW2_ZERO) || entry.word & QCOW2_COMPRESSED)
            continue;
        const struct qcow2_cluster c = qcow2_l2_decode(entry, 0, &v->q->geometry);
        if (c.kind != QCOW2_KIND_ZERO)
            return -EUCLEAN;
        TRY(expand_entry(v, &c, &entry));
        tree_edit_put(e, i, entry);
    }
    return 0;
}

/* The active state's COPIED bits, after snapshots may have given up their part. */
static int settle_active(struct versioning *v, struct tree_edit *e)
{
    uint64_t count;

    const int changed = tree_fix_copied(&v->s, e->l2);
    if (changed < 0)
        return changed;
    e->changed = e->changed || changed;
    if (e->changed)
        return 0;
    TRY(shadow_count(&v->s, e->off, &count));
    const uint64_t word = e->off | (count == 1 ? QCOW2_COPIED : 0);
    e->l1_changed = e->l1_changed || word != e->l1->words[e->index];
    e->l1->words[e->index] = word;
    return 0;
}

static uint64_t words_to_walk(const struct qcow2 *q)
{
    uint64_t words = q->header.l1_count;

    for (size_t i = 0; i < q->snapshots.count; i++)
        words += q->snapshots.items[i].l1_count;
    return words;
}

static int expand_tree(struct versioning *v, struct tree_edit *e, bool active)
{
    const struct amend_request *r = v->request;

    for (uint64_t i = 0; i < e->l1->count; i++) {
        if (r->progress && r->progress(r->user, v->walked++, v->to_walk))
            return -ECANCELED;
        if ((e->l1->words[i] & QCOW2_OFFSET_MASK) == 0)
            continue;
        TRY(tree_edit_table(e, i));
        TRY(expand_table(v, e));
        if (active && v->q->snapshots.count)
            TRY(settle_active(v, e));
        TRY(tree_edit_store(e));
    }
    return 0;
}

static int expand_snapshot(struct versioning *v, size_t i)
{
    const struct qcow2_snapshot *snapshot = &v->q->snapshots.items[i];
    const uint64_t len = (uint64_t)snapshot->l1_count * QCOW2_L1_ENTRY_BYTES;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };
    AUTO(tree_edit_release) struct tree_edit e = { 0 };

    TRY(tree_l1_load_snapshot(v->q, snapshot, &l1));
    TRY(tree_edit_begin(&e, &v->s, &l1));
    TRY(expand_tree(v, &e, false));
    if (!e.l1_changed)
        return 0;
    TRY(tree_l1_put(&v->s, l1.words, l1.count, &v->l1_offs[i]));
    return shadow_unref(&v->s, (struct qimg_range){ snapshot->l1_off, len });
}

static int expand_snapshots(struct versioning *v)
{
    bool moved = false;

    if (v->q->snapshots.count == 0)
        return 0;
    TRY(snapshot_table_load(v->q, &v->table));
    v->l1_offs = calloc(v->table.count, sizeof(*v->l1_offs));
    if (!v->l1_offs)
        return -ENOMEM;
    for (size_t i = 0; i < v->table.count; i++) {
        v->l1_offs[i] = v->q->snapshots.items[i].l1_off;
        TRY(expand_snapshot(v, i));
        moved = moved || v->l1_offs[i] != v->q->snapshots.items[i].l1_off;
    }
    return moved ? renew_table(v) : 0;
}

static int expand_active(struct versioning *v)
{
    const struct qcow2_header *h = &v->q->header;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };
    AUTO(tree_edit_release) struct tree_edit e = { 0 };

    TRY(tree_l1_load(v->q, h->l1_off, h->l1_count, &l1));
    TRY(tree_edit_begin(&e, &v->s, &l1));
    TRY(expand_tree(v, &e, true));
    return e.l1_changed ? tree_l1_replace(&v->s, l1.words, l1.count) : 0;
}

/* --- downwards: the rest -------------------------------------------------------------------- */

/* Version 2 cannot vouch for bitmaps: they go, and their clusters with them. */
static int drop_bitmaps(struct versioning *v)
{
    const struct bitmap_space space = bitmap_space_of_shadow(&v->s);

    if (v->q->bitmaps.count == 0)
        return 0;
    TRY(bitmap_edit_begin(&v->bitmaps, v->q, v->err));
    while (v->bitmaps.list.count)
        TRY(bitmap_edit_remove(&v->bitmaps, 0, v->err));
    TRY(bitmap_edit_store(&v->bitmaps, &space, v->err));
    return bitmap_edit_drop(&v->bitmaps, &space);
}

static struct qcow2_head head_of_v2(const struct qcow2 *q)
{
    struct qcow2_head head = { .q = q, .header = q->header, .set_bitmaps = true };

    head.header.version = 2;
    head.header.header_length = QCOW2_V2_HEADER_LENGTH;
    head.header.incompatible = head.header.compatible = head.header.autoclear = 0;
    head.header.compression_type = QCOW2_COMPRESSION_ZLIB;
    return head;
}

static int build_v2(struct versioning *v)
{
    TRY(shadow_begin(&v->s, v->q, SHADOW_BEHIND));
    TRY(use_head(v));
    TRY(drop_bitmaps(v));
    TRY(expand_snapshots(v));
    TRY(expand_active(v));
    return shadow_commit(&v->s);
}

static bool snapshots_prevent(const struct qcow2 *q, uint64_t size)
{
    for (size_t i = 0; i < q->snapshots.count; i++)
        if (q->snapshots.items[i].vm_state_size > UINT32_MAX ||
            q->snapshots.items[i].disk_size != size)
            return true;
    return false;
}

/* A table with a packed cluster leaves the L1 table. */
static int strike_packed(struct shadow *s, struct tree_table *table)
{
    const int full = tree_l2_read(s, table->off, table->l2);

    for (uint64_t k = 0; full > 0 && k < tree_all(s->q).end; k++)
        if (tree_entry_get(s->q, table->l2, k).word & QCOW2_COMPRESSED)
            table->word = 0;
    return full;
}

/* Is there a packed cluster in the active state? */
static int has_packed(struct qcow2 *q)
{
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };
    struct shadow s = { .q = q }; /* for looking at tables alone */

    TRY(tree_l1_load(q, q->header.l1_off, q->header.l1_count, &l1));
    const int rc = tree_each_table(&s, l1.words, l1.count, strike_packed);
    blanks_release(&s.blanks);
    return rc;
}

int qcow2_amend_check_downgrade(struct qcow2 *q, unsigned refcount_bits, uint64_t size,
                                struct qimg_error *err)
{
    const uint64_t features = q->header.incompatible;
    const uint64_t unspeakable = features & ~QCOW2_INCOMPAT_COMPRESSION;

    if (refcount_bits != 16)
        return qimg_fail(err, ENOTSUP, "compat=0.10 requires refcount_bits=16");
    if (features & QCOW2_INCOMPAT_DATA_FILE)
        return qimg_fail(err, ENOTSUP, "Cannot downgrade an image with a data file");
    if (snapshots_prevent(q, size))
        return qimg_fail(err, ENOTSUP, "Internal snapshots prevent downgrade of image");
    if (unspeakable)
        return qimg_fail(err, ENOTSUP,
                         "Cannot downgrade an image with incompatible features %#" PRIx64 " set",
                         unspeakable);
    const int packed = features & QCOW2_INCOMPAT_COMPRESSION ? has_packed(q) : 0;
    if (packed < 0)
        return qimg_fail(err, EINVAL, "Failed to check block status");
    if (packed)
        return qimg_fail(err, ENOTSUP,
                         "Cannot downgrade an image with zstd compression type and existing "
                         "compressed clusters");
    return 0;
}

int qcow2_amend_downgrade(struct qcow2 *q, const struct amend_request *request,
                          struct qimg_error *err)
{
    AUTO(versioning_release)
    struct versioning v = { .q = q, .err = err, .head = head_of_v2(q), .request = request };

    v.s.q = q;
    v.to_walk = words_to_walk(q);
    return shadow_finish(&v.s, build_v2(&v), "Failed to turn zero into data clusters", err);
}

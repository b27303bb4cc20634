/* SPDX-License-Identifier: Apache-2.0
 *
 * How what check found is mended. Each function leaves the image no worse wherever it is cut:
 *   (1) entries are replaced by such that read the same (what they were is not readable at all);
 *   (2) counts are raised, durable, before COPIED flags go by them; flags are durable before
 *       counts are lowered;
 *   (3) a rebuild writes new blocks and a new table where nothing points, syncs, and then one write
 *       of the header's sector makes them the image's; the old ones are given back after that.
 */
#include <stdlib.h>

#include "base_limits.h"
#include "check.h"
#include "checked.h"
#include "cleanup.h"

#define PAGE (4 * KiB)

/* --- overlaps ------------------------------------------------------------------------------- */

/* A range that no table can have is left out. */
static int add_range(struct range_vec *ranges, struct qimg_range range)
{
    return range_within(range, INT64_MAX) ? range_vec_push(ranges, range) : 0;
}

static int cut_ranges(struct range_vec *ranges, int rc, struct piece_vec *out)
{
    if (rc == 0)
        rc = pieces_cut(ranges, out);
    range_vec_release(ranges);
    return rc;
}

static struct qimg_range l1_of(const struct check_snapshot *s)
{
    return (struct qimg_range){ s->l1_off, (uint64_t)s->l1_count * QCOW2_L1_ENTRY_BYTES };
}

static struct qimg_range active_l1(const struct check *c)
{
    const struct qcow2_header *h = &c->q->header;

    return (struct qimg_range){ h->l1_off, (uint64_t)h->l1_count * QCOW2_L1_ENTRY_BYTES };
}

static int find_l1(const struct check *c, struct piece_vec *out)
{
    struct range_vec ranges = { 0 };
    int rc = add_range(&ranges, active_l1(c));

    for (size_t i = 0; rc == 0 && i < c->snapshots.count; i++)
        rc = add_range(&ranges, l1_of(&c->snapshots.items[i]));
    return cut_ranges(&ranges, rc, out);
}

/* No reference of a table that passes the end of the file was counted: nobody knows what else lies
 * in it. */
static int add_if_cut(const struct check *c, struct range_vec *ranges, struct qimg_range l1)
{
    const uint64_t end = c->before.length << c->q->header.cluster_bits;

    return range_within(l1, end) ? 0 : add_range(ranges, l1);
}

static int find_cut_l1(const struct check *c, struct piece_vec *out)
{
    struct range_vec ranges = { 0 };
    int rc = add_if_cut(c, &ranges, active_l1(c));

    for (size_t i = 0; rc == 0 && i < c->snapshots.count; i++)
        if (check_walks_snapshot(c, &c->snapshots.items[i]))
            rc = add_if_cut(c, &ranges, l1_of(&c->snapshots.items[i]));
    return cut_ranges(&ranges, rc, out);
}

static int find_counts(const struct check *c, struct piece_vec *out)
{
    const struct qcow2_header *h = &c->q->header;
    const uint64_t size = qcow2_cluster_size(c->q);
    struct range_vec ranges = { 0 };
    int rc =
        add_range(&ranges, (struct qimg_range){ h->reftable_off, h->reftable_clusters * size });

    for (uint32_t i = 0; rc == 0 && i < c->reftable_count; i++) {
        const uint64_t off = c->reftable[i] & QCOW2_REFTABLE_OFFSET_MASK;
        if (off)
            rc = add_range(&ranges, (struct qimg_range){ off, size });
    }
    return cut_ranges(&ranges, rc, out);
}

void repair_forget_metadata(struct check *c)
{
    piece_vec_release(&c->l1_pieces);
    piece_vec_release(&c->cut_pieces);
    piece_vec_release(&c->count_pieces);
    memset(c->asked_cluster, 0, sizeof(c->asked_cluster));
    c->knows_metadata = false;
}

static int learn_metadata(struct check *c)
{
    if (c->knows_metadata)
        return 0;
    TRY(find_l1(c, &c->l1_pieces));
    TRY(find_cut_l1(c, &c->cut_pieces));
    TRY(find_counts(c, &c->count_pieces));
    c->knows_metadata = true;
    return 0;
}

/* L2 tables that begin there or reach in. */
static bool meets_l2(const struct check *c, struct qimg_range bytes)
{
    const uint64_t before = min_u64(bytes.off, qcow2_cluster_size(c->q) - 1);

    return census_links_into(&c->census,
                             (struct qimg_range){ bytes.off - before, bytes.len + before }) > 0;
}

/* True also where that cannot be found out. */
static bool overlaps(struct check *c, struct qimg_range bytes, enum repair_kind kind)
{
    const uint64_t size = qcow2_cluster_size(c->q), first = align_down(bytes.off, size);
    const struct qimg_range whole = { first, align_up(bytes.off + bytes.len, size) - first };

    if (whole.off < size || learn_metadata(c) < 0 || pieces_meet(&c->count_pieces, whole) ||
        ranges_meet(whole, (struct qimg_range){ c->snapshots_off, c->snapshots_len }))
        return true;
    return kind == REPAIR_L1 ? meets_l2(c, whole) : pieces_meet(&c->l1_pieces, whole);
}

/* --- entries -------------------------------------------------------------------------------- */

/* Every reference to a table's cluster must be a link to that table. */
static bool is_only_table(struct check *c, uint64_t cluster, enum repair_kind kind)
{
    const struct qimg_range whole = { cluster << c->q->header.cluster_bits,
                                      qcow2_cluster_size(c->q) };
    const uint64_t count = counts_get(&c->before, cluster);

    if (kind == REPAIR_L2)
        return count == census_links_into(&c->census, whole);
    return count == 1 && !pieces_meet(&c->cut_pieces, whole);
}

bool repair_may_write(struct check *c, uint64_t off, enum repair_kind kind)
{
    const uint64_t cluster = check_cluster_of(c, off);

    /* Asked for each entry of a table: the last answer is kept. */
    if (c->asked_cluster[kind] != cluster + 1) {
        c->asked_cluster[kind] = cluster + 1;
        c->asked_answer[kind] =
            !overlaps(c, (struct qimg_range){ off, 1 }, kind) && is_only_table(c, cluster, kind);
    }
    return c->asked_answer[kind];
}

int repair_entry(struct check *c, uint64_t entry_off, const void *bytes, size_t len,
                 enum repair_kind kind)
{
    if (!repair_may_write(c, entry_off, kind))
        return -EEXIST;
    c->mends++;
    c->l2_mends += kind == REPAIR_L2;
    return mender_stage(&c->mender, entry_off, bytes, len);
}

/* --- the header ----------------------------------------------------------------------------- */

int repair_header(struct check *c, unsigned off, const void *bytes, size_t len)
{
    uint8_t sector[QCOW2_SECTOR];

    assert(off + len <= sizeof(sector));
    TRY(mender_flush(&c->mender));
    TRY(io_read_exact(c->q->image.file, 0, sector, sizeof(sector), NULL));
    memcpy(sector + off, bytes, len);
    TRY(mender_stage(&c->mender, 0, sector, sizeof(sector)));
    return mender_flush(&c->mender);
}

int repair_mark_clean(struct check *c)
{
    struct qcow2_header *h = &c->q->header;
    const uint64_t bits = h->incompatible & ~(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
    uint8_t raw[8];

    if (h->version < 3 || bits == h->incompatible)
        return 0;
    store_be64(raw, bits);
    TRY(repair_header(c, QCOW2_AT_INCOMPATIBLE, raw, sizeof(raw)));
    h->incompatible = bits;
    return 0;
}

/* --- counts in place ------------------------------------------------------------------------ */

static int stage_changed(struct check *c, uint64_t off, const uint8_t *old, const uint8_t *new)
{
    const uint64_t size = qcow2_cluster_size(c->q), page = min_u64(PAGE, size);

    for (uint64_t i = 0; i < size; i += page)
        if (memcmp(old + i, new + i, page) != 0)
            TRY(mender_stage(&c->mender, off + i, new + i, page));
    return 0;
}

static int write_block(struct check *c, uint64_t index, bool raised, uint8_t *old, uint8_t *new)
{
    const unsigned order = c->q->header.refcount_order;
    const uint64_t size = qcow2_cluster_size(c->q), first = index * check_counts_of_block(c);
    const uint64_t off = c->reftable[index] & QCOW2_REFTABLE_OFFSET_MASK;
    const uint64_t n = min_u64(check_counts_of_block(c), c->disk.length - first);

    TRY(io_read_exact(c->q->image.file, off, old, size, NULL));
    memcpy(new, old, size);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t want = counts_get(&c->disk, first + i);
        const uint64_t is = qcow2_refcount_get(old, order, i);
        if (raised ? want > is : want < is)
            qcow2_refcount_put(new, order, i, want);
    }
    return stage_changed(c, off, old, new);
}

int repair_counts(struct check *c, bool raised)
{
    const uint64_t size = qcow2_cluster_size(c->q);
    const uint8_t bit = raised ? BLOCK_RAISED : BLOCK_LOWERED;
    AUTO_FREE uint8_t *both = malloc(2 * size);

    if (!both)
        return -ENOMEM;
    c->one_block = UINT64_MAX;
    for (uint64_t i = 0; i < c->reftable_count; i++) {
        if (!(c->block_state[i] & bit))
            continue;
        TRY(write_block(c, i, raised, both, both + size));
        c->block_state[i] &= (uint8_t)~bit;
    }
    return mender_flush(&c->mender);
}

/* --- rebuilding ----------------------------------------------------------------------------- */

struct rebuild {
    struct check *c;
    uint64_t *table; /* owned: offsets of the new blocks */
    uint64_t table_count;
    uint64_t table_off, table_clusters;
    uint64_t blocks_from; /* clusters below are taken, for the next block */
    uint64_t snapshots_off;
    uint8_t *snapshots; /* owned */
    uint64_t snapshots_len;
};

static void cleanup_rebuild(struct rebuild *r)
{
    free(r->table);
    free(r->snapshots);
}

/* The first run of @n unused clusters from @from on; *first is the first unused one seen. */
static int take_clusters(struct check *c, uint64_t n, uint64_t *from, uint64_t *cluster)
{
    uint64_t at = *from, run = 0;
    bool seen = false;

    for (; at < c->mem.length && run < n; at++) {
        const bool used = counts_get(&c->mem, at) != 0;
        if (!used && !seen) {
            *from = at;
            seen = true;
        }
        run = used ? 0 : run + 1;
    }
    const uint64_t first = at - run;
    if (!seen)
        *from = first;
    if (first + n > INT32_MAX)
        return -EFBIG;
    if (c->q->image.file->is_device && (first + n) << c->q->header.cluster_bits > c->file_size)
        return -ENOSPC;
    TRY(counts_grow(&c->mem, first + n));
    TRY(counts_add_run(&c->mem, first, n));
    *cluster = first;
    return 0;
}

static int grow_table(struct rebuild *r, uint64_t index)
{
    const uint64_t in_cluster = qcow2_cluster_size(r->c->q) / QCOW2_REFTABLE_ENTRY_BYTES;
    const uint64_t count = align_up(index + 1, in_cluster);

    if (index < r->table_count)
        return 0;
    if (count * QCOW2_REFTABLE_ENTRY_BYTES > LIMIT_QCOW2_REFTABLE_BYTES)
        return -EFBIG;
    uint64_t *table = reallocarray(r->table, count, sizeof(*table));
    if (!table)
        return -ENOMEM;
    memset(table + r->table_count, 0, (count - r->table_count) * sizeof(*table));
    r->table = table;
    r->table_count = count;
    return 0;
}

/* A block for each piece of the file in which a cluster is used. New blocks use clusters too:
 * the loop goes on as long as the file grows. */
static int place_blocks(struct rebuild *r)
{
    struct check *c = r->c;
    const uint64_t in_block = check_counts_of_block(c);

    for (uint64_t i = 0; i * in_block < c->mem.length; i++) {
        const uint64_t n = min_u64(in_block, c->mem.length - i * in_block);
        uint64_t cluster = 0;
        if (i < r->table_count && r->table[i])
            continue;
        if (counts_skip(&c->mem, i * in_block, n, 0) == i * in_block + n)
            continue;
        r->blocks_from = max_u64(r->blocks_from, i * in_block);
        TRY(take_clusters(c, 1, &r->blocks_from, &cluster));
        TRY(grow_table(r, i));
        r->table[i] = cluster << c->q->header.cluster_bits;
    }
    return 0;
}

static int place_table(struct rebuild *r)
{
    struct check *c = r->c;
    const uint64_t in_cluster = qcow2_cluster_size(c->q) / QCOW2_REFTABLE_ENTRY_BYTES;

    for (;;) {
        uint64_t cluster = 0, from = 0;
        const uint64_t needed = r->table_count / in_cluster;
        if (needed == r->table_clusters)
            return 0;
        /* A place that became too small stays counted: lowered at the end, with the old ones. */
        TRY(take_clusters(c, needed, &from, &cluster));
        r->table_off = cluster << c->q->header.cluster_bits;
        r->table_clusters = needed;
        TRY(place_blocks(r));
    }
}

static int place_snapshots(struct rebuild *r)
{
    struct check *c = r->c;
    const uint64_t size = qcow2_cluster_size(c->q);
    uint64_t cluster, from = 0;

    TRY(check_encode_snapshots(c, &r->snapshots, &r->snapshots_len));
    if (r->snapshots_len == 0)
        return 0;
    TRY(take_clusters(c, div_up(r->snapshots_len, size), &from, &cluster));
    r->snapshots_off = cluster << c->q->header.cluster_bits;
    return 0;
}

static int write_blocks(struct rebuild *r)
{
    struct check *c = r->c;
    const uint64_t size = qcow2_cluster_size(c->q), in_block = check_counts_of_block(c);
    AUTO_FREE uint8_t *block = malloc(size);

    if (!block)
        return -ENOMEM;
    for (uint64_t i = 0; i < r->table_count; i++) {
        const uint64_t first = i * in_block;
        if (!r->table[i])
            continue;
        memset(block, 0, size);
        for (uint64_t k = 0; k < in_block && first + k < c->mem.length; k++)
            qcow2_refcount_put(block, c->q->header.refcount_order, k,
                               counts_get(&c->mem, first + k));
        TRY(mender_stage(&c->mender, r->table[i], block, size));
    }
    return 0;
}

static int write_table(struct rebuild *r)
{
    const uint64_t page = min_u64(PAGE, qcow2_cluster_size(r->c->q));
    uint8_t raw[PAGE];

    for (uint64_t i = 0; i < r->table_count; i += page / QCOW2_REFTABLE_ENTRY_BYTES) {
        for (uint64_t k = 0; k < page / QCOW2_REFTABLE_ENTRY_BYTES; k++)
            store_be64(raw + k * QCOW2_REFTABLE_ENTRY_BYTES, r->table[i + k]);
        TRY(mender_stage(&r->c->mender, r->table_off + i * QCOW2_REFTABLE_ENTRY_BYTES, raw, page));
    }
    if (r->snapshots_off)
        TRY(mender_stage(&r->c->mender, r->snapshots_off, r->snapshots, r->snapshots_len));
    return 0;
}

/* Table, its length, snapshot count and place: bytes 48 to 71 of the header. */
static int flip(struct rebuild *r, bool snapshots)
{
    struct check *c = r->c;
    struct qcow2_header *h = &c->q->header;
    uint8_t raw[24];
    struct writer w = writer_of(raw, sizeof(raw));

    write_be64(&w, r->table_off);
    write_be32(&w, (uint32_t)r->table_clusters);
    write_be32(&w, (uint32_t)c->snapshots.count);
    write_be64(&w, r->snapshots_off);
    TRY(repair_header(c, QCOW2_AT_REFTABLE, raw, snapshots ? 24 : 12));
    h->reftable_off = r->table_off;
    h->reftable_clusters = (uint32_t)r->table_clusters;
    if (snapshots) {
        h->snapshots_off = c->snapshots_off = r->snapshots_off;
        c->snapshots_len = r->snapshots_len;
    }
    return 0;
}

static int failed(struct qimg_error *err, int rc, const char *what)
{
    return qimg_fail_errno(err, -rc, "ERROR %s", what);
}

int repair_rebuild(struct check *c, bool snapshots, struct qimg_error *err)
{
    AUTO(cleanup_rebuild) struct rebuild r = { .c = c };
    int rc = snapshots ? place_snapshots(&r) : 0;

    if (rc < 0)
        return failed(err, rc, "allocating snapshot table");
    rc = place_blocks(&r);
    if (rc < 0)
        return failed(err, rc, "allocating refblock");
    rc = place_table(&r);
    if (rc < 0)
        return failed(err, rc, "allocating reftable");
    rc = write_blocks(&r);
    if (rc < 0)
        return failed(err, rc, "writing refblock");
    rc = write_table(&r);
    if (rc == 0)
        rc = mender_flush(&c->mender);
    if (rc < 0)
        return failed(err, rc, "writing reftable");
    rc = flip(&r, snapshots);
    return rc < 0 ? failed(err, rc, "setting reftable") : 0;
}

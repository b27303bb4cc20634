/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing reference counts: counts of any width in cached pages, refcount blocks where there are
 * none yet, and a longer refcount table.
 *
 * A new block is the first cluster of those that it describes, and counts itself. A longer table
 * is made of clusters that the table could not describe so far, with the blocks for them in front:
 * nothing of it is visible before the table, in its new place, is.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "meta_internal.h"

#define FULL_BITS 6 /* of the table of blocks that are known to be full */

/* --- one count ------------------------------------------------------------------------------ */

/* Offset of the refcount block for @cluster, or 0. */
static uint64_t block_of(const struct qcow2 *q, uint64_t cluster)
{
    const uint64_t index = cluster >> q->meta->block_bits;

    return index < q->meta->reftable_count ? q->meta->reftable[index] : 0;
}

/* Can the counts of @cluster be read? -EIO, and the image is marked corrupt, where their block
 * cannot be where the table says. */
static int check_block(struct qcow2 *q, uint64_t cluster)
{
    const uint64_t off = block_of(q, cluster);
    char why[120];

    if (is_aligned(off, qcow2_cluster_size(q)))
        return 0;
    snprintf(why, sizeof(why),
             "Refblock offset %#" PRIx64 " unaligned (reftable index: %#" PRIx64 ")", off,
             cluster >> q->meta->block_bits);
    return meta_mark_corrupt(q, why);
}

/* Counts in one page, as a power of two. */
static unsigned page_count_bits(const struct qcow2 *q)
{
    return log2_u64(q->meta->page_size) + 3 - q->header.refcount_order;
}

/* Where the page of counts lies that has @cluster's. Block exists. */
static uint64_t count_page(const struct qcow2 *q, uint64_t cluster)
{
    const uint64_t in_block = cluster & ((UINT64_C(1) << q->meta->block_bits) - 1);

    return block_of(q, cluster) + (in_block >> page_count_bits(q)) * q->meta->page_size;
}

static uint64_t index_in_page(const struct qcow2 *q, uint64_t cluster)
{
    return cluster & ((UINT64_C(1) << page_count_bits(q)) - 1);
}

int refcount_raw(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
    const uint8_t *page;

    *count = 0;
    if (block_of(q, cluster) == 0)
        return 0;
    TRY(check_block(q, cluster));
    TRY(meta_read_page(q, count_page(q, cluster), &page));
    *count = qcow2_refcount_get(page, q->header.refcount_order, index_in_page(q, cluster));
    return 0;
}

static int edit_counts(struct qcow2 *q, uint64_t cluster, uint8_t **page)
{
    TRY(check_block(q, cluster));
    return meta_edit_page(q, count_page(q, cluster), META_NEW, META_KIND_REFBLOCK, page);
}

static int check_room(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    for (uint64_t c = cluster; c < cluster + count; c++) {
        uint64_t now;
        TRY(refcount_raw(q, c, &now));
        if (now == refcount_max(q))
            return -EINVAL;
    }
    return 0;
}

int refcounts_raise(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    const unsigned order = q->header.refcount_order;

    TRY(check_room(q, cluster, count));
    for (uint64_t c = cluster; c < cluster + count;) {
        const uint64_t page_end = (c | ((UINT64_C(1) << page_count_bits(q)) - 1)) + 1;
        uint8_t *page;
        const int rc = edit_counts(q, c, &page);
        if (rc < 0) {
            while (c-- > cluster) { /* what was raised was just changed: it is in memory */
                uint64_t left;
                (void)!refcount_lower(q, c, &left);
            }
            return rc;
        }
        for (; c < page_end && c < cluster + count; c++) {
            const uint64_t i = index_in_page(q, c);
            qcow2_refcount_put(page, order, i, qcow2_refcount_get(page, order, i) + 1);
        }
    }
    return 0;
}

int refcount_lower(struct qcow2 *q, uint64_t cluster, uint64_t *left)
{
    uint8_t *page;
    uint64_t now;

    TRY(refcount_raw(q, cluster, &now));
    *left = now ? now - 1 : 0;
    if (now == 0)
        return 0;
    TRY(edit_counts(q, cluster, &page));
    qcow2_refcount_put(page, q->header.refcount_order, index_in_page(q, cluster), now - 1);
    return 0;
}

/* --- searching ------------------------------------------------------------------------------ */

/* In one page: the first index in [from, end) whose count is (not) 0, or @end. */
static uint64_t find_in_page(const uint8_t *page, unsigned order, uint64_t from, uint64_t end,
                             bool used)
{
    if (order == 4) { /* the width of nearly all images */
        const uint16_t *counts = (const uint16_t *)(const void *)page;
        while (from < end && (counts[from] != 0) != used)
            from++;
        return from;
    }
    while (from < end && (qcow2_refcount_get(page, order, from) != 0) != used)
        from++;
    return from;
}

/* A block that one table entry after the other names is looked at once, if all of it is taken. */
static uint64_t *full_slot(uint64_t *full, uint64_t block)
{
    return &full[block * UINT64_C(0x9e3779b97f4a7c15) >> (64 - FULL_BITS)];
}

int refcount_find(struct qcow2 *q, uint64_t from, uint64_t end, bool used, uint64_t *out)
{
    const uint64_t per_block = UINT64_C(1) << q->meta->block_bits, begin = from;
    const uint64_t per_page = UINT64_C(1) << page_count_bits(q);
    uint64_t full[1 << FULL_BITS] = { 0 };

    while (from < end) {
        const uint64_t block = block_of(q, from), in_block = from & (per_block - 1);
        const bool known = in_block == 0 && *full_slot(full, block) == block;
        if (block == 0 && !used)
            break;
        if (block == 0 || known) {
            const bool past_table = from >> q->meta->block_bits >= q->meta->reftable_count;
            from = past_table ? end : min_u64(from - in_block + per_block, end);
            continue;
        }
        const uint64_t base = align_down(from, per_page);
        const uint64_t stop = min_u64(base + per_page, end) - base;
        const uint8_t *page;
        TRY(check_block(q, from));
        TRY(meta_read_page(q, count_page(q, from), &page));
        from = base + find_in_page(page, q->header.refcount_order, from - base, stop, used);
        if (from - base < stop)
            break;
        if (!used && (from & (per_block - 1)) == 0 && from - begin >= per_block)
            *full_slot(full, block) = block;
    }
    *out = from;
    return 0;
}

/* --- blocks --------------------------------------------------------------------------------- */

static int reftable_entry_set(struct qcow2 *q, uint64_t index, uint64_t off)
{
    uint8_t *entry;

    TRY(meta_edit_page(q, q->header.reftable_off + index * QCOW2_REFTABLE_ENTRY_BYTES,
                       META_REFTABLE, META_KIND_REFTABLE, &entry));
    store_be64(entry, off);
    q->meta->reftable[index] = off;
    return 0;
}

/* A block full of zeros at @cluster for counts [index << block_bits, ...): known, not counted. */
static int block_put(struct qcow2 *q, uint64_t index, uint64_t cluster)
{
    const uint64_t cs = qcow2_cluster_size(q), off = cluster << q->header.cluster_bits;
    const struct qimg_range bytes = { off, cs };

    TRY(alloc_check_end(q, cluster + 1));
    TRY(overlap_check(q, bytes, 0));
    pages_forget(q, bytes);
    TRY(alloc_clear(q, off, cs, off >= q->meta->fresh_off));
    TRY(overlap_note(q, bytes, META_KIND_REFBLOCK));
    return reftable_entry_set(q, index, off);
}

/* Undoes block_put() where the block could not be counted. The entry's page is dirty, so that
 * changing it again takes neither memory nor I/O. */
static void block_drop(struct qcow2 *q, uint64_t index)
{
    const uint64_t off = q->meta->reftable[index];

    if (off == 0 || reftable_entry_set(q, index, 0) < 0)
        return;
    pages_forget(q, (struct qimg_range){ off, qcow2_cluster_size(q) });
    overlap_forget(q, (struct qimg_range){ off, qcow2_cluster_size(q) });
}

/* One that describes itself. */
static int block_make(struct qcow2 *q, uint64_t index)
{
    const uint64_t cluster = index << q->meta->block_bits;

    TRY(block_put(q, index, cluster));
    const int rc = refcounts_raise(q, cluster, 1);
    if (rc < 0) {
        block_drop(q, index);
        return rc;
    }
    alloc_taken(q, cluster, 1);
    return 0;
}

void refblocks_unplace(struct qcow2 *q, uint64_t cluster, uint64_t count, uint64_t blocks)
{
    const unsigned bits = q->meta->block_bits;

    for (uint64_t i = cluster >> bits; i <= (cluster + count - 1) >> bits; i++) {
        const uint64_t at = q->meta->reftable[i] >> q->header.cluster_bits;
        if (at >= cluster && at < cluster + blocks)
            block_drop(q, i);
    }
}

int refblocks_place(struct qcow2 *q, uint64_t cluster, uint64_t count, uint64_t *blocks)
{
    const unsigned bits = q->meta->block_bits;

    *blocks = 0;
    for (uint64_t i = cluster >> bits; i <= (cluster + count - 1) >> bits; i++) {
        if (q->meta->reftable[i] != 0)
            continue;
        const int rc = block_put(q, i, cluster + *blocks);
        if (rc < 0) {
            refblocks_unplace(q, cluster, count, *blocks);
            return rc;
        }
        ++*blocks;
    }
    return 0;
}

bool refblocks_exist(const struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    const unsigned bits = q->meta->block_bits;

    for (uint64_t i = cluster >> bits; i <= (cluster + count - 1) >> bits; i++) {
        if (block_of(q, i << bits) == 0)
            return false;
    }
    return true;
}

/* --- a longer table ------------------------------------------------------------------------- */

/* A longer table and the blocks that describe where it lies. */
struct growth {
    uint64_t first_index;   /* of the new blocks */
    uint64_t first_cluster; /* blocks, then table */
    uint64_t blocks, table_clusters;
    uint64_t *table; /* owned */
    uint64_t table_count;
};

static int growth_plan(const struct qcow2 *q, uint64_t index, struct growth *g)
{
    const uint64_t per_block = UINT64_C(1) << q->meta->block_bits;
    const uint64_t per_cluster = qcow2_cluster_size(q) / QCOW2_REFTABLE_ENTRY_BYTES;
    const uint64_t most = LIMIT_QCOW2_REFTABLE_BYTES >> q->header.cluster_bits;
    uint64_t before;

    *g = (struct growth){ .first_index = index,
                          .first_cluster = index << q->meta->block_bits,
                          .blocks = 1 };
    do {
        const uint64_t needed = index + g->blocks;
        before = g->blocks;
        g->table_clusters = min_u64(div_up(needed + needed / 2, per_cluster), most);
        if (needed > g->table_clusters * per_cluster)
            return -EFBIG;
        g->blocks = div_up(g->blocks + g->table_clusters, per_block);
    } while (g->blocks > before);
    g->blocks = before;
    g->table_count = g->table_clusters * per_cluster;
    return alloc_check_end(q, g->first_cluster + g->blocks + g->table_clusters);
}

static int growth_write(struct qcow2 *q, const struct growth *g)
{
    const uint64_t cs = qcow2_cluster_size(q), per_block = UINT64_C(1) << q->meta->block_bits;
    const uint64_t all = g->blocks + g->table_clusters;
    const unsigned bits = q->header.cluster_bits;
    AUTO_FREE uint8_t *buf = io_buffer_new(max_u64(cs, g->table_clusters << bits));

    if (!buf)
        return -ENOMEM;
    for (uint64_t b = 0; b < g->blocks; b++) {
        memset(buf, 0, cs);
        for (uint64_t i = 0; i < per_block && b * per_block + i < all; i++)
            qcow2_refcount_put(buf, q->header.refcount_order, i, 1);
        TRY(meta_new_bytes(q, (g->first_cluster + b) << bits, buf, cs));
    }
    for (uint64_t i = 0; i < g->table_count; i++)
        store_be64(buf + 8 * i, g->table[i]);
    return meta_new_bytes(q, (g->first_cluster + g->blocks) << bits, buf,
                          g->table_clusters << bits);
}

static int growth_fill(struct qcow2 *q, struct growth *g)
{
    const struct meta *m = q->meta;

    g->table = calloc(g->table_count, sizeof(*g->table));
    if (!g->table)
        return -ENOMEM;
    memcpy(g->table, m->reftable, m->reftable_count * sizeof(*g->table));
    for (uint64_t b = 0; b < g->blocks; b++)
        g->table[g->first_index + b] = (g->first_cluster + b) << q->header.cluster_bits;
    return 0;
}

/* Everything stands on disk, invisible: now it is ours in memory. */
static int growth_adopt(struct qcow2 *q, struct growth *g)
{
    struct meta *m = q->meta;
    const unsigned bits = q->header.cluster_bits;
    const struct qimg_range old = { q->header.reftable_off,
                                    (uint64_t)q->header.reftable_clusters << bits };
    const struct qimg_range blocks = { g->first_cluster << bits, g->blocks << bits };
    const struct qimg_range table = { blocks.off + blocks.len, g->table_clusters << bits };

    TRY(overlap_note(q, blocks, META_KIND_REFBLOCK));
    TRY(overlap_note(q, table, META_KIND_REFTABLE));
    TRY(clusters_unref(q, old, META_KIND_REFTABLE, RELEASE_KEEP));
    free(m->reftable);
    m->reftable = TAKE(g->table);
    m->reftable_count = g->table_count;
    m->reftable_moved = true;
    q->header.reftable_off = table.off;
    q->header.reftable_clusters = (uint32_t)g->table_clusters;
    alloc_taken(q, g->first_cluster, g->blocks + g->table_clusters);
    return 0;
}

static int reftable_grow(struct qcow2 *q, uint64_t index)
{
    struct growth g;

    TRY(growth_plan(q, index, &g));
    const uint64_t end = (g.first_cluster + g.blocks + g.table_clusters) << q->header.cluster_bits;
    q->meta->fresh_off = max_u64(q->meta->fresh_off, end);
    int rc = growth_fill(q, &g);
    if (rc == 0)
        rc = growth_write(q, &g);
    if (rc == 0)
        rc = growth_adopt(q, &g);
    free(g.table);
    return rc;
}

int reftable_reach(struct qcow2 *q, uint64_t end)
{
    const uint64_t index = (end - 1) >> q->meta->block_bits;

    if (index < q->meta->reftable_count)
        return 0;
    TRY(reftable_grow(q, index));
    return 1;
}

int refblocks_ensure(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    const unsigned bits = q->meta->block_bits;
    int made = 0;

    for (uint64_t i = cluster >> bits; i <= (cluster + count - 1) >> bits; i++) {
        if (i >= q->meta->reftable_count)
            TRY(reftable_grow(q, i));
        else if (q->meta->reftable[i] == 0)
            TRY(block_make(q, i));
        else
            continue;
        made = 1;
    }
    return made;
}

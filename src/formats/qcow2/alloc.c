/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding free clusters: the first run of counts that are 0, from a hint on behind which nothing
 * is known. What was released is counted until its release is durable (release.c), so that
 * "count is 0" is all there is to know here.
 */
#include <assert.h>

#include "checked.h"
#include "meta_internal.h"

int alloc_check_end(const struct qcow2 *q, uint64_t end)
{
    if (end <= q->meta->host_end >> q->header.cluster_bits)
        return 0;
    return q->meta->is_device ? -ENOSPC : -EFBIG;
}

bool clusters_fresh(const struct qcow2 *q, uint64_t host_off)
{
    return host_off >= q->meta->fresh_last;
}

void alloc_taken(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    struct meta *m = q->meta;
    const uint64_t end = (cluster + count) << q->header.cluster_bits;

    if (m->free_hint >= cluster && m->free_hint < cluster + count)
        m->free_hint = cluster + count;
    m->fresh_last = m->fresh_off;
    if (m->fresh_off < end) /* never on a device */
        m->fresh_off = end;
    m->taken_end = max_u64(m->taken_end, end);
    if (q->geometry.file_size < end)
        q->geometry.file_size = end;
}

void alloc_freed(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    struct meta *m = q->meta;
    const unsigned bits = q->header.cluster_bits;

    (void)count;
    if (m->free_hint > cluster)
        m->free_hint = cluster;
    if (m->packed_next >> bits >= cluster && m->packed_next >> bits < cluster + count)
        m->packed_next = 0;
}

int alloc_clear(struct qcow2 *q, uint64_t host_off, uint64_t len, bool fresh)
{
    if (fresh)
        return 0;
    q->meta->unsynced = true;
    return io_zero(q->image.file, (struct qimg_range){ host_off, len }, false);
}

/* Packed bytes in the last cluster are covered to the end of their sector. */
static uint64_t end_to_cover(const struct qcow2 *q)
{
    const struct meta *m = q->meta;

    if (m->packed_next && align_up(m->packed_next, qcow2_cluster_size(q)) == m->taken_end)
        return align_up(m->packed_next, QCOW2_SECTOR);
    return m->taken_end;
}

int alloc_cover(struct qcow2 *q)
{
    struct meta *m = q->meta;
    const uint64_t end = end_to_cover(q);
    struct io_stat st;

    if (m->is_device || end <= m->covered)
        return 0;
    TRY(io_stat(q->image.file, &st));
    if (st.size < end) {
        m->unsynced = true;
        TRY(io_truncate(q->image.file, end));
    }
    m->covered = end;
    return 0;
}

struct found {
    uint64_t cluster, count;
};

/* The first run of at least @least free clusters, of which at most @most count. */
static int find_run(struct qcow2 *q, uint64_t least, uint64_t most, struct found *out)
{
    struct meta *m = q->meta;
    uint64_t begin = m->free_hint, end;

    assert(least > 0 && least <= most);
    for (bool first = true;; first = false) {
        TRY(refcount_find(q, begin, UINT64_MAX >> q->header.cluster_bits, false, &begin));
        if (first)
            m->free_hint = begin;
        TRY(alloc_check_end(q, begin + least));
        TRY(refcount_find(q, begin, begin + most, true, &end));
        if (end - begin >= least)
            break;
        begin = end;
    }
    const uint64_t room = (m->host_end >> q->header.cluster_bits) - begin;
    *out = (struct found){ begin, min_u64(end - begin, room) };
    return 0;
}

/* Nothing but free space may be there, whatever the counts say. */
static int check_run(struct qcow2 *q, struct found run)
{
    const unsigned bits = q->header.cluster_bits;

    return overlap_check(q, (struct qimg_range){ run.cluster << bits, run.count << bits }, 0);
}

/* Counts free clusters whose blocks exist. */
static int take_run(struct qcow2 *q, struct found run)
{
    TRY(refcounts_raise(q, run.cluster, run.count));
    alloc_taken(q, run.cluster, run.count);
    return 0;
}

int clusters_alloc_upto(struct qcow2 *q, uint64_t max, uint64_t *host_off, uint64_t *count)
{
    struct found run;
    int made;

    TRY(meta_failed(q));
    do { /* a new block may have taken the very cluster that was found */
        TRY(find_run(q, 1, max, &run));
        made = refblocks_ensure(q, run.cluster, run.count);
        TRY(made);
    } while (made);
    TRY(check_run(q, run));
    TRY(take_run(q, run));
    *host_off = run.cluster << q->header.cluster_bits;
    *count = run.count;
    return 0;
}

int clusters_alloc_at(struct qcow2 *q, uint64_t host_off)
{
    const uint64_t cluster = host_off >> q->header.cluster_bits;
    uint64_t now;

    TRY(meta_failed(q));
    if (alloc_check_end(q, cluster + 1) < 0)
        return 0;
    TRY(refcount_raw(q, cluster, &now));
    if (now != 0)
        return 0;
    const int made = refblocks_ensure(q, cluster, 1);
    TRY(made);
    if (made)
        TRY(refcount_raw(q, cluster, &now));
    if (now != 0)
        return 0;
    TRY(check_run(q, (struct found){ cluster, 1 }));
    TRY(take_run(q, (struct found){ cluster, 1 }));
    return 1;
}

/* Blocks that come with a run lie in front of it, so that the run is not cut by blocks that
 * describe its later parts. */
static int alloc_with_blocks(struct qcow2 *q, uint64_t count, struct found *out)
{
    const uint64_t per_block = UINT64_C(1) << q->meta->block_bits;
    const uint64_t most_blocks = count / (per_block - 1) + 2;
    struct found run;
    uint64_t blocks;
    int grown;

    do {
        TRY(find_run(q, count + most_blocks, count + most_blocks, &run));
        grown = reftable_reach(q, run.cluster + run.count);
        TRY(grown);
    } while (grown);
    TRY(check_run(q, run));
    TRY(refblocks_place(q, run.cluster, run.count, &blocks));
    assert(blocks <= most_blocks);
    *out = (struct found){ run.cluster + blocks, count };
    const int rc = take_run(q, (struct found){ run.cluster, blocks + count });
    if (rc < 0)
        refblocks_unplace(q, run.cluster, run.count, blocks);
    return rc;
}

int clusters_alloc(struct qcow2 *q, uint64_t count, uint64_t *host_off)
{
    struct found run;

    TRY(meta_failed(q));
    TRY(find_run(q, count, count, &run));
    if (!refblocks_exist(q, run.cluster, run.count)) {
        TRY(alloc_with_blocks(q, count, &run));
    } else {
        TRY(check_run(q, run));
        TRY(take_run(q, run));
    }
    *host_off = run.cluster << q->header.cluster_bits;
    return 0;
}

int clusters_alloc_loose(struct qcow2 *q, uint64_t count, uint64_t *host_off)
{
    const uint64_t covered = q->meta->taken_end;

    TRY(clusters_alloc(q, count, host_off));
    q->meta->taken_end = covered;
    return 0;
}

void clusters_cancel(struct qcow2 *q, struct qimg_range clusters)
{
    const unsigned bits = q->header.cluster_bits;
    uint64_t left;

    for (uint64_t c = clusters.off >> bits; c < range_end(clusters) >> bits; c++) {
        if (refcount_lower(q, c, &left) < 0)
            continue; /* a leak, no more */
        if (left == 0) {
            overlap_forget(q, (struct qimg_range){ c << bits, UINT64_C(1) << bits });
            alloc_freed(q, c, 1);
        }
    }
}

int clusters_ref(struct qcow2 *q, struct qimg_range clusters)
{
    const unsigned bits = q->header.cluster_bits;
    const uint64_t first = clusters.off >> bits, count = clusters.len >> bits;

    TRY(meta_failed(q));
    if (!refblocks_exist(q, first, count)) {
        const int made = refblocks_ensure(q, first, count);
        TRY(made);
    }
    return refcounts_raise(q, first, count);
}

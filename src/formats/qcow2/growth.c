/* SPDX-License-Identifier: Apache-2.0
 *
 * How large an image file can get by guest writes. A bound, not a prediction: each table that is
 * touched may have to be made or copied, every refcount block behind today's end is new, the
 * refcount table may have to move, more than once while it grows by halves, and persistent bitmaps
 * are stored anew, beside the old ones.
 */
#include "qcow2.h"

/* Between the clusters in use and a refcount table that moves: what one allocation asks for. */
#define GAP_CLUSTERS 64

static uint64_t bitmap_clusters(const struct qcow2 *q)
{
    const uint64_t cs = qcow2_cluster_size(q);
    uint64_t clusters = 0;

    for (size_t i = 0; i < q->bitmaps.count; i++) {
        const uint64_t table = q->bitmaps.items[i].table_count;
        clusters += table + div_up(table * sizeof(uint64_t), cs);
    }
    return clusters + 2 * div_up(q->extensions.bitmaps.directory_len, cs);
}

/* Blocks and tables for a file of @total clusters, @before of which have theirs. */
static uint64_t refcount_clusters(const struct qcow2 *q, uint64_t before, uint64_t total)
{
    const uint64_t cs = qcow2_cluster_size(q);
    const uint64_t in_block = cs * 8 >> q->header.refcount_order;
    const uint64_t in_table = cs / QCOW2_REFTABLE_ENTRY_BYTES;
    uint64_t extra = 0, last;

    do {
        last = extra;
        const uint64_t blocks = div_up(total + extra, in_block);
        const uint64_t table = div_up(blocks + blocks / 2, in_table);
        extra = blocks - min_u64(blocks, before / in_block);
        if (blocks > q->header.reftable_clusters * in_table)
            extra += 4 * table + GAP_CLUSTERS;
    } while (extra > last);
    return extra;
}

int qcow2_grown_size(struct image *image, uint64_t clusters, uint64_t tables, uint64_t *size)
{
    const struct qcow2 *q = qcow2_of(image);
    const uint64_t cs = qcow2_cluster_size(q);
    struct io_stat st;

    TRY(io_stat(image->file, &st));
    *size = st.size;
    if (clusters == 0 && tables == 0)
        return 0;
    const uint64_t now = div_up(st.size, cs);
    const uint64_t total = now + (q->geometry.data_file ? 0 : clusters) + tables +
                           div_up((uint64_t)q->header.l1_count * QCOW2_L1_ENTRY_BYTES, cs) +
                           bitmap_clusters(q);
    *size = (total + refcount_clusters(q, now, total)) << q->header.cluster_bits;
    return 0;
}

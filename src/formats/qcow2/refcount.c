/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading refcounts, as far as mapping needs them: QEMU's guess whether metadata was
 * preallocated. If clearly more clusters are counted than the file system has storage for, then
 * DATA may be holes that nobody wrote, and `map` asks the file.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cleanup.h"
#include "qcow2.h"

/* How many of the first @limit counts of the block at @off are not 0; stops at @enough. */
static int count_block(const struct qcow2 *q, uint64_t off, uint64_t limit, uint64_t enough,
                       uint8_t *block, uint64_t *count)
{
    TRY(io_read_exact(q->image.file, off, block, qcow2_cluster_size(q), NULL));
    for (uint64_t i = 0; i < limit && *count < enough; i++)
        *count += qcow2_refcount_get(block, q->header.refcount_order, i) != 0;
    return 0;
}

static uint64_t counts_in_block(const struct qcow2 *q)
{
    return qcow2_cluster_size(q) * 8 >> q->header.refcount_order;
}

/* Are at least @enough of the file's clusters counted? Negative: cannot tell. */
static int counted_at_least(const struct qcow2 *q, uint64_t enough)
{
    const uint64_t clusters = div_up(q->geometry.file_size, qcow2_cluster_size(q));
    const uint64_t per_block = counts_in_block(q);
    const uint64_t table_count =
        min_u64(div_up(clusters, per_block),
                (uint64_t)q->header.reftable_clusters << (q->header.cluster_bits - 3));
    AUTO_FREE uint8_t *table = malloc(table_count * QCOW2_REFTABLE_ENTRY_BYTES + 1);
    AUTO_FREE uint8_t *block = malloc(qcow2_cluster_size(q));
    uint64_t count = 0;

    if (!table || !block)
        return -ENOMEM;
    TRY(io_read_exact(q->image.file, q->header.reftable_off, table,
                      table_count * QCOW2_REFTABLE_ENTRY_BYTES, NULL));
    for (uint64_t i = 0; i < table_count && count < enough; i++) {
        const uint64_t off = load_be64(table + 8 * i) & QCOW2_REFTABLE_OFFSET_MASK;
        if (off == 0)
            continue;
        if (!is_aligned(off, qcow2_cluster_size(q)))
            return -EIO;
        if (off < q->geometry.file_size)
            TRY(count_block(q, off, min_u64(per_block, clusters - i * per_block), enough, block,
                            &count));
    }
    return count >= enough;
}

bool qcow2_data_may_be_holes(struct image *image)
{
    struct qcow2 *q = qcow2_of(image);
    struct io_stat st;

    if (q->may_be_holes < 0) {
        q->may_be_holes = 0;
        if (io_stat(image->file, &st) == 0) {
            const uint64_t stored = st.allocated >> q->header.cluster_bits;
            q->may_be_holes = counted_at_least(q, max_u64(stored * 10 / 9, stored + 2)) > 0;
        }
    }
    return q->may_be_holes;
}

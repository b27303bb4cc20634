/* SPDX-License-Identifier: Apache-2.0
 *
 * Which clusters hold metadata, so that no write ever lands on the wrong kind: a byte of
 * enum meta_kind bits for each cluster, in groups that exist where there is metadata, found by
 * binary search. Two kinds on one cluster mean that the image is inconsistent; both bits are
 * kept, so that any write there is refused.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "meta_internal.h"

#define GROUP_BITS 12
#define GROUP      (UINT64_C(1) << GROUP_BITS)

/* Position of the first leaf at or behind @index. */
static size_t leaf_position(const struct meta *m, uint64_t index)
{
    size_t low = 0, high = m->leaves.count;

    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (m->leaves.items[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The kinds of the group of @cluster, or NULL where it has none. */
static uint8_t *leaf_find(const struct meta *m, uint64_t cluster)
{
    const size_t at = leaf_position(m, cluster >> GROUP_BITS);

    if (at == m->leaves.count || m->leaves.items[at].index != cluster >> GROUP_BITS)
        return NULL;
    return m->leaves.items[at].kinds;
}

static uint8_t *leaf_make(struct meta *m, uint64_t cluster)
{
    const uint64_t index = cluster >> GROUP_BITS;
    const size_t at = leaf_position(m, index);
    struct overlap_leaf leaf = { .index = index };

    if (at < m->leaves.count && m->leaves.items[at].index == index)
        return m->leaves.items[at].kinds;
    if (overlap_leaf_vec_reserve(&m->leaves, 1) < 0)
        return NULL;
    leaf.kinds = calloc(1, GROUP);
    if (!leaf.kinds)
        return NULL;
    memmove(m->leaves.items + at + 1, m->leaves.items + at, (m->leaves.count - at) * sizeof(leaf));
    m->leaves.items[at] = leaf;
    m->leaves.count++;
    return leaf.kinds;
}

int overlap_note(struct qcow2 *q, struct qimg_range clusters, enum meta_kind kind)
{
    const unsigned bits = q->header.cluster_bits;
    const uint64_t end = range_end(clusters) >> bits;

    for (uint64_t c = clusters.off >> bits; c < end;) {
        uint8_t *kinds = leaf_make(q->meta, c);
        const uint64_t group_end = min_u64(end, (c | (GROUP - 1)) + 1);
        if (!kinds)
            return -ENOMEM;
        for (; c < group_end; c++)
            kinds[c & (GROUP - 1)] |= (uint8_t)kind;
    }
    return 0;
}

void overlap_forget(struct qcow2 *q, struct qimg_range clusters)
{
    const unsigned bits = q->header.cluster_bits;

    for (uint64_t c = clusters.off >> bits; c < range_end(clusters) >> bits; c++) {
        uint8_t *kinds = leaf_find(q->meta, c);
        if (kinds)
            kinds[c & (GROUP - 1)] = 0;
    }
}

/* QEMU's words for them. */
static const char *kind_name(unsigned kinds)
{
    static const char *const names[] = { "qcow2_header",      "active L1 table", "active L2 table",
                                         "refcount block",    "refcount table",  "snapshot table",
                                         "inactive L1 table", "bitmap directory" };

    return names[__builtin_ctz(kinds)];
}

int overlap_check(struct qcow2 *q, struct qimg_range bytes, unsigned kind)
{
    const unsigned bits = q->header.cluster_bits;

    assert(bytes.len > 0);
    for (uint64_t c = bytes.off >> bits; c <= (range_end(bytes) - 1) >> bits;) {
        const uint8_t *kinds = leaf_find(q->meta, c);
        const uint64_t group_end = (c | (GROUP - 1)) + 1;
        for (; kinds && c < group_end && c <= (range_end(bytes) - 1) >> bits; c++) {
            const unsigned others = kinds[c & (GROUP - 1)] & ~kind;
            char why[120];
            if (!others)
                continue;
            snprintf(why, sizeof(why), "Preventing invalid write on metadata (overlaps with %s)",
                     kind_name(others));
            return meta_mark_corrupt(q, why);
        }
        c = group_end;
    }
    return 0;
}

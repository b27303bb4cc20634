/* SPDX-License-Identifier: Apache-2.0
 *
 * Of what a slot has read: which units differ, and so are to be written into the overlay with the
 * old chain's bytes; which of these are zeros; and packing.
 */
#include <string.h>

#include "bits.h"
#include "codec.h"
#include "pull_job.h"
#include "sparse.h"

/* Where in a slot's pairs. */
struct place {
    size_t pair;
    uint64_t skip; /* bytes of it */
};

/* Bytes that are copied together, or not at all. */
struct unit {
    uint64_t off, len;
    uint8_t *bytes; /* of the old chain */
    bool differs;
    bool zero;  /* known by the map */
    bool whole; /* the overlay has nothing of it, nor a place for it */
};

static bool part_differs(const struct pull_job *j, const struct pair *pair, uint64_t at,
                         uint64_t len)
{
    if (pair->tag == SPAN_OWN || pair->tag == SPAN_EQUAL)
        return false;
    return !j->pull->compare || !pair_equal(pair, at, len);
}

/* The next at most @size bytes, aligned to that; zeros that were not fetched are filled in where
 * they may have to be written. */
static struct unit next_unit(const struct pull_job *j, const struct copy_slot *slot,
                             struct place *at, uint64_t size)
{
    const struct pair_vec *pairs = &j->batches[slot->index].pairs;
    const struct pair *pair = &pairs->items[at->pair];
    struct unit u = { .off = pair->off + at->skip,
                      .bytes = slot->buf + pair->at + at->skip,
                      .zero = true,
                      .whole = true };
    const uint64_t end = min_u64(align_down(u.off, size) + size, j->pull->overlay->size);

    while (u.off + u.len < end) {
        pair = &pairs->items[at->pair];
        const uint64_t len = min_u64(pair->len - at->skip, end - u.off - u.len);
        u.differs = u.differs || part_differs(j, pair, at->skip, len);
        u.whole &= pair->tag == SPAN_OPEN || pair->tag == SPAN_EQUAL;
        u.zero &= !pair->bytes[0];
        if (!pair->bytes[0] && (len < end - u.off || !pull_marks_zeros(j->pull, u.off)))
            memset(slot->buf + pair->at + at->skip, 0, len);
        u.len += len;
        at->skip += len;
        if (at->skip == pair->len)
            *at = (struct place){ .pair = at->pair + 1 };
    }
    return u;
}

/* Does not fail where the cluster gets no smaller: it is written plainly then. */
static int pack(const struct pull_job *j, struct copy_slot *slot, struct copy_write *w)
{
    const struct image *top = j->pull->overlay->layers[0].image;
    const size_t cluster = top->cluster_size;
    const size_t used = (size_t)(w->data - slot->buf); /* its packed bytes' place is the same */

    if (w->range.len < cluster)
        memset(slot->buf + used + w->range.len, 0, cluster - w->range.len);
    const ssize_t len = codec_pack(top->codec, w->data, cluster, slot->scratch + used, cluster - 1);
    if (len == -ENOSPC)
        return 0;
    if (len < 0)
        return (int)len;
    w->data = slot->scratch + used;
    w->packed_len = (uint32_t)len;
    return 0;
}

/* Together with its neighbour, unless one of them is packed. */
static int add_write(struct copy_slot *slot, struct copy_write w)
{
    struct copy_write *last =
        slot->writes.count > 0 ? &slot->writes.items[slot->writes.count - 1] : NULL;

    if (!last || last->range.off + last->range.len != w.range.off || !last->data != !w.data ||
        last->packed_len || w.packed_len)
        return copy_write_vec_push(&slot->writes, w);
    last->range.len += w.range.len;
    return 0;
}

static int add_unit(const struct pull_job *j, struct copy_slot *slot, const struct unit *u,
                    bool packing)
{
    const bool zero =
        pull_marks_zeros(j->pull, u->off) && (u->zero || sparse_is_zero(u->bytes, u->len));
    struct copy_write w = { .range = { u->off, u->len }, .data = zero ? NULL : u->bytes };

    if (packing && !zero)
        TRY(pack(j, slot, &w));
    return add_write(slot, w);
}

/* A cluster that cannot be packed, because the overlay has a part of it, or a place for it. */
static int find_in_cluster(const struct pull_job *j, struct copy_slot *slot, struct place from,
                           struct place to)
{
    while (from.pair < to.pair || from.skip < to.skip) {
        const struct unit u = next_unit(j, slot, &from, j->unit);
        if (u.differs)
            TRY(add_unit(j, slot, &u, false));
    }
    return 0;
}

int pull_find_differences(const struct copy_job *job, struct copy_slot *slot)
{
    const struct pull_job *j = (const struct pull_job *)job;
    const bool packing = j->pull->options->compress;
    const size_t count = j->batches[slot->index].pairs.count;

    for (struct place at = { 0 }; at.pair < count;) {
        const struct place from = at;
        const struct unit u = next_unit(j, slot, &at, j->walk.unit);
        if (!u.differs)
            continue;
        if (packing && !u.whole)
            TRY(find_in_cluster(j, slot, from, at));
        else
            TRY(add_unit(j, slot, &u, packing));
    }
    return 0;
}

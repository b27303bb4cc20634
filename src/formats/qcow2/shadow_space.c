/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a shadow is built: see invariants (1) and (3) of shadow.h.
 */
#include "checked.h"
#include "shadow.h"

/* The old state's counts, to look for free clusters in. */
static int load_old(struct shadow *s)
{
    if (s->old.file)
        return 0;
    TRY(shadow_counts_load(&s->old, s->q));
    s->old.budget = SIZE_MAX; /* what is taken is noted there, and must not be written */
    s->inside = 1;
    return 0;
}

/* The first run of @count clusters from s->inside on that is free: in the old state, which also
 * keeps (3), and of what was taken so far. -ENOSPC: no such run before the end of what is counted;
 * behind it nothing would be gained, and a structure that lies there may reach any offset. */
static int find_inside(struct shadow *s, uint64_t count, uint64_t *first)
{
    const uint64_t cluster = qcow2_cluster_size(s->q);
    uint64_t run = 0, n = s->inside;

    for (; run < count; n++) {
        uint64_t before;
        if (n >= s->counted_end)
            return -ENOSPC;
        TRY(shadow_counts_get(&s->old, n, &before));
        const bool free =
            before == 0 && !pieces_meet(&s->kept, (struct qimg_range){ n * cluster, cluster });
        run = free ? run + 1 : 0;
    }
    *first = n - count;
    return 0;
}

static int take_inside(struct shadow *s, uint64_t count, uint64_t *first)
{
    TRY(load_old(s));
    TRY(find_inside(s, count, first));
    for (uint64_t n = *first; n < *first + count; n++)
        TRY(shadow_counts_set(&s->old, n, 1));
    if (count == 1) /* no smaller hole was passed */
        s->inside = *first + 1;
    return 0;
}

uint64_t shadow_find_behind(const struct shadow *s, uint64_t count, size_t *passed)
{
    const uint64_t cluster = qcow2_cluster_size(s->q);
    uint64_t first = s->next;

    for (*passed = s->passed; *passed < s->kept.count; ++*passed) {
        const struct qimg_range kept = s->kept.items[*passed].bytes;
        if (first + count <= kept.off / cluster)
            break;
        first = max_u64(first, div_up(range_end(kept), cluster));
    }
    return first;
}

/* Behind everything; where a device ends there, in what is free before. */
static int take(struct shadow *s, uint64_t count, uint64_t *first)
{
    if (s->where == SHADOW_INSIDE)
        return take_inside(s, count, first);
    size_t passed;
    *first = shadow_find_behind(s, count, &passed);
    if (count > s->host_end || *first > s->host_end - count)
        return s->q->image.file->is_device ? take_inside(s, count, first) : -EFBIG;
    s->passed = passed;
    return 0;
}

int shadow_alloc(struct shadow *s, uint64_t count, uint64_t *host_off)
{
    const unsigned bits = s->q->header.cluster_bits;
    uint64_t first;

    TRY(take(s, count, &first));
    const struct qimg_range run = { first << bits, count << bits };
    TRY(s->counted < s->taken.count ? range_vec_join(&s->taken, run)
                                    : range_vec_push(&s->taken, run));
    s->next = max_u64(s->next, first + count);
    *host_off = first << bits;
    return 0;
}

int shadow_alloc_zeros(struct shadow *s, uint64_t count, uint64_t *host_off)
{
    TRY(shadow_alloc(s, count, host_off));
    return range_vec_join(&s->unwritten,
                          (struct qimg_range){ *host_off, count << s->q->header.cluster_bits });
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens to clusters that lost a reference. They wait, still counted, until the removal of
 * the link is durable (a flush) and no older read is under way; then the count is lowered in
 * memory, and what reaches 0 may be punched and used again at once: nothing on disk points there
 * any more, and a count that is too high there is a leak at most.
 */
#include <assert.h>
#include <stdlib.h>

#include "meta_internal.h"

int clusters_unref(struct qcow2 *q, struct qimg_range clusters, unsigned kinds, enum release how)
{
    struct meta *m = q->meta;
    const unsigned bits = q->header.cluster_bits;
    const struct released new = { .cluster = clusters.off >> bits,
                                  .count = clusters.len >> bits,
                                  .punch = how == RELEASE_PUNCH };
    struct released *last = m->released.count ? &m->released.items[m->released.count - 1] : NULL;

    assert(is_aligned(clusters.off | clusters.len, qcow2_cluster_size(q)));
    if (new.count == 0)
        return 0;
    TRY(overlap_check(q, clusters, kinds));
    if (last && !last->durable && last->punch == new.punch &&
        last->cluster + last->count == new.cluster) {
        last->count += new.count;
        return 0;
    }
    return released_vec_push(&m->released, new);
}

/* Clusters [from, to) are free now. */
static void free_run(struct qcow2 *q, uint64_t from, uint64_t to, bool punch)
{
    const unsigned bits = q->header.cluster_bits;
    const struct qimg_range bytes = { from << bits, (to - from) << bits };

    if (from == to)
        return;
    pages_forget(q, bytes);
    overlap_forget(q, bytes);
    alloc_freed(q, from, to - from);
    if (punch)
        (void)!io_punch(q->image.file, bytes); /* a courtesy to the file system */
}

static int lower(struct qcow2 *q, const struct released *r)
{
    uint64_t run = r->cluster;

    for (uint64_t c = r->cluster; c < r->cluster + r->count; c++) {
        uint64_t left;
        TRY(refcount_lower(q, c, &left));
        if (left != 0) {
            free_run(q, run, c, r->punch);
            run = c + 1;
        }
    }
    free_run(q, run, r->cluster + r->count, r->punch);
    return 0;
}

static bool is_due(const struct qcow2 *q, const struct released *r)
{
    const struct read_pins *pins = q->image.pins;

    return r->durable && (!pins || pins->passed(pins->user, r->stamp));
}

/* Moves what is due to the end of the list; returns how many those are. */
static size_t gather_due(const struct qcow2 *q, struct released_vec *waiting)
{
    size_t kept = 0;

    for (size_t i = 0; i < waiting->count; i++) {
        const struct released r = waiting->items[i];
        if (is_due(q, &r))
            continue;
        waiting->items[i] = waiting->items[kept];
        waiting->items[kept++] = r;
    }
    return waiting->count - kept;
}

static int by_cluster(const void *a, const void *b)
{
    const struct released *x = a, *y = b;

    return compare_u64(x->cluster, y->cluster);
}

/* Neighbours become one, so that they are punched at once. */
static size_t merge(struct released *list, size_t count)
{
    size_t last = 0;

    qsort(list, count, sizeof(*list), by_cluster);
    for (size_t i = 1; i < count; i++) {
        if (list[i].punch == list[last].punch &&
            list[i].cluster == list[last].cluster + list[last].count)
            list[last].count += list[i].count;
        else
            list[++last] = list[i];
    }
    return last + 1;
}

int release_due(struct qcow2 *q)
{
    struct released_vec *waiting = &q->meta->released;
    const size_t due = gather_due(q, waiting);
    int rc = 0;

    waiting->count -= due;
    if (due == 0)
        return 0;
    struct released *list = waiting->items + waiting->count;
    const size_t merged = merge(list, due);
    for (size_t i = 0; i < merged && rc == 0; i++)
        rc = lower(q, &list[i]); /* where one fails, the others stay counted: leaks */
    return rc;
}

void release_flushed(struct qcow2 *q, uint64_t stamp)
{
    struct meta *m = q->meta;

    for (size_t i = 0; i < m->released.count; i++) {
        if (m->released.items[i].durable)
            continue;
        m->released.items[i].durable = true;
        m->released.items[i].stamp = stamp;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pieces.h"

#include "bits.h"
#include "cleanup.h"

int range_vec_join(struct range_vec *v, struct qimg_range run)
{
    struct qimg_range *last = v->count ? &v->items[v->count - 1] : NULL;

    if (last && last->off + last->len == run.off) {
        last->len += run.len;
        return 0;
    }
    return range_vec_push(v, run);
}

struct edge {
    uint64_t off;
    int step; /* 1: a range begins, -1: one ends */
};

static int by_off(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;

    return compare_u64(x->off, y->off);
}

static size_t put_edges(const struct range_vec *ranges, struct edge *edges)
{
    size_t n = 0;

    for (size_t i = 0; i < ranges->count; i++) {
        const struct qimg_range r = ranges->items[i];
        if (r.len == 0)
            continue;
        edges[n++] = (struct edge){ r.off, 1 };
        edges[n++] = (struct edge){ r.off + r.len, -1 };
    }
    return n;
}

int pieces_cut(const struct range_vec *ranges, struct piece_vec *out)
{
    AUTO_FREE struct edge *edges = calloc(2 * ranges->count + 1, sizeof(*edges));
    uint64_t covers = 0;

    if (!edges)
        return -ENOMEM;
    const size_t n = put_edges(ranges, edges);
    qsort(edges, n, sizeof(*edges), by_off);
    for (size_t i = 0; i + 1 < n; i++) {
        const struct qimg_range bytes = { edges[i].off, edges[i + 1].off - edges[i].off };
        covers += (uint64_t)(int64_t)edges[i].step;
        if (covers > 0 && bytes.len > 0)
            TRY(piece_vec_push(out, (struct piece){ bytes, covers }));
    }
    return 0;
}

bool pieces_meet(const struct piece_vec *pieces, struct qimg_range range)
{
    size_t low = 0, high = pieces->count; /* the first that ends behind the beginning of @range */

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const struct qimg_range bytes = pieces->items[mid].bytes;
        if (bytes.off + bytes.len <= range.off)
            low = mid + 1;
        else
            high = mid;
    }
    return range.len > 0 && low < pieces->count &&
           pieces->items[low].bytes.off < range.off + range.len;
}

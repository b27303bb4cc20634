/* SPDX-License-Identifier: Apache-2.0
 *
 * The merged map's memory: runs as they are kept, and the loader that makes them.
 */
#ifndef CHAIN_MAP_RUN_H
#define CHAIN_MAP_RUN_H

#include <assert.h>

#include "blanks.h"
#include "chain.h"
#include "map.h"
#include "vec.h"

/* One run of a window. Its length is the distance to the next run's guest_off, so that a window
 * has no gaps by construction. */
struct packed_run {
    uint64_t guest_off;
    uint64_t host_off;
    uint32_t packed_len;
    uint16_t layer; /* no chain is longer: see copy_gate() */
    uint8_t kind;   /* enum run_kind */
    uint8_t codec;  /* enum codec */
};

static_assert(sizeof(struct packed_run) == 24, "the budget is counted in these");

DEFINE_VEC(packed_run_vec, struct packed_run)

/* Index of the run that holds @off, which is not before the first one. */
static inline size_t packed_run_at(const struct packed_run_vec *runs, uint64_t off)
{
    size_t low = 0, high = runs->count; /* items[low] begins at or before @off */
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (runs->items[middle].guest_off <= off)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Does @b, which begins where @a ends, go on where @a stops? */
static inline bool packed_run_continues(const struct packed_run *a, const struct packed_run *b)
{
    if (a->kind != b->kind || a->layer != b->layer || a->kind == RUN_COMPRESSED)
        return false;
    if (a->host_off == QIMG_NO_OFFSET || b->host_off == QIMG_NO_OFFSET)
        return a->host_off == b->host_off;
    return b->host_off - a->host_off == b->guest_off - a->guest_off;
}

/* Replaces what @runs, which end at @end, say about [first of @with, @with_end) by the runs in
 * @with; neighbours that continue each other become one. -ENOMEM: @runs are as they were. */
MUST_CHECK int packed_runs_splice(struct packed_run_vec *runs, uint64_t end,
                                  const struct packed_run_vec *with, uint64_t with_end);

/* Resolves @window through the whole chain: runs in guest order, the first at window.off, each
 * reaching to the next, the last to the window's end; neighbours that continue each other are
 * one. @table_cap bounds the tables that are in memory at once. @blanks: one a layer, of its
 * tables. Tables that cannot be read become RUN_BAD where they are needed: only who reads there
 * fails. Returns 0, -ENOMEM, or what starting I/O failed with. */
MUST_CHECK int map_load(struct qimg_image *image, struct qimg_range window, size_t table_cap,
                        struct blanks *blanks, struct packed_run_vec *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Replacing a part of a window's runs in place.
 */
#include <string.h>

#include "map_run.h"

/* @run from @off on. A packed cluster's place is the same for each of its bytes. */
static struct packed_run run_from(struct packed_run run, uint64_t off)
{
    if (run.kind != RUN_COMPRESSED && run.host_off != QIMG_NO_OFFSET)
        run.host_off += off - run.guest_off;
    run.guest_off = off;
    return run;
}

int packed_runs_splice(struct packed_run_vec *runs, uint64_t end, const struct packed_run_vec *with,
                       uint64_t with_end)
{
    const uint64_t begin = with->items[0].guest_off;
    const bool has_tail = with_end < end;
    size_t low = packed_run_at(runs, begin); /* [low, high) goes */
    size_t high = runs->count;
    struct packed_run tail = { 0 };

    assert(begin < with_end && with_end <= end);
    if (has_tail) {
        high = packed_run_at(runs, with_end);
        tail = run_from(runs->items[high], with_end);
        high++;
    }
    TRY(packed_run_vec_reserve(runs, with->count + 1));
    if (runs->items[low].guest_off < begin)
        low++;
    const bool joins_head = low > 0 && packed_run_continues(&runs->items[low - 1], with->items);
    const struct packed_run *last =
        with->count == 1 && joins_head ? &runs->items[low - 1] : &with->items[with->count - 1];
    const bool keeps_tail = has_tail && !packed_run_continues(last, &tail);
    const size_t fresh = with->count - joins_head;

    memmove(runs->items + low + fresh + keeps_tail, runs->items + high,
            (runs->count - high) * sizeof(runs->items[0]));
    memcpy(runs->items + low, with->items + joins_head, fresh * sizeof(runs->items[0]));
    if (keeps_tail)
        runs->items[low + fresh] = tail;
    runs->count = runs->count - (high - low) + fresh + keeps_tail;
    return 0;
}

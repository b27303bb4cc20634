/* SPDX-License-Identifier: Apache-2.0
 *
 * See map_windows.h. There may be hundreds of thousands of windows, and a disk that is read in
 * order has one go for each that comes: so some more than needed go at once.
 */
#include "map_windows.h"

#include <stdlib.h>
#include <string.h>

#include "checked.h"

uint64_t window_bytes(const struct window *w)
{
    return sizeof(*w) + sizeof(w) + w->runs.count * sizeof(struct packed_run);
}

void window_free(struct window *w)
{
    packed_run_vec_release(&w->runs);
    free(w);
}

size_t window_after(const struct windows *set, uint64_t off)
{
    size_t low = 0, high = set->all.count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (range_end(set->all.items[middle]->guest) > off)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct window *window_at(const struct windows *set, uint64_t off)
{
    const size_t i = window_after(set, off);
    if (i == set->all.count || set->all.items[i]->guest.off > off)
        return NULL;
    return set->all.items[i];
}

/* --- memory --------------------------------------------------------------------------------- */

static void count_bytes(struct windows *set, uint64_t more)
{
    set->bytes += more;
    atomic_fetch_add(set->in_total, more);
}

/* Frees @w, which is not in the list any more. */
static void let_go(struct windows *set, struct window *w)
{
    count_bytes(set, -window_bytes(w));
    window_free(w);
}

void windows_drop(struct windows *set, size_t i)
{
    struct window *w = set->all.items[i];
    set->all.count--;
    memmove(&set->all.items[i], &set->all.items[i + 1],
            (set->all.count - i) * sizeof(set->all.items[0]));
    let_go(set, w);
}

void windows_drop_all(struct windows *set)
{
    for (size_t i = 0; i < set->all.count; i++)
        let_go(set, set->all.items[i]);
    set->all.count = 0;
}

void windows_release(struct windows *set)
{
    windows_drop_all(set);
    window_vec_release(&set->all);
}

void windows_changed(struct windows *set, size_t i, uint64_t before)
{
    count_bytes(set, window_bytes(set->all.items[i]) - before);
    if (set->all.items[i]->runs.count > set->most_runs)
        windows_drop(set, i);
}

/* Bytes of windows that were last looked at up to @tick. */
static uint64_t bytes_until(const struct windows *set, uint64_t tick)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < set->all.count; i++)
        if (set->all.items[i]->used <= tick)
            bytes += window_bytes(set->all.items[i]);
    return bytes;
}

/* The first tick up to which windows have @bytes or more; they do up to the last one. */
static uint64_t tick_of_bytes(const struct windows *set, uint64_t bytes)
{
    uint64_t low = 0, high = set->ticks;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (bytes_until(set, middle) >= bytes)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Drops windows up to @tick, as long as there are more than @left bytes of all. */
static void drop_until(struct windows *set, uint64_t tick, uint64_t left)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->all.count; i++) {
        struct window *w = set->all.items[i];
        if (w->used <= tick && set->bytes > left)
            let_go(set, w);
        else
            set->all.items[kept++] = w;
    }
    set->all.count = kept;
}

bool windows_make_room(struct windows *set, uint64_t more)
{
    if (set->all.count == 0 || set->bytes + more <= set->budget)
        return false;
    const uint64_t room = more + set->budget / 8;
    const uint64_t left = room < set->budget ? set->budget - room : 0;
    const uint64_t tick = set->bytes > left ? tick_of_bytes(set, set->bytes - left) : 0;
    if (tick > 0)
        drop_until(set, tick - 1, left);
    drop_until(set, tick, left);
    return true;
}

int windows_insert(struct windows *set, struct window *w, bool *evicted)
{
    *evicted = windows_make_room(set, window_bytes(w));
    const size_t i = window_after(set, w->guest.off);
    TRY(window_vec_push(&set->all, w));
    memmove(&set->all.items[i + 1], &set->all.items[i],
            (set->all.count - 1 - i) * sizeof(set->all.items[0]));
    set->all.items[i] = w;
    w->used = ++set->ticks;
    count_bytes(set, window_bytes(w));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The windows of a merged map: which there are, what memory they take, and which of them go where
 * there is none left. They do not overlap and are sorted. The owner's lock guards all of it; `used`
 * alone is set by readers.
 */
#ifndef CHAIN_MAP_WINDOWS_H
#define CHAIN_MAP_WINDOWS_H

#include <stdatomic.h>

#include "map_run.h"

struct window {
    struct qimg_range guest;
    struct packed_run_vec runs;
    atomic_uint_least64_t used; /* when last looked at, in ticks */
};

DEFINE_VEC(window_vec, struct window *)

struct windows {
    struct window_vec all;
    uint64_t bytes, budget;
    uint64_t most_runs;              /* of a window, after changes */
    atomic_uint_least64_t ticks;     /* one a window that came */
    atomic_uint_least64_t *in_total; /* bytes, of all maps of the context */
};

void window_free(struct window *w);
uint64_t window_bytes(const struct window *w);

/* Index of the first window that ends after @off. */
size_t window_after(const struct windows *set, uint64_t off);

/* The window that holds @off, or NULL. */
struct window *window_at(const struct windows *set, uint64_t off);

void windows_drop(struct windows *set, size_t i);
void windows_drop_all(struct windows *set);
void windows_release(struct windows *set);

/* Takes over @w on success, after making room for it. *evicted: others had to go. */
MUST_CHECK int windows_insert(struct windows *set, struct window *w, bool *evicted);

/* Window @i took @before bytes until now; it goes where it has too many runs. */
void windows_changed(struct windows *set, size_t i, uint64_t before);

/* Keeps to the budget, with @more bytes: what was not looked at for longest goes. Returns whether
 * anything had to. */
bool windows_make_room(struct windows *set, uint64_t more);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "map_windows.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "bits.h"

#define GUEST (1 * MiB)

static atomic_uint_least64_t total;

static bool add(struct windows *set, uint64_t n)
{
    struct window *w = calloc(1, sizeof(*w));
    bool evicted;

    cr_assert(w);
    w->guest = (struct qimg_range){ n * GUEST, GUEST };
    cr_assert_eq(packed_run_vec_push(&w->runs, (struct packed_run){ .guest_off = n * GUEST }), 0);
    cr_assert_eq(windows_insert(set, w, &evicted), 0);
    cr_expect_leq(set->bytes, set->budget);
    return evicted;
}

static uint64_t bytes_of_one(void)
{
    struct windows set = { .budget = UINT64_MAX, .in_total = &total };
    (void)add(&set, 0);
    const uint64_t bytes = set.bytes;
    windows_release(&set);
    return bytes;
}

Test(map_windows, what_was_not_looked_at_for_longest_goes_first)
{
    struct windows set = { .budget = 16 * bytes_of_one(), .in_total = &total };

    for (uint64_t n = 0; n < 16; n++)
        cr_expect_not(add(&set, n), "there is room");
    window_at(&set, 0)->used = set.ticks;
    cr_expect(add(&set, 16));
    cr_expect(window_at(&set, 0), "it was looked at just now");
    cr_expect_null(window_at(&set, GUEST));
    cr_expect(window_at(&set, 4 * GUEST), "there is no need");
    cr_expect(window_at(&set, 16 * GUEST));
    windows_release(&set);
    cr_expect_eq(total, 0);
}

Test(map_windows, of_many_that_were_looked_at_together_only_some_go)
{
    struct windows set = { .budget = 16 * bytes_of_one(), .in_total = &total };

    for (uint64_t n = 0; n < 16; n++)
        (void)add(&set, n);
    for (size_t i = 0; i < set.all.count; i++)
        set.all.items[i]->used = set.ticks;
    (void)add(&set, 16);
    cr_expect_geq(set.all.count, 14);
    windows_release(&set);
}

/* Each time that something has to go, all windows are gone through. */
Test(map_windows, a_disk_read_in_order_has_windows_go_many_at_once)
{
    struct windows set = { .budget = 1000 * bytes_of_one(), .in_total = &total };
    unsigned times = 0;

    for (uint64_t n = 0; n < 10000; n++)
        times += add(&set, n);
    cr_expect_lt(times, 9000 / 100, "%u times", times);
    windows_release(&set);
}

Test(map_windows, a_window_that_changes_break_into_too_many_runs_goes)
{
    struct windows set = { .budget = UINT64_MAX, .most_runs = 2, .in_total = &total };

    (void)add(&set, 0);
    for (uint64_t n = 2; n <= 3; n++) {
        struct window *w = window_at(&set, 0);
        const uint64_t before = window_bytes(w);
        cr_assert_eq(packed_run_vec_push(&w->runs, (struct packed_run){ .guest_off = n }), 0);
        windows_changed(&set, 0, before);
        cr_expect_eq(window_at(&set, 0) != NULL, n == 2);
    }
    cr_expect_eq(set.bytes, 0);
    cr_expect_eq(total, 0);
    windows_release(&set);
}

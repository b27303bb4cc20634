/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "map_run.h"

#define LEN 64u

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* What a byte of the window says: kind, and where it lies. */
struct said {
    uint8_t kind;
    uint64_t host_off;
};

static struct said say(const struct packed_run_vec *runs, uint64_t off)
{
    const struct packed_run *run = &runs->items[packed_run_at(runs, off)];
    const bool moves = run->kind != RUN_COMPRESSED && run->host_off != QIMG_NO_OFFSET;
    return (struct said){ run->kind,
                          moves ? run->host_off + (off - run->guest_off) : run->host_off };
}

/* Runs of random kinds that cover [begin, end), neighbours that continue each other being one. */
static struct packed_run_vec random_runs(uint64_t begin, uint64_t end, uint32_t *seed)
{
    static const uint8_t kinds[] = { RUN_DATA, RUN_ZERO, RUN_UNALLOCATED, RUN_COMPRESSED };
    struct packed_run_vec runs = { 0 };
    for (uint64_t off = begin; off < end; off += 1 + next_random(seed) % 9) {
        struct packed_run run = { .guest_off = off, .kind = kinds[next_random(seed) % 4] };
        const uint64_t base = next_random(seed) % 2 ? 1000 : 5000;
        run.host_off = run.kind == RUN_DATA         ? base + off
                       : run.kind == RUN_COMPRESSED ? 9000 + off
                                                    : QIMG_NO_OFFSET;
        if (runs.count > 0 && packed_run_continues(&runs.items[runs.count - 1], &run))
            continue;
        cr_assert_eq(packed_run_vec_push(&runs, run), 0);
    }
    return runs;
}

static void expect_tidy(const struct packed_run_vec *runs, uint64_t begin, uint32_t seed)
{
    cr_assert_eq(runs->items[0].guest_off, begin, "seed %u", seed);
    for (size_t i = 1; i < runs->count; i++) {
        cr_assert_lt(runs->items[i - 1].guest_off, runs->items[i].guest_off, "seed %u", seed);
        cr_assert_not(packed_run_continues(&runs->items[i - 1], &runs->items[i]),
                      "seed %u: runs %zu and %zu are one", seed, i - 1, i);
    }
}

Test(map_splice, each_byte_says_what_it_said_before_or_what_was_spliced_in)
{
    for (uint32_t seed = 1; seed <= 3000; seed++) {
        uint32_t state = seed;
        const uint64_t base = 100;
        struct packed_run_vec runs = random_runs(base, base + LEN, &state);
        struct said before[LEN];
        for (unsigned i = 0; i < LEN; i++)
            before[i] = say(&runs, base + i);
        const uint64_t begin = base + next_random(&state) % LEN;
        const uint64_t end = begin + 1 + next_random(&state) % (base + LEN - begin);
        struct packed_run_vec with = random_runs(begin, end, &state);
        cr_assert_eq(packed_runs_splice(&runs, base + LEN, &with, end), 0);
        expect_tidy(&runs, base, seed);
        for (unsigned i = 0; i < LEN; i++) {
            const uint64_t off = base + i;
            const struct said want = off >= begin && off < end ? say(&with, off) : before[i];
            const struct said got = say(&runs, off);
            cr_assert(got.kind == want.kind && got.host_off == want.host_off, "seed %u byte %u",
                      seed, i);
        }
        packed_run_vec_release(&runs);
        packed_run_vec_release(&with);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest writes, zeros, discards and packed clusters on every layout: the guest reads what it wrote,
 * the image is consistent and without leaks when it is closed, and whatever a power cut leaves is
 * consistent too and has old or new sectors.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meta.h"
#include "qcow2.h"
#include "qcow2_guest.h"
#include "qcow2_verify.h"
#include "qcow2_walk.h"
#include "tier.h"

static void expect_sound(struct io_engine *engine, const char *title, bool leaks_allowed)
{
    const struct verdict v = qcow2_verify_file(engine, "disk");

    cr_expect_eq(v.corruptions, 0, "%s: %u corruptions: %s", title, v.corruptions, v.first);
    if (!leaks_allowed)
        cr_expect_eq(v.leaks, 0, "%s: %u leaks: %s", title, v.leaks, v.first);
}

Test(qcow2_write, a_random_walk_reads_back_and_leaves_no_leak)
{
    for (size_t i = 0; i < WALK_LAYOUTS; i++) {
        const struct walk_layout *l = &walk_layouts[i];
        struct io_engine *engine = walk_fresh(l, i);
        uint64_t state = i * 977 + walk_seed();
        for (unsigned round = 0; round < 2; round++) {
            struct guest g;
            bool flushed;
            cr_assert_eq(walk_open(&g, l, engine), 0, "%s: %s", l->title, g.err.text);
            for (unsigned n = 0; n < (l->steps ? l->steps : 60); n++) {
                const int rc = walk_step(&g, &state, &flushed);
                cr_assert_eq(rc, 0, "%s: round %u step %u: %s", l->title, round, n, strerror(-rc));
                const int64_t at = n % 8 == 0 ? guest_differs(&g) : -1;
                cr_assert_eq(at, -1, "%s: round %u step %u: byte %lld", l->title, round, n,
                             (long long)at);
            }
            cr_assert_eq(guest_differs(&g), -1, "%s: round %u", l->title, round);
            cr_assert_eq(guest_close(&g), 0, "%s: %s", l->title, g.err.text);
            expect_sound(engine, l->title, false);
        }
        io_engine_free(engine);
    }
}

/* --- power cuts ------------------------------------------------------------------------------ */

/* What each sector may hold after a cut: what it held at the last flush, or at any time since. */
struct memory {
    uint8_t **states;
    size_t count;
};

static void remember(struct memory *m, const uint8_t *model, uint64_t size, bool flushed)
{
    for (; flushed && m->count > 0; m->count--)
        free(m->states[m->count - 1]);
    m->states = reallocarray(m->states, m->count + 1, sizeof(uint8_t *));
    cr_assert_not_null(m->states);
    m->states[m->count] = malloc(size);
    cr_assert_not_null(m->states[m->count]);
    memcpy(m->states[m->count++], model, size);
}

static bool known_sector(const struct memory *m, const uint8_t *sector, uint64_t off)
{
    static const uint8_t zeros[512];

    for (size_t i = 0; i < m->count; i++) {
        if (memcmp(m->states[i] + off, sector, 512) == 0)
            return true;
    }
    return memcmp(zeros, sector, 512) == 0; /* discarded, or zeroed by punching */
}

static void expect_old_or_new(struct io_engine *after, const struct walk_layout *l,
                              const struct memory *m, uint64_t point)
{
    struct guest g;

    expect_sound(after, l->title, true);
    cr_assert_eq(walk_open(&g, l, after), 0, "%s: cut at %llu: %s", l->title,
                 (unsigned long long)point, g.err.text);
    for (uint64_t off = 0; off < g.image->size; off += 512)
        cr_assert(known_sector(m, g.model + off, off), "%s: cut at %llu: sector at %llu is %#x",
                  l->title, (unsigned long long)point, (unsigned long long)off, g.model[off]);
    guest_drop(&g);
}

/* Runs until the machine stops after @point operations. Returns whether it came to its end. */
static bool run_until(const struct walk_layout *l, struct io_engine *engine, uint64_t point,
                      uint64_t seed, struct memory *m)
{
    struct guest g;
    uint64_t state = seed;
    bool flushed = true;

    cr_assert_eq(walk_open(&g, l, engine), 0, "%s: %s", l->title, g.err.text);
    remember(m, g.model, g.image->size, true);
    io_sim_stop_after(engine, io_sim_operations(engine) + point);
    for (unsigned n = 0; n < 14; n++) {
        if (walk_step(&g, &state, &flushed) < 0) {
            io_sim_stop_after(engine, UINT64_MAX);
            remember(m, g.attempt, g.image->size, false);
            guest_drop(&g);
            return false;
        }
        remember(m, g.model, g.image->size, flushed);
    }
    const int rc = guest_close(&g);
    io_sim_stop_after(engine, UINT64_MAX);
    return rc == 0;
}

static void forget(struct memory *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->states[i]);
    free(m->states);
    *m = (struct memory){ 0 };
}

/* Returns how many disks it looked at. */
static unsigned cut_here(const struct walk_layout *l, struct io_engine *engine,
                         const struct memory *m, uint64_t point)
{
    static const struct io_sim_cut cuts[] = {
        { .survivors = IO_SIM_ALL },
        { .survivors = IO_SIM_NONE },
        { .survivors = IO_SIM_RANDOM, .seed = 1, .torn = true },
        { .survivors = IO_SIM_RANDOM, .seed = 2, .torn = true },
        { .survivors = IO_SIM_RANDOM, .seed = 3 },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cuts); i++) {
        struct io_sim_cut cut = cuts[i];
        struct io_engine *after;
        cut.seed += point * 16;
        cr_assert_eq(io_sim_power_cut(engine, &cut, &after), 0);
        expect_old_or_new(after, l, m, point);
        io_engine_free(after);
    }
    return ARRAY_COUNT(cuts);
}

Test(qcow2_write, a_power_cut_anywhere_leaves_a_sound_image, .timeout = 280)
{
    static const size_t chosen[] = { 0, 2, 3, 5, 8, 14, 15, 17, 18 };

    for (size_t c = 0; c < ARRAY_COUNT(chosen); c += tier_sample(3)) {
        const struct walk_layout *l = &walk_layouts[chosen[c]];
        bool finished = false;
        unsigned looked_at = 0;
        for (uint64_t point = 0; !finished; point++) {
            struct memory m = { 0 };
            struct io_engine *engine = walk_fresh(l, c);
            finished = run_until(l, engine, point, c + walk_seed(), &m);
            looked_at += cut_here(l, engine, &m, point);
            forget(&m);
            io_engine_free(engine);
        }
        cr_assert_geq(looked_at, 80u, "%s", l->title);
    }
}

/* --- every barrier is needed ------------------------------------------------------------------ */

/* Is there a cut of this run, at any point, after which the image is wrong? */
static bool cut_hurts(const struct walk_layout *l, uint64_t seed)
{
    bool finished = false, hurt = false;

    for (uint64_t point = 0; !finished && !hurt; point++) {
        struct memory m = { 0 };
        struct io_engine *engine = walk_fresh(l, seed);
        finished = run_until(l, engine, point, seed, &m);
        for (uint64_t cut = 0; cut < 6 && !hurt; cut++) {
            const struct io_sim_cut how = { .survivors = IO_SIM_RANDOM, .seed = point * 64 + cut };
            struct io_engine *after;
            struct guest g;
            cr_assert_eq(io_sim_power_cut(engine, &how, &after), 0);
            hurt = qcow2_verify_file(after, "disk").corruptions > 0 || walk_open(&g, l, after) < 0;
            for (uint64_t off = 0; !hurt && off < g.image->size; off += 512)
                hurt = !known_sector(&m, g.model + off, off);
            if (g.image)
                guest_drop(&g);
            io_engine_free(after);
        }
        forget(&m);
        io_engine_free(engine);
    }
    return hurt;
}

/* A sample; tests/crash/crash_barriers.c leaves out each of them. */
Test(qcow2_write, each_barrier_that_is_dropped_is_missed, .timeout = 280)
{
    for (unsigned site = 0; site < META_SITE_COUNT; site += tier_step(3)) {
        bool hurt = false;
        if (site == META_CORRUPT_BIT || site == META_LINKS_BEFORE_HEADER)
            continue; /* test_meta.c */
        meta_test_dropped = 1u << site;
        for (uint64_t seed = 1; !hurt && seed < 40; seed++)
            hurt = cut_hurts(&walk_layouts[1], seed);
        meta_test_dropped = 0;
        cr_expect(meta_test_reached & 1u << site, "%s", meta_site_names[site]);
        cr_expect(hurt, "%s", meta_site_names[site]);
    }
}

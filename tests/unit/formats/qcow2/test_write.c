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

struct layout {
    const char *title;
    uint64_t size;
    struct create_spec spec;
    bool backing;
    unsigned steps; /* of a random walk; 0 = 60 */
};

#define V2(bits)            .version = 2, .cluster_size = 1u << (bits), .refcount_bits = 16
#define V3(bits, refcounts) .version = 3, .cluster_size = 1u << (bits), .refcount_bits = (refcounts)

static const struct layout layouts[] = {
    { "512, 16 bits", 200 * 1024, { V3(9, 16) }, .backing = false },
    { "512, 64 bits, backing", 200 * 1024 + 512, { V3(9, 64) }, .backing = true },
    { "512, 1 bit", 100 * 1024, { V3(9, 1) }, .backing = false },
    { "1K, 2 bits, backing", 300 * 1024, { V3(10, 2) }, .backing = true },
    { "4K, 16 bits", MiB, { V3(12, 16) }, .backing = false },
    { "4K, 4 bits, backing", MiB + 1536, { V3(12, 4) }, .backing = true },
    { "4K, 8 bits", MiB - 512, { V3(12, 8) }, .backing = false },
    { "4K, v2", MiB, { V2(12) }, .backing = false },
    { "4K, v2, backing", MiB - 1024, { V2(12) }, .backing = true },
    { "512, v2", 150 * 1024, { V2(9) }, .backing = false },
    { "64K, 16 bits, backing", 3 * MiB, { V3(16, 16) }, .backing = true },
    { "64K, 32 bits", 3 * MiB + 4096, { V3(16, 32) }, .backing = false },
    { "64K, zstd", 2 * MiB, { V3(16, 16), .compression = CODEC_ZSTD }, .backing = false },
    { "64K, subclusters", 2 * MiB, { V3(16, 16), .extended_l2 = true }, .backing = false },
    { "16K, subclusters, backing",
      MiB + 512,
      { V3(14, 16), .extended_l2 = true },
      .backing = true },
    { "16K, subclusters, 1 bit", MiB, { V3(14, 1), .extended_l2 = true }, .backing = true },
    { "2M", 9 * MiB, { V3(21, 16) }, .backing = false, .steps = 20 },
    { "4K, data file", MiB - 512, { V3(12, 16), .data_file_name = "data" }, .backing = false },
    { "4K, data file, backing", MiB, { V3(12, 16), .data_file_name = "data" }, .backing = true },
    { "16K, data file, subclusters",
      MiB,
      { V3(14, 16), .data_file_name = "data", .extended_l2 = true },
      .backing = true },
    { "4K, raw data file",
      MiB,
      { V3(12, 16), .data_file_name = "data", .data_file_raw = true },
      .backing = false },
    { "4K, preallocated",
      MiB,
      { V3(12, 16), .preallocation = PREALLOC_METADATA },
      .backing = false },
};

static uint8_t backing_bytes[2 * MiB];

static struct io_engine *fresh(const struct layout *l, uint64_t seed)
{
    const struct io_sim_options options = { .seed = seed };
    const struct io_open_options how = { .writable = true, .create = true };
    struct create_spec spec = l->spec;
    struct io_engine *engine;
    struct io_file *file, *data = NULL;
    struct qimg_error err;

    for (size_t i = 0; i < sizeof(backing_bytes); i++)
        backing_bytes[i] = (uint8_t)(0xb0 + i / 512 % 13);
    cr_assert_eq(io_sim_new(&options, NULL, &engine), 0);
    spec.size = l->size;
    if (l->backing) {
        spec.backing_name = "base";
        spec.backing_format = "raw";
    }
    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    if (spec.data_file_name)
        cr_assert_eq(io_file_open(engine, "data", &how, &data), 0);
    cr_assert_eq(qcow2_create(file, data, &spec, &err), 0, "%s: %s", l->title, err.text);
    io_file_close(file);
    io_file_close(data);
    cr_assert_eq(io_sync_directory(engine, "disk"), 0);
    cr_assert_eq(io_sync_directory(engine, "data"), 0);
    return engine;
}

static int open_guest(struct guest *g, const struct layout *l, struct io_engine *engine)
{
    return guest_open(g, engine, l->backing ? backing_bytes : NULL,
                      l->backing ? min_u64(l->size * 3 / 4, sizeof(backing_bytes)) : 0);
}

/* QIMG_TEST_SEED walks elsewhere. */
static uint64_t seed_shift(void)
{
    const char *seed = getenv("QIMG_TEST_SEED");

    return 5 + (seed ? strtoull(seed, NULL, 10) * 1000 : 0);
}

static uint64_t next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* A sector-aligned range, most often small. */
static struct qimg_range some_range(const struct guest *g, uint64_t *state)
{
    const uint64_t sectors = g->image->size / 512;
    const uint64_t cluster = g->image->cluster_size / 512;
    const uint64_t longest[] = { 1, 8, cluster, 3 * cluster, 9 * cluster, 60 * cluster };
    uint64_t off = next(state) % sectors;

    if (next(state) % 3 == 0)
        off = align_down(off, cluster);
    uint64_t len = 1 + next(state) % longest[next(state) % 6];
    if (next(state) % 4 == 0)
        len = min_u64(cluster, sectors);
    return (struct qimg_range){ off * 512, min_u64(len, sectors - off) * 512 };
}

static int one_step(struct guest *g, uint64_t *state, bool *flushed)
{
    const struct qimg_range range = some_range(g, state);
    const uint8_t fill = (uint8_t)(1 + next(state) % 0xa0);

    *flushed = false;
    switch (next(state) % 12) {
    case 0:
    case 1:
        return guest_zero(g, range, 0);
    case 2:
        return guest_zero(g, range, WRITE_MAY_UNMAP);
    case 3:
    case 4:
        return guest_discard(g, range);
    case 5:
    case 6: {
        const int rc =
            g->image->packs
                ? guest_write_packed(g, align_down(range.off, g->image->cluster_size), fill)
                : 0;
        return rc == -EIO || rc == -ENOSPC ? 0 : rc; /* taken, or does not get smaller */
    }
    case 7:
        *flushed = true;
        return guest_flush(g);
    default:
        return guest_write(g, range, fill);
    }
}

static void expect_sound(struct io_engine *engine, const char *title, bool leaks_allowed)
{
    const struct verdict v = qcow2_verify_file(engine, "disk");

    cr_expect_eq(v.corruptions, 0, "%s: %u corruptions: %s", title, v.corruptions, v.first);
    if (!leaks_allowed)
        cr_expect_eq(v.leaks, 0, "%s: %u leaks: %s", title, v.leaks, v.first);
}

Test(qcow2_write, a_random_walk_reads_back_and_leaves_no_leak)
{
    for (size_t i = 0; i < ARRAY_COUNT(layouts); i++) {
        const struct layout *l = &layouts[i];
        struct io_engine *engine = fresh(l, i);
        uint64_t state = i * 977 + seed_shift();
        for (unsigned round = 0; round < 3; round++) {
            struct guest g;
            bool flushed;
            cr_assert_eq(open_guest(&g, l, engine), 0, "%s: %s", l->title, g.err.text);
            for (unsigned n = 0; n < (l->steps ? l->steps : 60); n++) {
                const int rc = one_step(&g, &state, &flushed);
                cr_assert_eq(rc, 0, "%s: round %u step %u: %s", l->title, round, n, strerror(-rc));
                const int64_t at = guest_differs(&g);
                cr_assert_eq(at, -1, "%s: round %u step %u: byte %lld", l->title, round, n,
                             (long long)at);
            }
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

static void expect_old_or_new(struct io_engine *after, const struct layout *l,
                              const struct memory *m, uint64_t point)
{
    struct guest g;

    expect_sound(after, l->title, true);
    cr_assert_eq(open_guest(&g, l, after), 0, "%s: cut at %llu: %s", l->title,
                 (unsigned long long)point, g.err.text);
    for (uint64_t off = 0; off < g.image->size; off += 512)
        cr_assert(known_sector(m, g.model + off, off), "%s: cut at %llu: sector at %llu is %#x",
                  l->title, (unsigned long long)point, (unsigned long long)off, g.model[off]);
    guest_drop(&g);
}

/* Runs until the machine stops after @point operations. Returns whether it came to its end. */
static bool run_until(const struct layout *l, struct io_engine *engine, uint64_t point,
                      uint64_t seed, struct memory *m)
{
    struct guest g;
    uint64_t state = seed;
    bool flushed = true;

    cr_assert_eq(open_guest(&g, l, engine), 0, "%s: %s", l->title, g.err.text);
    remember(m, g.model, g.image->size, true);
    io_sim_stop_after(engine, io_sim_operations(engine) + point);
    for (unsigned n = 0; n < 14; n++) {
        if (one_step(&g, &state, &flushed) < 0) {
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

static void cut_here(const struct layout *l, struct io_engine *engine, const struct memory *m,
                     uint64_t point)
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
}

Test(qcow2_write, a_power_cut_anywhere_leaves_a_sound_image, .timeout = 280)
{
    static const size_t chosen[] = { 0, 2, 3, 5, 8, 14, 15, 17, 18 };

    for (size_t c = 0; c < ARRAY_COUNT(chosen); c++) {
        const struct layout *l = &layouts[chosen[c]];
        bool finished = false;
        for (uint64_t point = 0; !finished; point++) {
            struct memory m = { 0 };
            struct io_engine *engine = fresh(l, c);
            finished = run_until(l, engine, point, c + seed_shift(), &m);
            cut_here(l, engine, &m, point);
            forget(&m);
            io_engine_free(engine);
        }
    }
}

/* --- every barrier is needed ------------------------------------------------------------------ */

/* Is there a cut of this run, at any point, after which the image is wrong? */
static bool cut_hurts(const struct layout *l, uint64_t seed)
{
    bool finished = false, hurt = false;

    for (uint64_t point = 0; !finished && !hurt; point++) {
        struct memory m = { 0 };
        struct io_engine *engine = fresh(l, seed);
        finished = run_until(l, engine, point, seed, &m);
        for (uint64_t cut = 0; cut < 12 && !hurt; cut++) {
            const struct io_sim_cut how = { .survivors = IO_SIM_RANDOM, .seed = point * 64 + cut };
            struct io_engine *after;
            struct guest g;
            cr_assert_eq(io_sim_power_cut(engine, &how, &after), 0);
            hurt = qcow2_verify_file(after, "disk").corruptions > 0 || open_guest(&g, l, after) < 0;
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

Test(qcow2_write, each_barrier_that_is_dropped_is_missed, .timeout = 280)
{
    for (unsigned site = 0; site < META_SITE_COUNT; site++) {
        bool hurt = false;
        if (site == META_CORRUPT_BIT || site == META_LINKS_BEFORE_HEADER)
            continue; /* test_meta.c */
        meta_test_dropped = 1u << site;
        for (uint64_t seed = 1; !hurt && seed < 40; seed++)
            hurt = cut_hurts(&layouts[seed % 2], seed);
        meta_test_dropped = 0;
        cr_expect(meta_test_reached & 1u << site, "%s", meta_site_names[site]);
        cr_expect(hurt, "%s", meta_site_names[site]);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The cost of a flush, growing tables and the barriers before them, final errors.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "meta_internal.h"
#include "qcow2_verify.h"
#include "qcow2_walk.h"
#include "tier.h"

static const struct walk_layout plain = {
    .title = "plain",
    .size = MiB,
    .spec = { .version = 3, .cluster_size = 4096, .refcount_bits = 16 },
};
static const struct walk_layout tiny = {
    .title = "tiny", /* a block counts 64 clusters, a table cluster has 64 blocks */
    .size = 6 * MiB,
    .spec = { .version = 3, .cluster_size = 512, .refcount_bits = 64 },
};

static struct guest open_fresh(const struct walk_layout *l, struct io_engine **engine)
{
    struct guest g;

    *engine = walk_fresh(l, 3);
    cr_assert_eq(walk_open(&g, l, *engine), 0);
    return g;
}

static void expect_sound(struct io_engine *engine)
{
    const struct verdict v = qcow2_verify_file(engine, "disk");

    cr_expect_eq(v.corruptions + v.leaks, 0, "%s", v.first);
}

Test(qcow2_meta, an_allocating_write_costs_two_syncs_and_a_rewrite_one)
{
    struct io_engine *engine;
    struct guest g = open_fresh(&plain, &engine);

    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 65536 }, 1), 0);
    uint64_t before = engine->stats.syncs;
    cr_assert_eq(guest_flush(&g), 0);
    cr_expect_eq(engine->stats.syncs - before, 2);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 512, 4096 }, 2), 0);
    before = engine->stats.syncs;
    const uint64_t writes = engine->stats.writes;
    cr_assert_eq(guest_flush(&g), 0);
    cr_expect_eq(engine->stats.syncs - before, 1);
    cr_expect_eq(engine->stats.writes, writes, "no metadata");
    cr_assert_eq(guest_flush(&g), 0);
    cr_expect_eq(engine->stats.syncs - before, 1, "nothing to sync");
    cr_assert_eq(guest_close(&g), 0);
    expect_sound(engine);
    io_engine_free(engine);
}

Test(qcow2_meta, blocks_and_table_grow_with_the_file)
{
    struct io_engine *engine;
    struct guest g = open_fresh(&tiny, &engine);
    const uint32_t before = qcow2_of(g.image)->header.reftable_clusters;

    for (uint64_t off = 0; off < tiny.size; off += MiB)
        cr_assert_eq(guest_write(&g, (struct qimg_range){ off, MiB }, (uint8_t)(off >> 20) + 1), 0);
    cr_expect_gt(qcow2_of(g.image)->header.reftable_clusters, before);
    cr_expect_eq(guest_differs(&g), -1);
    cr_assert_eq(guest_close(&g), 0);
    expect_sound(engine);
    cr_assert_eq(walk_open(&g, &tiny, engine), 0, "what is on disk is what was in memory");
    cr_expect_eq(g.model[5 * MiB], 6);
    cr_assert_eq(guest_close(&g), 0);
    io_engine_free(engine);
}

/* Grows the refcount table by writing 2 MiB and flushing in between; the machine stops after
 * @point operations. */
static bool grow_until(struct io_engine *engine, uint64_t point)
{
    struct guest g;
    int rc = 0;

    cr_assert_eq(walk_open(&g, &tiny, engine), 0);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, MiB + 900 * KiB }, 1), 0);
    cr_assert_eq(guest_flush(&g), 0);
    io_sim_stop_after(engine, io_sim_operations(engine) + point);
    rc = guest_write(&g, (struct qimg_range){ 2 * MiB, 200 * KiB }, 2);
    if (rc == 0)
        rc = guest_flush(&g); /* so that the move of L1 has no other barrier in front of it */
    if (rc == 0)
        rc = l1_grow(qcow2_of(g.image), 2000);
    if (rc == 0)
        rc = guest_close(&g);
    else
        guest_drop(&g);
    io_sim_stop_after(engine, UINT64_MAX);
    return rc == 0;
}

static bool lost_flushed_data(struct io_engine *engine)
{
    struct guest g;

    if (walk_open(&g, &tiny, engine) < 0)
        return true;
    const bool lost = g.model[0] != 1 || g.model[MiB] != 1;
    guest_drop(&g);
    return lost;
}

/* @cuts random power cuts at each @step-th point: is one of them wrong? */
static bool growth_hurts(unsigned cuts, unsigned step)
{
    bool finished = false, hurt = false;

    for (uint64_t point = 0; !finished && !hurt; point += step) {
        struct io_engine *engine = walk_fresh(&tiny, 3), *after;
        finished = grow_until(engine, point);
        for (unsigned cut = 0; cut < cuts && !hurt; cut++) {
            const struct io_sim_cut how = { .survivors = IO_SIM_RANDOM, .seed = point * 64 + cut };
            cr_assert_eq(io_sim_power_cut(engine, &how, &after), 0);
            hurt = qcow2_verify_file(after, "disk").corruptions > 0 || lost_flushed_data(after);
            io_engine_free(after);
        }
        io_engine_free(engine);
    }
    return hurt;
}

Test(qcow2_meta, tables_move_safely_and_only_behind_their_barriers, .timeout = 250)
{
    meta_test_reached = 0;
    cr_expect_not(growth_hurts(2, tier_step(4)));
    for (unsigned site = 0; site < META_CORRUPT_BIT; site++) {
        cr_expect(meta_test_reached & 1u << site, "%s", meta_site_names[site]);
        if (tier_step(2) > 1 && site != META_COUNTS_BEFORE_TABLE)
            continue; /* tests/crash/crash_barriers.c leaves out each of them */
        meta_test_dropped = 1u << site;
        cr_expect(growth_hurts(8, 1), "%s", meta_site_names[site]);
        meta_test_dropped = 0;
    }
}

Test(qcow2_meta, a_failed_sync_is_final)
{
    struct io_engine *engine;
    struct guest g = open_fresh(&plain, &engine);
    size_t before, count;

    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 65536 }, 1), 0);
    io_sim_fault(engine, io_sim_operations(engine) + 1, IO_SIM_EIO, true);
    cr_expect_eq(guest_flush(&g), -EIO);
    io_sim_fault(engine, 0, IO_SIM_EIO, false);
    (void)io_sim_log(engine, &before);
    cr_expect_eq(guest_write(&g, (struct qimg_range){ 0, 512 }, 1), -EIO);
    cr_expect_eq(guest_zero(&g, (struct qimg_range){ 0, 512 }, 0), -EIO);
    cr_expect_eq(guest_discard(&g, (struct qimg_range){ 0, 65536 }), -EIO);
    cr_expect_eq(guest_flush(&g), -EIO);
    cr_expect_eq(guest_close(&g), -EIO);
    const struct io_sim_entry *log = io_sim_log(engine, &count);
    for (size_t i = before; i < count; i++)
        cr_expect_eq(log[i].op, IO_SIM_READ, "operation %zu writes", i);
    io_engine_free(engine);
}

Test(qcow2_meta, every_single_fault_is_reported_and_harmless, .timeout = 200)
{
    static const enum io_sim_fault_kind kinds[] = { IO_SIM_EIO, IO_SIM_ENOSPC, IO_SIM_SHORT };
    unsigned faults = 0;

    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        for (uint64_t at = 1;; at++) {
            struct io_engine *engine;
            struct guest g = open_fresh(&plain, &engine);
            uint64_t state = 11;
            bool flushed;
            int rc = 0;
            const uint64_t first = io_sim_operations(engine);
            io_sim_fault(engine, first + at, kinds[k], false);
            for (unsigned n = 0; n < 40 && rc == 0; n++)
                rc = walk_step(&g, &state, &flushed);
            const int end = guest_close(&g);
            const bool done = io_sim_operations(engine) < first + at;
            const struct verdict v = qcow2_verify_file(engine, "disk");
            cr_expect_eq(v.corruptions, 0, "kind %zu at %lu: %s", k, (unsigned long)at, v.first);
            if (rc == 0 && end == 0)
                cr_expect_eq(v.leaks, 0, "kind %zu at %lu: %s", k, (unsigned long)at, v.first);
            io_engine_free(engine);
            faults += !done;
            if (done)
                break;
        }
    }
    cr_expect_geq(faults, 120, "%u faults", faults);
}

/* Writes what the new, empty backing file must not hide, then re-points; stops after @point
 * operations. */
static bool repoint_until(const struct walk_layout *l, struct io_engine *engine, uint64_t point)
{
    struct guest g;

    cr_assert_eq(walk_open(&g, l, engine), 0);
    io_sim_stop_after(engine, io_sim_operations(engine) + point);
    int rc = guest_write(&g, (struct qimg_range){ 0, 65536 }, 0x77);
    if (rc == 0)
        rc = qcow2_ops.set_backing(g.image, "empty", "raw", &g.err);
    if (rc == 0)
        rc = guest_write(&g, (struct qimg_range){ 65536, 512 }, 0x78);
    if (rc == 0)
        rc = guest_close(&g);
    else
        guest_drop(&g);
    io_sim_stop_after(engine, UINT64_MAX);
    return rc == 0;
}

Test(qcow2_meta, another_backing_file_is_named_only_when_what_was_copied_is_durable)
{
    struct walk_layout l = plain;
    bool finished = false;

    l.backing = true;
    for (uint64_t point = 0; !finished; point++) {
        struct io_engine *engine = walk_fresh(&l, 3);
        finished = repoint_until(&l, engine, point);
        for (unsigned cut = 0; cut < 6; cut++) {
            const struct io_sim_cut how = { .survivors = IO_SIM_RANDOM, .seed = point * 64 + cut };
            struct io_engine *after;
            struct guest g;
            cr_assert_eq(io_sim_power_cut(engine, &how, &after), 0);
            cr_assert_eq(walk_open(&g, &l, after), 0);
            if (strcmp(g.image->backing_name, "empty") == 0)
                cr_expect_eq(g.model[0], 0x77, "cut at %lu", (unsigned long)point);
            guest_drop(&g);
            io_engine_free(after);
        }
        io_engine_free(engine);
    }
}

/* Entry @index of the refcount table names a block behind the end of the file. */
static void lose_block(struct io_engine *engine, unsigned index)
{
    const struct io_open_options how = { .writable = true };
    struct io_file *file;
    uint8_t raw[8];

    cr_assert(io_sim_get(engine, "disk", 48, raw, 8));
    const uint64_t table = load_be64(raw);
    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    store_be64(raw, align_up(io_sim_size(engine, "disk"), 4096));
    cr_assert_eq(io_write_exact(file, table + 8 * index, raw, 8), 0);
    io_file_close(file);
}

/* Its counts would be taken for 0, and clusters in use for free ones. */
Test(qcow2_meta, a_refcount_block_behind_the_end_of_the_file_refuses_writing)
{
    for (unsigned index = 0; index < 2; index++) {
        struct io_engine *engine = walk_fresh(&plain, 3);
        const struct io_sim_entry *log;
        size_t before, count;
        struct guest g;

        lose_block(engine, index);
        (void)io_sim_log(engine, &before);
        cr_expect_eq(walk_open(&g, &plain, engine), -EIO, "entry %u", index);
        cr_expect_str_eq(g.err.text, "Could not read metadata: a refcount block is outside the "
                                     "image (check -r all mends that)");
        log = io_sim_log(engine, &count);
        for (size_t i = before; i < count; i++)
            cr_expect_eq(log[i].op, IO_SIM_READ, "operation %zu writes", i);
        io_engine_free(engine);
    }
}

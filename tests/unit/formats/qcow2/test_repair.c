/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"
#include "tier.h"

static const struct build_cluster clusters[] = {
    { .index = 0, .fill = 1 },
    { .index = 1, .fill = 2, .shared = true },
    { .index = 2, .fill = 3 },
    { .index = 4, .kind = BUILD_WORD, .word = 0x40201 },
};

static const struct build_snapshot snapshots[] = {
    { .id = "1", .name = "s", .no_extra = true, .clusters = clusters, .cluster_count = 1 },
};

static const struct build_qcow2 spec = { .size = MiB,
                                         .clusters = clusters,
                                         .cluster_count = ARRAY_COUNT(clusters),
                                         .snapshots = snapshots,
                                         .snapshot_count = 1 };

/* Ways to break the image's counts, by what repair has to do. */
static struct build_patch patches[4];
static size_t patch_count;

static void make_patches(void)
{
    struct built built = build_qcow2(&spec);
    const uint64_t block = load_be64(built.bytes + built.reftable_off);
    const uint64_t data = load_be64(built.bytes + built_l2_entry_off(&built, &spec, 0));
    const uint64_t cluster = (data & QCOW2_OFFSET_MASK) >> 16;

    patches[0] = (struct build_patch){ block + 2 * cluster, 2, 9 };       /* lowered */
    patches[1] = (struct build_patch){ block + 2 * (cluster + 2), 2, 0 }; /* rebuilt */
    patches[2] = (struct build_patch){ built.reftable_off, 8, block | 1 };
    patches[3] = (struct build_patch){ built.reftable_off + 8, 8, block };
    patch_count = 4;
    built_release(&built);
}

static struct io_engine *broken_machine(size_t i)
{
    struct build_qcow2 s = spec;

    s.patches = &patches[i];
    s.patch_count = 1;
    return check_machine(&s);
}

/* What the guest sees: everything but the state of the tables. */
static uint8_t *guest_bytes(struct io_engine *engine)
{
    const struct io_open_options file_how = { 0 };
    const struct image_open_options how = { .check = true };
    struct extent_vec extents = { 0 };
    struct qimg_error err;
    struct io_file *file;
    struct image *image;
    uint8_t *bytes = calloc(1, MiB);

    cr_assert_eq(io_file_open(engine, "disk", &file_how, &file), 0);
    cr_assert_eq(qcow2_ops.open(file, &how, &image, &err), 0, "%s", err.text);
    cr_assert_eq(image_map(image, (struct qimg_range){ 0, MiB }, &extents, &err), 0);
    for (size_t i = 0; i < extents.count; i++) {
        const struct extent *e = &extents.items[i];
        if (e->kind == EXTENT_DATA)
            cr_assert_eq(io_read_exact(file, e->host_off, bytes + e->guest_off, e->len, NULL), 0);
    }
    extent_vec_release(&extents);
    image_close(image);
    return bytes;
}

Test(qcow2_repair, mends_everything_and_keeps_what_the_guest_sees)
{
    make_patches();
    for (size_t i = 0; i < patch_count; i++) {
        struct io_engine *engine = broken_machine(i);
        uint8_t *before = guest_bytes(engine);
        check_repairs(engine);
        uint8_t *after = guest_bytes(engine);
        cr_expect_eq(memcmp(before, after, MiB), 0, "patch %zu", i);
        free(before);
        free(after);
        io_engine_free(engine);
    }
}

Test(qcow2_repair, is_undone_byte_for_byte)
{
    const struct io_open_options how = { .writable = true };

    make_patches();
    for (size_t i = 0; i < patch_count; i++) {
        struct io_engine *engine = broken_machine(i);
        struct io_file *log, *disk;
        struct qimg_error err;
        size_t len, after_len;
        uint8_t *before = check_file(engine, "disk", &len);
        struct checked c =
            check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL, .undo = true });
        cr_expect_eq(c.rc, 0, "%s", c.err.text);
        cr_assert_eq(io_file_open(engine, "undo", &how, &log), 0);
        cr_assert_eq(io_file_open(engine, "disk", &how, &disk), 0);
        cr_assert_eq(undo_apply(log, disk, &err), 0, "%zu: %s", i, err.text);
        io_file_close(log);
        io_file_close(disk);
        uint8_t *after = check_file(engine, "disk", &after_len);
        cr_expect_eq(len, after_len, "patch %zu", i);
        cr_expect_eq(memcmp(before, after, len), 0, "patch %zu", i);
        free(before);
        free(after);
        checked_release(&c);
        io_engine_free(engine);
    }
}

/* Cut at every operation, with whatever survives: another repair mends it, the guest's bytes are
 * what they were. */
Test(qcow2_repair, that_loses_power_anywhere_is_finished_by_the_next, .timeout = 120)
{
    make_patches();
    unsigned states = 0;
    for (size_t i = 0; i < patch_count; i += tier_sample(2)) {
        struct io_engine *whole = broken_machine(i);
        uint8_t *before = guest_bytes(whole);
        const uint64_t opened = io_sim_operations(whole);
        io_engine_free(whole);
        for (uint64_t n = opened;; n += tier_step(2)) {
            struct io_engine *engine = broken_machine(i);
            io_sim_stop_after(engine, n);
            struct checked c = { .rc = -EIO };
            if (n > opened)
                c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
            for (unsigned seed = 0; seed < 3; seed++) {
                const struct io_sim_cut cut = { .survivors = seed == 0   ? IO_SIM_NONE
                                                             : seed == 1 ? IO_SIM_ALL
                                                                         : IO_SIM_RANDOM,
                                                .seed = seed + 3 * n,
                                                .torn = n % 2 };
                struct io_engine *after;
                cr_assert_eq(io_sim_power_cut(engine, &cut, &after), 0);
                check_repairs(after);
                uint8_t *now = guest_bytes(after);
                cr_expect_eq(memcmp(before, now, MiB), 0, "patch %zu, operation %u", i,
                             (unsigned)n);
                free(now);
                io_engine_free(after);
                states++;
            }
            const bool finished = c.rc == 0;
            checked_release(&c);
            io_engine_free(engine);
            if (finished)
                break;
        }
        free(before);
    }
    cr_expect_gt(states, 150 / tier_sample(2), "%u", states);
}

/* An I/O error anywhere: an error or a note of it, and the next repair mends the rest. */
Test(qcow2_repair, that_meets_an_error_anywhere_is_finished_by_the_next)
{
    make_patches();
    for (size_t i = 0; i < patch_count; i += tier_sample(2))
        for (uint64_t n = 1;; n++) {
            struct io_engine *engine = broken_machine(i);
            io_sim_fault(engine, n, n % 2 ? IO_SIM_EIO : IO_SIM_ENOSPC, false);
            struct checked c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
            const uint64_t done = io_sim_operations(engine);
            io_sim_fault(engine, 0, IO_SIM_EIO, false);
            check_repairs(engine);
            checked_release(&c);
            io_engine_free(engine);
            if (n > done)
                break;
        }
}

Test(qcow2_repair, never_writes_guest_data_that_passes_for_a_table)
{
    static const struct build_cluster data[] = { { .index = 0, .fill = 0x09 } };
    struct build_qcow2 s = { .size = GiB, .clusters = data, .cluster_count = 1 };
    struct built built = build_qcow2(&s);
    const uint64_t cluster =
        load_be64(built.bytes + built_l2_entry_off(&built, &s, 0)) & QCOW2_OFFSET_MASK;
    const struct build_patch patch = { built.l1_off + 8, 8, cluster | QCOW2_COPIED };
    uint8_t want[64], now[64];

    s.patches = &patch;
    s.patch_count = 1;
    memset(want, 0x09, sizeof(want));
    struct io_engine *engine = check_machine(&s);
    struct checked c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    cr_expect_gt(c.result.corruptions, 0);
    cr_assert(io_sim_get(engine, "disk", cluster, now, sizeof(now)));
    cr_expect_eq(memcmp(now, want, sizeof(now)), 0);
    checked_release(&c);
    io_engine_free(engine);
    built_release(&built);
}

Test(qcow2_repair, never_writes_a_table_that_lies_upon_another_structure)
{
    struct built built = build_qcow2(&spec);
    const struct build_patch patch = { built.l1_off, 8, QCOW2_COPIED | built.reftable_off };
    struct build_qcow2 s = spec;
    uint8_t table[512], now[512];

    s.patches = &patch;
    s.patch_count = 1;
    memcpy(table, built.bytes + built.l1_off + 8, sizeof(table));
    struct io_engine *engine = check_machine(&s);
    struct checked c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    cr_assert(io_sim_get(engine, "disk", built.l1_off + 8, now, sizeof(now)));
    cr_expect_eq(memcmp(table, now, sizeof(now)), 0);
    checked_release(&c);
    io_engine_free(engine);
    built_release(&built);
}

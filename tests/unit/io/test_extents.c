/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "engines.h"

static uint8_t block[64 * KiB];

static struct io_extent at(struct io_file *file, uint64_t off)
{
    struct io_extent extent = { 0 };

    cr_assert_eq(io_extents(file, off, &extent), 0);
    cr_assert_eq(extent.off, off);
    cr_assert_gt(extent.len, 0);
    return extent;
}

Test(extents, data_and_holes_follow_each_other_up_to_the_end)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_extent e;

        memset(block, 'd', sizeof(block));
        cr_assert_eq(io_truncate(file, 1 * MiB + 100), 0);
        cr_assert_eq(io_write_exact(file, 128 * KiB, block, 64 * KiB), 0);
        e = at(file, 0);
        cr_expect_not(e.data, "%s", rig.c->name);
        cr_expect_eq(e.len, 128 * KiB, "%s: %llu", rig.c->name, (unsigned long long)e.len);
        e = at(file, 129 * KiB);
        cr_expect(e.data, "%s", rig.c->name);
        cr_expect_eq(e.len, 63 * KiB, "%s", rig.c->name);
        e = at(file, 192 * KiB); /* the trailing hole: SEEK_DATA says ENXIO */
        cr_expect_not(e.data, "%s", rig.c->name);
        cr_expect_eq(e.len, 1 * MiB + 100 - 192 * KiB, "%s", rig.c->name);
        cr_expect_lt(io_extents(file, 1 * MiB + 100, &e), 0, "%s: at the end", rig.c->name);
        io_file_close(file);
    }
}

Test(extents, data_is_asked_for_once_where_we_only_read)
{
    struct rig rig;
    struct io_file *reader;
    const struct io_open_options options = { 0 };

    rig_real(&rig, IO_ENGINE_THREADS);
    struct io_file *writer = rig_create(&rig, "a");
    memset(block, 'd', sizeof(block));
    cr_assert_eq(io_write_exact(writer, 0, block, 64 * KiB), 0);
    cr_assert_eq(io_file_open(rig.engine, rig_path(&rig, "a"), &options, &reader), 0);
    cr_expect_eq(at(reader, 0).len, 64 * KiB);
    cr_assert_eq(io_punch(writer, (struct qimg_range){ 32 * KiB, 16 * KiB }), 0);
    cr_expect(at(reader, 32 * KiB).data, "as it was");
    cr_expect_eq(at(reader, 4 * KiB).len, 60 * KiB);
    cr_expect_not(at(writer, 32 * KiB).data, "who writes always asks");
    cr_assert_eq(io_truncate(writer, 20 * KiB), 0);
    cr_expect_eq(at(reader, 4 * KiB).len, 16 * KiB, "never beyond the end");
    io_file_close(reader);
    io_file_close(writer);
    rig_teardown(&rig);
}

Test(extents, punching_gives_storage_back_and_keeps_the_size)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_stat before, after;

        memset(block, 'd', sizeof(block));
        cr_assert_eq(io_write_exact(file, 0, block, sizeof(block)), 0);
        cr_assert_eq(io_sync(file), 0);
        cr_assert_eq(io_stat(file, &before), 0);
        cr_assert_eq(io_punch(file, (struct qimg_range){ 0, 32 * KiB }), 0);
        cr_assert_eq(io_stat(file, &after), 0);
        cr_expect_eq(after.size, before.size, "%s", rig.c->name);
        cr_expect_lt(after.allocated, before.allocated, "%s", rig.c->name);
        cr_expect_not(at(file, 0).data, "%s", rig.c->name);
        cr_expect(at(file, 32 * KiB).data, "%s", rig.c->name);
        io_file_close(file);
    }
}

Test(extents, zeroing_reads_as_zeros_and_grows_like_a_write)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        static uint8_t seen[128 * KiB];

        for (int may_unmap = 0; may_unmap < 2; may_unmap++) {
            struct io_stat st;

            memset(block, 'd', sizeof(block));
            cr_assert_eq(io_truncate(file, 0), 0);
            cr_assert_eq(io_write_exact(file, 0, block, sizeof(block)), 0);
            cr_assert_eq(io_zero(file, (struct qimg_range){ 10, 20000 }, may_unmap), 0);
            /* and past the end, where it grows the file as a write would */
            cr_assert_eq(io_zero(file, (struct qimg_range){ 60000, 40001 }, may_unmap), 0);
            cr_assert_eq(io_stat(file, &st), 0);
            cr_expect_eq(st.size, 100001, "%s: unmap %d: %llu", rig.c->name, may_unmap,
                         (unsigned long long)st.size);
            cr_assert_eq(io_read_exact(file, 0, seen, sizeof(seen), NULL), 0);
            memset(block + 10, 0, 20000);
            memset(block + 60000, 0, sizeof(block) - 60000);
            cr_expect_eq(memcmp(seen, block, sizeof(block)), 0, "%s: unmap %d", rig.c->name,
                         may_unmap);
            for (size_t i = sizeof(block); i < sizeof(seen); i++)
                cr_assert_eq(seen[i], 0);
        }
        io_file_close(file);
    }
}

Test(extents, allocating_reserves_and_grows)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_stat st;

        cr_assert_eq(io_allocate(file, (struct qimg_range){ 4096, 1 * MiB }), 0);
        cr_assert_eq(io_stat(file, &st), 0);
        cr_expect_eq(st.size, 1 * MiB + 4096, "%s", rig.c->name);
        if (!rig.c->simulated)
            cr_expect_geq(st.allocated, 1 * MiB, "%s", rig.c->name);
        io_file_close(file);
    }
}

Test(extents, ranges_beyond_63_bits_are_refused)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        const struct qimg_range range = { UINT64_MAX - 10, 100 };

        cr_expect_eq(io_zero(file, range, false), -EFBIG, "%s", rig.c->name);
        cr_expect_eq(io_punch(file, range), -EFBIG, "%s", rig.c->name);
        cr_expect_eq(io_allocate(file, range), -EFBIG, "%s", rig.c->name);
        cr_expect_eq(io_truncate(file, UINT64_MAX), -EFBIG, "%s", rig.c->name);
        io_file_close(file);
    }
}

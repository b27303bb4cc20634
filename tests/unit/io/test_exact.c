/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "engines.h"

static uint8_t model[64 * KiB], seen[64 * KiB];

static uint64_t size_of(struct io_file *file)
{
    struct io_stat st;

    cr_assert_eq(io_stat(file, &st), 0);
    return st.size;
}

Test(exact, bytes_past_the_end_are_zeros_and_got_tells)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        size_t got = 0;

        fill_pattern(model, 5001, 1);
        cr_assert_eq(io_write_exact(file, 0, model, 5001), 0);
        cr_expect_eq(size_of(file), 5001, "%s: %llu", rig.c->name,
                     (unsigned long long)size_of(file));
        memset(seen, 0xee, sizeof(seen));
        cr_assert_eq(io_read_exact(file, 4000, seen + 1, 3000, &got), 0);
        cr_expect_eq(got, 1001, "%s: %zu", rig.c->name, got);
        cr_expect_eq(memcmp(seen + 1, model + 4000, 1001), 0, "%s", rig.c->name);
        for (size_t i = 1001; i < 3000; i++)
            cr_assert_eq(seen[1 + i], 0, "%s: byte %zu", rig.c->name, i);
        cr_expect_eq(seen[0], 0xee);
        cr_expect_eq(seen[3001], 0xee);
        cr_assert_eq(io_read_exact(file, 1 * GiB, seen, 10, &got), 0);
        cr_expect_eq(got, 0);
        io_file_close(file);
    }
}

/* Random unaligned writes against an array; the file never grows further than was written. */
Test(exact, unaligned_writes_keep_their_neighbours_and_the_size)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        uint64_t size = 0;

        memset(model, 0, sizeof(model));
        srand(7);
        for (unsigned i = 0; i < 200; i++) {
            const size_t off = (size_t)rand() % 40000,
                         len = 1 + (size_t)rand() % (i % 4 ? 700 : 20000);
            fill_pattern(model + off, len, i);
            cr_assert_eq(io_write_exact(file, off, model + off, len), 0);
            size = max_u64(size, off + len);
            cr_assert_eq(size_of(file), size, "%s: write %u of %zu at %zu", rig.c->name, i, len,
                         off);
        }
        cr_assert_eq(io_read_exact(file, 0, seen, sizeof(seen), NULL), 0);
        cr_expect_eq(memcmp(seen, model, sizeof(model)), 0, "%s", rig.c->name);
        io_file_close(file);
    }
}

/* Larger than the bounce buffer, at an odd place. */
Test(exact, transfers_larger_than_the_bounce_buffer_arrive_whole)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        const size_t len = 3 * MiB + 77;
        uint8_t *out = malloc(len), *in = malloc(len);
        struct io_file *file = rig_create(&rig, "a");
        size_t got;

        fill_pattern(out, len, 3);
        cr_assert_eq(io_write_exact(file, 333, out, len), 0);
        cr_assert_eq(io_read_exact(file, 333, in, len, &got), 0);
        cr_expect_eq(got, len, "%s", rig.c->name);
        cr_expect_eq(memcmp(in, out, len), 0, "%s", rig.c->name);
        cr_expect_eq(size_of(file), 333 + len, "%s", rig.c->name);
        io_file_close(file);
        free(out);
        free(in);
    }
}

struct half {
    struct io_file *file;
    size_t start;
};

static void *write_halves(void *arg)
{
    const struct half *half = arg;

    for (size_t i = 0; i < 200; i++) {
        const uint8_t byte = (uint8_t)(1 + i % 200);
        if (io_write_exact(half->file, half->start, &byte, 1) != 0)
            return arg;
    }
    return NULL;
}

Test(exact, two_writers_of_parts_of_one_block_do_not_undo_each_other)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct half halves[2] = { { file, 10 }, { file, 300 } };
        pthread_t other;
        uint8_t block[512];
        void *failed = NULL;

        cr_assert_eq(io_truncate(file, 4096), 0);
        cr_assert_eq(pthread_create(&other, NULL, write_halves, &halves[1]), 0);
        cr_expect_null(write_halves(&halves[0]));
        pthread_join(other, &failed);
        cr_expect_null(failed);
        cr_assert_eq(io_read_exact(file, 0, block, sizeof(block), NULL), 0);
        cr_expect_eq(block[10], 200, "%s", rig.c->name);
        cr_expect_eq(block[300], 200, "%s", rig.c->name);
        io_file_close(file);
    }
}

static void *append_block(void *file)
{
    return io_write_exact(file, 8192, model, 4096) == 0 ? NULL : file;
}

/* Nobody cuts the file back to an end of his own, and the block of the other off with it. */
Test(exact, what_grows_by_several_writes_keeps_them_all)
{
    fill_pattern(model, 4096, 5);
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        pthread_t other;
        void *failed = NULL;

        file->pads_end = true;
        for (unsigned i = 0; i < 100; i++) {
            cr_assert_eq(io_truncate(file, 0), 0);
            cr_assert_eq(io_write_exact(file, 5, "x", 1), 0);
            cr_assert_eq(size_of(file), file->request_align > 1 ? file->request_align : 6);
            cr_assert_eq(pthread_create(&other, NULL, append_block, file), 0);
            cr_expect_eq(io_write_exact(file, 5000, "y", 1), 0);
            pthread_join(other, &failed);
            cr_expect_null(failed);
            cr_assert_eq(size_of(file), 12288, "%s: round %u", rig.c->name, i);
            cr_assert_eq(io_read_exact(file, 8192, seen, 4096, NULL), 0);
            cr_assert_eq(memcmp(seen, model, 4096), 0, "%s: round %u", rig.c->name, i);
        }
        io_file_close(file);
    }
}

/* Bytes of the file as somebody else sees them. */
static void expect_outside(const struct rig *rig, size_t begin, size_t end, uint8_t want)
{
    const struct io_open_options how = { .writable = false };
    struct io_file *file;

    cr_assert_eq(io_file_open(rig->engine, rig_path(rig, "a"), &how, &file), 0);
    cr_assert_eq(io_read_exact(file, 0, seen, sizeof(seen), NULL), 0);
    for (size_t i = begin; i < end; i++)
        cr_assert_eq(seen[i], want, "%s: byte %zu is %u", rig->c->name, i, seen[i]);
    io_file_close(file);
}

Test(exact, a_held_head_is_seen_by_its_holder_alone)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        size_t got;

        memset(model, 7, sizeof(model));
        cr_assert_eq(io_hold_head(file), 0);
        cr_assert_eq(io_write_exact(file, 100, model, 1000), 0);
        cr_assert_eq(io_write_exact(file, 0, model, 100), 0);
        cr_assert_eq(io_read_exact(file, 0, seen, 1100, &got), 0);
        cr_expect(got == 1100 && memcmp(seen, model, 1100) == 0, "%s", rig.c->name);
        expect_outside(&rig, 0, IO_HEAD_BYTES, 0);
        expect_outside(&rig, IO_HEAD_BYTES, 1100, 7);
        cr_assert_eq(io_release_head(file), 0);
        expect_outside(&rig, 0, 1100, 7);
        io_file_close(file);
    }
}

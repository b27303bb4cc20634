/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "io_sim.h"
#include "raw.h"
#include "workers.h"

static struct workers *workers;
static struct io_engine *engine;
static struct image *image;

static void set_up(void)
{
    static uint8_t ones[64 * 1024];
    const struct io_open_options how = { .writable = true };
    const struct image_open_options writable = { .writable = true };
    struct io_file *file;
    struct qimg_error err;
    memset(ones, 1, sizeof(ones));
    cr_assert_eq(workers_new(1, &workers), 0);
    cr_assert_eq(io_sim_new(NULL, workers, &engine), 0);
    cr_assert_eq(io_sim_put(engine, "disk", ones, sizeof(ones) - 24, sizeof(ones) - 24), 0);
    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    cr_assert_eq(raw_ops.open(file, &writable, &image, &err), 0, "%s", err.text);
    cr_assert_eq(image->ops->write->begin(image, &err), 0);
}

static void tear_down(void)
{
    struct qimg_error err;
    cr_expect_eq(image->ops->write->end(image, &err), 0);
    image_close(image);
    io_engine_free(engine);
    workers_free(workers);
}

TestSuite(raw_write, .init = set_up, .fini = tear_down);

Test(raw_write, bytes_go_where_they_are)
{
    struct write_plan plan;
    struct qimg_error err;
    const struct qimg_range want = { 1000, 3001 };
    cr_assert_eq(image->ops->write->write_begin(image, want, &plan, &err), 0);
    cr_expect_eq(plan.guest.off, 1000u);
    cr_expect_eq(plan.guest.len, 3001u);
    cr_expect_eq(plan.host_off, 1000u);
    cr_expect_eq(plan.head.len + plan.tail.len, 0u);
    cr_expect_eq(image->ops->write->write_commit(image, &plan, &err), 0);
}

Test(raw_write, zeros_and_discards_read_as_zeros_and_nothing_else_changes)
{
    const struct qimg_range part = { 8192, 8192 };
    struct write_zeroed zeroed;
    struct qimg_error err;
    uint8_t bytes[4];
    uint64_t done = 0;
    cr_assert_eq(image->ops->write->zero(image, part, WRITE_MAY_UNMAP, &zeroed, &err), 0);
    cr_expect_eq(zeroed.len, part.len);
    cr_expect_not(zeroed.as_data);
    cr_assert_eq(image->ops->write->discard(image, (struct qimg_range){ 32768, 4096 }, &done, &err),
                 0);
    cr_expect_eq(done, 4096u);
    static const struct {
        uint64_t off;
        uint8_t want;
    } rows[] = { { 8188, 1 },  { 8192, 0 },  { 16380, 0 }, { 16384, 1 },
                 { 32764, 1 }, { 32768, 0 }, { 36860, 0 }, { 36864, 1 } };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        cr_assert(io_sim_get(engine, "disk", rows[i].off, bytes, 4));
        cr_expect_eq(bytes[0], rows[i].want, "at %llu", (unsigned long long)rows[i].off);
        cr_expect_eq(bytes[3], rows[i].want, "at %llu", (unsigned long long)rows[i].off);
    }
}

Test(raw_write, a_flush_makes_durable_and_its_failure_stays)
{
    struct qimg_error err;
    struct io_engine *after;
    uint8_t byte = 7;
    cr_assert_eq(io_write_exact(image->file, 100, &byte, 1), 0);
    cr_assert_eq(image->ops->write->flush(image, &err), 0);
    cr_assert_eq(io_sim_power_cut(engine, &(struct io_sim_cut){ .survivors = IO_SIM_NONE }, &after),
                 0);
    cr_assert(io_sim_get(after, "disk", 100, &byte, 1));
    cr_expect_eq(byte, 7);
    io_engine_free(after);
}

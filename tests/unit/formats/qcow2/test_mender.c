/* SPDX-License-Identifier: Apache-2.0 */
#include "mender.h"

#include <criterion/criterion.h>
#include <string.h>

#include "io_sim.h"

static struct io_engine *engine;

static struct io_file *open_disk(void)
{
    const struct io_open_options how = { .writable = true };
    struct io_file *file;

    cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
    cr_assert_eq(io_sim_put(engine, "disk", "abcdefgh", 8, 8), 0);
    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    return file;
}

Test(mender, writes_nothing_before_it_is_flushed_and_then_durably)
{
    struct mender m = { .file = open_disk() };
    struct io_engine *after;
    char now[9] = "";

    cr_assert_eq(mender_stage(&m, 2, "XY", 2), 0);
    cr_expect_eq(io_sim_operations(engine), 0);
    cr_assert_eq(mender_flush(&m), 0);
    cr_assert_eq(io_sim_power_cut(engine, &(struct io_sim_cut){ .survivors = IO_SIM_NONE }, &after),
                 0);
    cr_assert(io_sim_get(after, "disk", 0, now, 8));
    cr_expect_str_eq(now, "abXYefgh");
    const uint64_t operations = io_sim_operations(engine);
    cr_assert_eq(mender_flush(&m), 0);
    cr_expect_eq(io_sim_operations(engine), operations, "nothing is left to flush");
    io_engine_free(after);
    mender_release(&m);
    io_file_close(m.file);
    io_engine_free(engine);
}

Test(mender, saves_what_it_overwrites_first)
{
    const struct io_open_options new = { .writable = true, .create = true };
    struct mender m = { .file = open_disk() };
    struct undo_log undo = { 0 };
    struct qimg_error err;
    char now[9] = "";

    cr_assert_eq(io_file_open(engine, "undo", &new, &undo.file), 0);
    m.undo = &undo;
    cr_assert_eq(mender_stage(&m, 2, "XY", 2), 0);
    cr_assert_eq(mender_flush(&m), 0);
    cr_assert_eq(mender_extend(&m, 100), 0);
    cr_assert_eq(undo_finish(&undo), 0);
    cr_expect_eq(io_sim_size(engine, "disk"), 100);
    cr_assert_eq(undo_apply(undo.file, m.file, &err), 0, "%s", err.text);
    cr_expect_eq(io_sim_size(engine, "disk"), 8);
    cr_assert(io_sim_get(engine, "disk", 0, now, 8));
    cr_expect_str_eq(now, "abcdefgh");
    mender_release(&m);
    io_file_close(undo.file);
    io_file_close(m.file);
    io_engine_free(engine);
}

Test(mender, stops_at_the_first_failure)
{
    struct mender m = { .file = open_disk() };
    char now[9] = "";

    cr_assert_eq(mender_stage(&m, 0, "1", 1), 0);
    cr_assert_eq(mender_stage(&m, 4, "2", 1), 0);
    io_sim_fault(engine, 1, IO_SIM_EIO, false);
    cr_expect_eq(mender_flush(&m), -EIO);
    cr_assert(io_sim_get(engine, "disk", 0, now, 8));
    cr_expect_str_eq(now, "abcdefgh");
    mender_release(&m);
    io_file_close(m.file);
    io_engine_free(engine);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "undo.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "io_sim.h"

#define SIZE 20000

static struct io_engine *engine;
static struct io_file *image;
static struct undo_log undo;
static uint8_t before[SIZE];

static void set_up(void)
{
    const struct io_open_options how = { .writable = true, .create = true };

    for (size_t i = 0; i < SIZE; i++)
        before[i] = (uint8_t)(i * 31 + i / 256);
    cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
    cr_assert_eq(io_sim_put(engine, "disk", before, SIZE, SIZE), 0);
    cr_assert_eq(io_file_open(engine, "disk", &how, &image), 0);
    undo = (struct undo_log){ 0 };
    cr_assert_eq(io_file_open(engine, "undo", &how, &undo.file), 0);
}

static void tear_down(void)
{
    io_file_close(image);
    io_file_close(undo.file);
    io_engine_free(engine);
}

TestSuite(undo, .init = set_up, .fini = tear_down);

static void overwrite(uint64_t off, uint8_t fill, uint32_t len)
{
    uint8_t *bytes = malloc(len);

    memset(bytes, fill, len);
    const struct undo_range range = { off, bytes, len };
    cr_assert_eq(undo_save(&undo, image, &range, 1), 0);
    cr_assert_eq(io_write_exact(image, off, bytes, len), 0);
    free(bytes);
}

static bool is_as_before(void)
{
    static uint8_t now[SIZE];

    return io_sim_size(engine, "disk") == SIZE && io_sim_get(engine, "disk", 0, now, SIZE) &&
           memcmp(now, before, SIZE) == 0;
}

Test(undo, puts_everything_back_in_reverse_order)
{
    struct qimg_error err;

    overwrite(100, 1, 50);
    overwrite(120, 2, 5000);
    overwrite(19990, 3, 4000); /* past the end */
    overwrite(100000, 4, 10);  /* wholly past it */
    cr_assert_eq(undo_finish(&undo), 0);
    cr_expect(!is_as_before());
    cr_assert_eq(undo_apply(undo.file, image, &err), 0, "%s", err.text);
    cr_expect(is_as_before());
    cr_assert_eq(undo_apply(undo.file, image, &err), 0, "twice does no harm: %s", err.text);
    cr_expect(is_as_before());
}

Test(undo, is_empty_where_nothing_was_saved)
{
    cr_assert_eq(undo_finish(&undo), 0);
    cr_expect_eq(io_sim_size(engine, "undo"), 0);
}

Test(undo, refuses_an_image_that_was_changed_since)
{
    struct qimg_error err;

    overwrite(4096, 1, 50);
    cr_assert_eq(undo_finish(&undo), 0);
    cr_assert_eq(io_write_exact(image, 4100, "!", 1), 0);
    cr_expect_eq(undo_apply(undo.file, image, &err), -EBADMSG);
    cr_expect_not_null(strstr(err.text, "changed since"), "%s", err.text);
}

Test(undo, notices_any_damaged_byte)
{
    struct qimg_error err;
    uint8_t log[4096];

    overwrite(4096, 1, 50);
    overwrite(9000, 2, 30);
    cr_assert_eq(undo_finish(&undo), 0);
    const size_t len = io_sim_size(engine, "undo");
    cr_assert_lt(len, sizeof(log));
    cr_assert(io_sim_get(engine, "undo", 0, log, len));
    /* All but the end record: without that the log counts as cut, which is another test. */
    for (size_t at = 0; at < len - 20; at++) {
        const uint8_t wrong = log[at] ^ 0x10;
        cr_assert_eq(io_write_exact(undo.file, at, &wrong, 1), 0);
        cr_expect_lt(undo_apply(undo.file, image, &err), 0, "byte %zu", at);
        cr_assert_eq(io_write_exact(undo.file, at, &log[at], 1), 0);
    }
    cr_expect(!is_as_before());
    cr_expect_eq(undo_apply(undo.file, image, &err), 0, "%s", err.text);
}

Test(undo, of_a_repair_that_was_cut_restores_what_was_overwritten)
{
    struct qimg_error err;
    uint8_t ones[50];

    memset(ones, 1, sizeof(ones));
    overwrite(4096, 1, 50);
    const uint64_t whole = undo.used;
    overwrite(9000, 2, 30);
    /* The power went while the second record was written: nothing at 9000 had been touched. */
    for (uint64_t cut = undo.used - 1; cut >= whole; cut--) {
        cr_assert_eq(io_write_exact(image, 9000, before + 9000, 30), 0);
        cr_assert_eq(io_write_exact(image, 4096, ones, sizeof(ones)), 0);
        cr_assert_eq(io_truncate(undo.file, cut), 0);
        cr_expect_eq(undo_apply(undo.file, image, &err), 0, "%s", err.text);
        cr_expect(is_as_before());
    }
}

Test(undo, says_what_is_no_undo_file)
{
    struct qimg_error err;

    cr_expect_eq(undo_apply(undo.file, image, &err), -EBADMSG);
    cr_expect_str_eq(err.text, "not an undo file");
    cr_assert_eq(io_write_exact(undo.file, 0, "QIMGUNDO\0\0\0\2xxxxxxxxxxxxxxxx", 28), 0);
    cr_expect_eq(undo_apply(undo.file, image, &err), -ENOTSUP, "%s", err.text);
}

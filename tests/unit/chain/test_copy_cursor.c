/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "copy.h"
#include "sim_rig.h"

#define BLOCK 4096u

Test(copy_cursor, walks_to_the_end_and_pads_with_nothing)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct copy_cursor cursor;
    struct qimg_error err;
    struct run run;

    sim_rig_raw(rig, "a", "ab..c");
    struct qimg_image *image = sim_rig_open(rig, "a", NULL);
    copy_cursor_init(&cursor, image, 7 * BLOCK);

    cr_assert_eq(copy_cursor_peek(&cursor, &run, &err), 0);
    cr_expect(run.kind == RUN_DATA && run.guest_off == 0 && run.len == 2 * BLOCK);
    copy_cursor_advance(&cursor, BLOCK);
    cr_assert_eq(copy_cursor_peek(&cursor, &run, &err), 0);
    cr_expect(run.kind == RUN_DATA && run.guest_off == BLOCK && run.len == BLOCK);
    cr_expect_eq(run.host_off, BLOCK);
    copy_cursor_advance(&cursor, BLOCK);
    cr_assert_eq(copy_cursor_peek(&cursor, &run, &err), 0);
    cr_expect(run.kind == RUN_ZERO && run.len == 2 * BLOCK);
    copy_cursor_advance(&cursor, 3 * BLOCK);
    cr_assert_eq(copy_cursor_peek(&cursor, &run, &err), 0);
    cr_expect(run.kind == RUN_UNALLOCATED && run.guest_off == 5 * BLOCK);
    cr_expect_eq(run.len, 2 * BLOCK);
    copy_cursor_advance(&cursor, 2 * BLOCK);
    cr_expect_eq(cursor.at, cursor.end);
    qimg_image_close(image);
    sim_rig_free(rig);
}

Test(copy_cursor, more_runs_than_fit_one_look_up)
{
    char pattern[401] = "";
    struct sim_rig *rig = sim_rig_new(NULL);
    struct copy_cursor cursor;
    struct qimg_error err;
    unsigned runs = 0;

    for (size_t i = 0; i < 400; i++)
        pattern[i] = i % 2 ? '.' : 'a';
    sim_rig_raw(rig, "a", pattern);
    struct qimg_image *image = sim_rig_open(rig, "a", NULL);
    copy_cursor_init(&cursor, image, image->size);
    while (cursor.at < cursor.end) {
        struct run run;
        cr_assert_eq(copy_cursor_peek(&cursor, &run, &err), 0);
        cr_expect_eq(run.kind, runs % 2 ? RUN_ZERO : RUN_DATA);
        cr_expect_eq(run.guest_off, runs * BLOCK);
        copy_cursor_advance(&cursor, run.len);
        runs++;
    }
    cr_expect_eq(runs, 400);
    qimg_image_close(image);
    sim_rig_free(rig);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/vfs.h>

#include "engines.h"

#define LEN ((size_t)1 << 20)

static uint64_t reserves(const struct rig *rig)
{
    return atomic_load(&rig->engine->stats.reserves);
}

static bool gains(const struct rig *rig)
{
    struct statfs fs;

    return !rig->c->simulated && !rig->c->direct && statfs(rig->dir, &fs) == 0 &&
           fs.f_type == EXT4_SUPER_MAGIC;
}

Test(reserve, neither_size_nor_bytes_change_and_ext4_has_the_storage)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        uint8_t *bytes = malloc(LEN), *again = malloc(LEN);
        struct io_stat st;

        struct io_file *file = rig_create(&rig, "a");
        fill_pattern(bytes, LEN, 3);
        cr_assert_eq(io_write_exact(file, 0, bytes, LEN), 0);
        cr_assert_eq(io_sync(file), 0);
        io_reserve(file, (struct qimg_range){ LEN / 2, LEN });
        cr_assert_eq(io_stat(file, &st), 0);
        cr_expect_eq(st.size, LEN, "%s", rig.c->name);
        cr_expect_eq(reserves(&rig), gains(&rig), "%s", rig.c->name);
        if (gains(&rig))
            cr_expect_geq(st.allocated, LEN + LEN / 2);
        cr_assert_eq(io_read_exact(file, 0, again, LEN, NULL), 0);
        cr_expect_arr_eq(again, bytes, LEN);
        io_file_close(file);
        free(bytes);
        free(again);
    }
}

Test(reserve, a_short_range_and_one_past_all_files_are_not_worth_a_call)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_stat st;
        struct io_file *file = rig_create(&rig, "a");

        io_reserve(file, (struct qimg_range){ 0, IO_RESERVE_MIN - 1 });
        io_reserve(file, (struct qimg_range){ INT64_MAX, LEN });
        cr_expect_eq(reserves(&rig), 0, "%s", rig.c->name);
        cr_assert_eq(io_stat(file, &st), 0);
        cr_expect_eq(st.allocated, 0, "%s", rig.c->name);
        io_file_close(file);
    }
}

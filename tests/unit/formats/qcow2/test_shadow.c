/* SPDX-License-Identifier: Apache-2.0
 *
 * The shadow's promises where there is no room, where the counts lie, and about what it leaves
 * alone. That crashes leave old or new is asked of every verb: test_snapshot_write.c and others.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "shadow.h"
#include "verb_rig.h"

Test(qcow2_shadow, a_full_disk_is_said_and_leaves_the_image_as_long_as_it_was)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    const uint64_t size = io_sim_size(engine, "disk");
    AUTO_FREE char *before = verb_state(engine);
    struct qimg_error err;

    for (uint64_t n = 1; n < 40; n++) {
        io_sim_fault(engine, io_sim_operations(engine) + n, IO_SIM_ENOSPC, false);
        const int rc = verb_run(engine, verb_snapshot_one, &err);
        io_sim_fault(engine, 0, IO_SIM_ENOSPC, false);
        if (rc == 0)
            break;
        cr_expect_eq(rc, -ENOSPC, "%lu: %s", (unsigned long)n, err.text);
        cr_expect_str_eq(err.text, "No space left on device");
        AUTO_FREE char *after = verb_state(engine);
        cr_expect_str_eq(before, after, "%lu", (unsigned long)n);
        cr_expect_eq(io_sim_size(engine, "disk"), size, "%lu", (unsigned long)n);
    }
    io_engine_free(engine);
}

/* Sets the count of the cluster at @host_off to 0 behind the image's back. */
static void lose_count(struct io_engine *engine, uint64_t host_off)
{
    const struct io_open_options how = { .writable = true };
    uint8_t raw[8], zero[2] = { 0 };
    struct io_file *file;

    cr_assert(io_sim_get(engine, "disk", 48, raw, 8));
    cr_assert(io_sim_get(engine, "disk", load_be64(raw), raw, 8));
    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    cr_assert_eq(io_write_exact(file, load_be64(raw) + host_off / 65536 * 2, zero, 2), 0);
    io_file_close(file);
}

Test(qcow2_shadow, clusters_in_use_that_nobody_counts_stop_it)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    AUTO_FREE char *before = verb_state(engine);
    struct qimg_error err;
    uint8_t raw[8];

    cr_assert(io_sim_get(engine, "disk", 40, raw, 8));
    cr_assert(io_sim_get(engine, "disk", load_be64(raw), raw, 8));
    lose_count(engine, load_be64(raw) & QCOW2_OFFSET_MASK);
    cr_expect_eq(verb_run(engine, verb_snapshot_one, &err), -EBADMSG);
    cr_expect_str_eq(err.text, "a cluster is in use, but its refcount is 0");
    cr_expect_not_null(strstr(err.hint, "check -r all"));
    AUTO_FREE char *after = verb_state(engine);
    cr_expect_str_eq(before, after);
    io_engine_free(engine);
}

Test(qcow2_shadow, bytes_behind_what_is_counted_are_neither_cut_off_nor_used)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    const uint64_t size = align_up(io_sim_size(engine, "disk"), 65536);
    const struct io_open_options how = { .writable = true };
    struct qimg_error err;
    struct io_file *file;
    char back[4];

    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    cr_assert_eq(io_write_exact(file, size + 4096, "mine", 4), 0);
    io_file_close(file);
    cr_assert_eq(verb_run(engine, verb_snapshot_one, &err), 0, "%s", err.text);
    cr_assert(io_sim_get(engine, "disk", size + 4096, back, 4));
    cr_expect_eq(memcmp(back, "mine", 4), 0);
    io_engine_free(engine);
}

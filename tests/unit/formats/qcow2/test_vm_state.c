/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the VM state lies, and the longer L1 table that it may need.
 * What is read and written there is compared with QEMU in tests/compat/test_io_vm_state.py.
 */
#include <criterion/criterion.h>

#include "verb_rig.h"

static struct qimg_range asked;
static bool room;
static uint64_t shown, placed;

static int show(struct image *image, struct qimg_error *err)
{
    const uint64_t disk = image->size;
    const int rc = image->ops->admin->vm_state(image, asked, room, &placed, err);

    shown = image->size;
    image->size = disk;
    return rc;
}

Test(qcow2_vm_state, it_begins_with_a_table_of_its_own_and_ends_with_a_cluster)
{
    for (size_t i = 0; i < verb_layout_count; i++) {
        const struct verb_layout *l = &verb_layouts[i];
        const uint64_t coverage =
            (uint64_t)l->cluster_size * l->cluster_size / (l->extended_l2 ? 16 : 8);
        struct io_engine *engine = verb_image(l);
        struct qimg_error err;

        asked = (struct qimg_range){ 3 * coverage + 100, 7 };
        room = i % 2;
        cr_assert_eq(verb_run(engine, show, &err), 0, "%s: %s", l->title, err.text);
        cr_expect_eq(placed % coverage, 100u, "%s", l->title);
        cr_expect_geq(placed, l->size + asked.off, "%s", l->title);
        cr_expect_lt(placed, l->size + asked.off + coverage, "%s", l->title);
        cr_expect_eq(shown, placed - 100 + l->cluster_size, "%s", l->title);
        verb_expect_sound(engine, l->title, false);
        io_engine_free(engine);
    }
}

/* By a shadow, whose crash states are those of any verb. */
Test(qcow2_vm_state, room_is_made_for_who_writes)
{
    for (size_t i = 0; i < verb_layout_count; i++) {
        struct io_engine *engine = verb_image(&verb_layouts[i]);
        const uint32_t cluster = verb_layouts[i].cluster_size;
        const uint64_t tables = 3 * (UINT64_C(1) << 30) / cluster / (cluster / 8);
        struct qimg_error err;
        uint8_t count[2][4];

        asked = (struct qimg_range){ UINT64_C(3) << 30, 512 };
        room = false;
        cr_assert_eq(verb_run(engine, show, &err), 0, "%s", err.text);
        cr_assert(io_sim_get(engine, "disk", 36, count[0], 4));
        room = true;
        cr_assert_eq(verb_run(engine, show, &err), 0, "%s", err.text);
        cr_assert(io_sim_get(engine, "disk", 36, count[1], 4));
        cr_expect_lt(load_be32(count[0]), tables, "%s", verb_layouts[i].title);
        cr_expect_gt(load_be32(count[1]), tables, "%s", verb_layouts[i].title);
        verb_expect_sound(engine, verb_layouts[i].title, false);
        io_engine_free(engine);
    }
}

Test(qcow2_vm_state, what_no_image_can_hold_is_refused_and_changes_nothing)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    struct qimg_error err;
    size_t before, after;

    room = true;
    asked = (struct qimg_range){ UINT64_MAX - 511, 512 };
    cr_expect_eq(verb_run(engine, show, &err), -EIO);
    asked = (struct qimg_range){ INT64_MAX - 511, 512 };
    cr_expect_eq(verb_run(engine, show, &err), -EIO);
    (void)io_sim_log(engine, &before);
    asked = (struct qimg_range){ INT64_MAX / 2, 512 };
    cr_expect_eq(verb_run(engine, show, &err), -EFBIG);
    cr_expect_str_eq(err.text, "Failed to grow the L1 table: File too large");
    const struct io_sim_entry *log = io_sim_log(engine, &after);
    for (size_t i = before; i < after; i++)
        cr_expect_neq(log[i].op, IO_SIM_WRITE, "operation %zu", i);
    io_engine_free(engine);
}

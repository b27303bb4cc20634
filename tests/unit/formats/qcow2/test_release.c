/* SPDX-License-Identifier: Apache-2.0
 *
 * What a cluster that lost its last reference waits for before it is used again.
 */
#include <criterion/criterion.h>

#include "guest_rig.h"

Test(qcow2_release, a_cluster_is_used_again_only_when_its_release_is_durable)
{
    struct io_engine *engine;
    const struct walk_layout l = plain_layout(4096, 16);
    struct guest g = fresh_guest(&l, &engine);
    struct qcow2 *q = qcow2_of(g.image);
    uint64_t off, other;

    cr_assert_eq(clusters_alloc(q, 1, &off), 0);
    cr_assert_eq(guest_flush(&g), 0);
    cr_assert_eq(clusters_unref(q, cluster_range(q, off), 0, RELEASE_KEEP), 0);
    cr_expect_eq(count_at(q, off), 0, "as seen by who asks");
    cr_assert_eq(clusters_alloc(q, 1, &other), 0);
    cr_expect_neq(other, off);
    cr_assert_eq(guest_flush(&g), 0);
    cr_assert_eq(clusters_alloc(q, 1, &other), 0);
    cr_expect_neq(other, off, "unlinked on disk, and still counted");
    cr_assert_eq(guest_flush(&g), 0);
    cr_assert_eq(clusters_alloc(q, 1, &other), 0);
    cr_expect_eq(other, off);
    guest_drop(&g);
    io_engine_free(engine);
}

static uint64_t stamps;
static bool reading;

static uint64_t give_stamp(void *user)
{
    (void)user;
    return ++stamps;
}

static bool has_passed(void *user, uint64_t stamp)
{
    (void)user;
    return stamp > 0 && !reading;
}

Test(qcow2_release, a_read_under_way_keeps_clusters_from_being_used_again)
{
    static const struct read_pins pins = { .stamp = give_stamp, .passed = has_passed };
    struct io_engine *engine;
    const struct walk_layout l = plain_layout(4096, 16);
    struct guest g = fresh_guest(&l, &engine);
    struct qcow2 *q = qcow2_of(g.image);
    uint64_t off, other;

    g.image->pins = &pins;
    reading = true;
    cr_assert_eq(clusters_alloc(q, 1, &off), 0);
    cr_assert_eq(clusters_unref(q, cluster_range(q, off), 0, RELEASE_PUNCH), 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(guest_flush(&g), 0);
    cr_assert_eq(clusters_alloc(q, 1, &other), 0);
    cr_expect_neq(other, off);
    reading = false;
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 512 }, 1), 0);
    cr_assert_eq(guest_flush(&g), 0);
    cr_assert_eq(clusters_alloc(q, 1, &other), 0);
    cr_expect_eq(other, off);
    guest_drop(&g);
    io_engine_free(engine);
}

Test(qcow2_release, discarded_space_goes_back_to_the_file_system)
{
    struct io_engine *engine;
    const struct walk_layout l = plain_layout(4096, 16);
    struct guest g = fresh_guest(&l, &engine);
    uint64_t punched = 0;
    size_t count;

    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 65536 }, 1), 0);
    cr_assert_eq(guest_discard(&g, (struct qimg_range){ 0, 65536 }), 0);
    cr_assert_eq(guest_close(&g), 0);
    const struct io_sim_entry *log = io_sim_log(engine, &count);
    for (size_t i = 0; i < count; i++)
        punched += log[i].op == IO_SIM_PUNCH ? log[i].len : 0;
    cr_expect_eq(punched, 65536);
    io_engine_free(engine);
}

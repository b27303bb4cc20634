/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed clusters: one behind the other, counted in every host cluster they touch, never over
 * what is there.
 */
#include <criterion/criterion.h>

#include "guest_rig.h"

static struct guest open_fresh(unsigned refcount_bits, bool data_file, struct io_engine **engine)
{
    const struct walk_layout l = { .title = "packed",
                                   .size = 2 * MiB,
                                   .spec = { .version = 3,
                                             .cluster_size = 65536,
                                             .refcount_bits = refcount_bits,
                                             .data_file_name = data_file ? "data" : NULL } };

    return fresh_guest(&l, engine);
}

static struct qcow2_cluster cluster_at(struct guest *g, uint64_t off)
{
    struct cluster_view v;

    cr_assert_eq(view_cluster(qcow2_of(g->image), off, &v), 0);
    cr_assert_eq(v.cluster.kind, QCOW2_KIND_COMPRESSED);
    return v.cluster;
}

Test(qcow2_packed_write, clusters_lie_one_behind_the_other)
{
    struct io_engine *engine;
    struct guest g = open_fresh(16, false, &engine);
    struct qcow2 *q = qcow2_of(g.image);

    cr_assert_eq(guest_write_packed(&g, 0, 1), 0);
    cr_assert_eq(guest_write_packed(&g, 65536, 2), 0);
    const struct qcow2_cluster a = cluster_at(&g, 0), b = cluster_at(&g, 65536);
    cr_expect_lt(b.host_off - a.host_off, a.packed_len + 1);
    cr_expect_gt(b.host_off, a.host_off);
    cr_expect_eq(count_at(q, a.host_off), 2);
    finish_guest(&g, engine);
}

Test(qcow2_packed_write, a_count_at_its_maximum_opens_a_fresh_cluster)
{
    struct io_engine *engine;
    struct guest g = open_fresh(1, false, &engine);

    cr_assert_eq(guest_write_packed(&g, 0, 1), 0);
    cr_assert_eq(guest_write_packed(&g, 65536, 2), 0);
    cr_expect_eq(cluster_at(&g, 65536).host_off % 65536, 0);
    finish_guest(&g, engine);
}

Test(qcow2_packed_write, what_has_space_is_never_packed_over)
{
    struct io_engine *engine;
    struct guest g = open_fresh(16, false, &engine);

    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 512 }, 1), 0);
    cr_expect_eq(guest_write_packed(&g, 0, 1), -EIO);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 0, 65536 }, 0), 0);
    cr_expect_eq(guest_write_packed(&g, 0, 1), -EIO, "reserved zeros are space");
    cr_assert_eq(guest_write_packed(&g, 65536, 1), 0);
    cr_expect_eq(guest_write_packed(&g, 65536, 2), -EIO);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 131072, 65536 }, 0), 0);
    cr_expect_eq(guest_write_packed(&g, 131072, 1), 0, "zeros without space are not");
    finish_guest(&g, engine);
}

Test(qcow2_packed_write, a_write_into_a_packed_cluster_unpacks_it_and_frees_its_place)
{
    struct io_engine *engine;
    struct guest g = open_fresh(16, false, &engine);
    struct qcow2 *q = qcow2_of(g.image);

    cr_assert_eq(guest_write_packed(&g, 0, 1), 0);
    cr_assert_eq(guest_write_packed(&g, 65536, 2), 0);
    const uint64_t place = cluster_at(&g, 0).host_off;
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 1024, 512 }, 9), 0);
    cr_expect_eq(count_at(q, place), 1);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 65536, 512 }, 9), 0);
    cr_expect_eq(count_at(q, place), 0);
    finish_guest(&g, engine);
}

Test(qcow2_packed_write, images_with_a_data_file_have_none)
{
    struct io_engine *engine;
    struct guest g = open_fresh(16, true, &engine);

    cr_expect_not(g.image->packs);
    cr_expect_eq(guest_write_packed(&g, 0, 1), -ENOTSUP);
    finish_guest(&g, engine);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of an image being written: made, found, shared ones copied, L1 moved; bad ones refused.
 */
#include <criterion/criterion.h>

#include "guest_rig.h"

static const struct walk_layout layout = {
    .title = "tables",
    .size = 3 * MiB, /* 2 L2 tables */
    .spec = { .version = 3, .cluster_size = 4096, .refcount_bits = 16 },
};

Test(qcow2_l2_write, a_shared_table_is_copied_before_it_is_changed)
{
    struct io_engine *engine;
    struct guest g = fresh_guest(&layout, &engine);
    struct qcow2 *q = qcow2_of(g.image);
    struct qcow2_l2_entry e;

    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 8192 }, 1), 0);
    const uint64_t old = q->l1[0] & QCOW2_OFFSET_MASK;
    cr_assert_eq(clusters_ref(q, (struct qimg_range){ old, 4096 }), 0);
    q->l1[0] &= ~QCOW2_COPIED;
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 4096, 4096 }, 0), 0);
    cr_expect_neq(q->l1[0], old | QCOW2_COPIED);
    cr_expect(q->l1[0] & QCOW2_COPIED);
    cr_expect_eq(count_at(q, old), 1);
    cr_assert_eq(l2_entry_get(q, 0, &e), 0);
    cr_expect_neq(e.word, 0, "the copy has the other entries");
    cr_assert_eq(clusters_unref(q, (struct qimg_range){ old, 4096 }, META_KIND_L2, RELEASE_KEEP),
                 0);
    finish_guest(&g, engine);
}

Test(qcow2_l2_write, L1_moves_when_it_grows)
{
    struct io_engine *engine;
    struct guest g = fresh_guest(&layout, &engine);
    struct qcow2 *q = qcow2_of(g.image);
    const uint64_t old = q->header.l1_off;

    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 512 }, 1), 0);
    cr_assert_eq(l1_grow(q, 1000), 0);
    cr_expect_neq(q->header.l1_off, old);
    cr_expect_eq(q->header.l1_count, 1000);
    cr_expect_eq(count_at(q, old), 0);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 2 * MiB, 512 }, 2), 0);
    cr_expect_eq(l1_grow(q, UINT64_C(5) << 20), -EFBIG);
    finish_guest(&g, engine);
}

Test(qcow2_l2_write, an_unaligned_table_marks_the_image_corrupt)
{
    struct io_engine *engine;
    struct guest g = fresh_guest(&layout, &engine);
    struct qcow2 *q = qcow2_of(g.image);

    q->l1[0] = 0x10200 | QCOW2_COPIED;
    cr_expect_eq(guest_write(&g, (struct qimg_range){ 0, 512 }, 1), -EIO);
    cr_expect(q->header.incompatible & QCOW2_INCOMPAT_CORRUPT);
    guest_drop(&g);
    io_engine_free(engine);
}

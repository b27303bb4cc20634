/* SPDX-License-Identifier: Apache-2.0
 *
 * No write ever lands on metadata of another kind; the image that asked for it is marked corrupt.
 */
#include <criterion/criterion.h>

#include "guest_rig.h"

static const struct walk_layout plain = {
    .title = "plain",
    .size = MiB,
    .spec = { .version = 3, .cluster_size = 4096, .refcount_bits = 16 },
};

Test(qcow2_overlap, a_write_onto_metadata_is_refused_and_marks_the_image_corrupt)
{
    struct io_engine *engine;
    struct guest g = fresh_guest(&plain, &engine);
    struct qcow2 *q = qcow2_of(g.image);
    uint8_t bits[8];

    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 4096 }, 1), 0);
    const struct qcow2_l2_entry onto_l1 = { q->header.l1_off | QCOW2_COPIED, 0 };
    cr_assert_eq(l2_entry_set(q, 4096, onto_l1), 0);
    cr_expect_eq(guest_write(&g, (struct qimg_range){ 4096, 512 }, 2), -EIO);
    cr_expect_str_eq(g.err.text,
                     "qcow2: Marking image as corrupt: Preventing invalid write on metadata "
                     "(overlaps with active L1 table); further corruption events will be "
                     "suppressed");
    cr_expect_eq(guest_write(&g, (struct qimg_range){ 0, 512 }, 2), -EIO, "nothing goes any more");
    cr_expect_eq(guest_close(&g), -EIO);
    cr_assert(io_sim_get(engine, "disk", 72, bits, 8));
    cr_expect_eq(load_be64(bits), QCOW2_INCOMPAT_CORRUPT);
    cr_expect_eq(walk_open(&g, &plain, engine), -EACCES);
    io_engine_free(engine);
}

Test(qcow2_overlap, each_kind_of_metadata_is_guarded)
{
    struct io_engine *engine;
    struct guest g = fresh_guest(&plain, &engine);
    struct qcow2 *q = qcow2_of(g.image);

    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 4096 }, 1), 0);
    const uint64_t places[] = { 0, q->header.l1_off, q->header.reftable_off, q->meta->reftable[0],
                                q->l1[0] & QCOW2_OFFSET_MASK };
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        cr_expect_eq(overlap_check(q, (struct qimg_range){ places[i] + 4095, 1 }, 0), -EIO,
                     "place %zu", i);
        q->meta->failed = 0; /* next one */
        cr_expect_eq(overlap_check(q, (struct qimg_range){ places[i] + 4096 - 512, 512 },
                                   META_KIND_HEADER | META_KIND_L1 | META_KIND_REFTABLE |
                                       META_KIND_REFBLOCK | META_KIND_L2),
                     0, "place %zu", i);
    }
    guest_drop(&g);
    io_engine_free(engine);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * No write ever lands on metadata of another kind; the image that asked for it is marked corrupt.
 */
#include <criterion/criterion.h>
#include <inttypes.h>

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

static void expect_guarded(struct qcow2 *q, uint64_t off, bool guarded)
{
    const char *const words = "overlaps with inactive L1 table";

    cr_expect_eq(overlap_check(q, (struct qimg_range){ off, 512 }, 0), guarded ? -EIO : 0,
                 "offset %" PRIx64, off);
    cr_expect_eq(strstr(q->meta->corruption, words) != NULL, guarded, "%s", q->meta->corruption);
    q->meta->failed = 0; /* next one */
    q->meta->corruption[0] = '\0';
}

/* Nobody has looked at them when the image is opened; the last claims 32 GiB each, and the end of
 * one would be behind 2^64. */
Test(qcow2_overlap, tables_of_snapshots_are_guarded_whatever_they_claim)
{
    static const struct qcow2_snapshot claims[] = {
        { .l1_off = MiB, .l1_count = 512 },
        { .l1_off = MiB + 4096, .l1_count = 513 },
        { .l1_off = GiB, .l1_count = UINT32_MAX },
        { .l1_off = GiB + 4096, .l1_count = UINT32_MAX },
        { .l1_off = UINT64_MAX - 4095, .l1_count = UINT32_MAX },
    };
    struct io_engine *engine;
    struct guest g = fresh_guest(&plain, &engine);
    struct qcow2 *q = qcow2_of(g.image);

    overlap_close(q->meta);
    q->meta->overlaps = (struct overlap_map){ 0 };
    for (size_t i = 0; i < ARRAY_COUNT(claims); i++)
        cr_assert_eq(qcow2_snapshot_vec_push(&q->snapshots, claims[i]), 0);
    cr_assert_eq(overlap_open(q), 0);
    q->snapshots.count = 0;
    expect_guarded(q, MiB - 512, false);
    expect_guarded(q, MiB, true);
    expect_guarded(q, MiB + 3 * 4096 - 512, true);
    expect_guarded(q, MiB + 3 * 4096, false);
    expect_guarded(q, GiB - 512, false);
    expect_guarded(q, 33 * GiB - 512, true);
    expect_guarded(q, 33 * GiB + 4096, false);
    guest_drop(&g);
    io_engine_free(engine);
}

/* As an image may have them: each L2 table far from the next. */
Test(qcow2_overlap, tables_far_apart_cost_no_more_than_neighbours)
{
    const uint64_t far = GiB, count = 300000;
    struct io_engine *engine;
    struct guest g = fresh_guest(&plain, &engine);
    struct qcow2 *q = qcow2_of(g.image);

    for (uint64_t i = 1; i <= count; i++)
        cr_assert_eq(overlap_note(q, (struct qimg_range){ i * far, 4096 }, META_KIND_L2), 0);
    cr_expect_leq(sizeof(*q->meta->overlaps.slots) << q->meta->overlaps.slot_bits, 32 * MiB);
    for (uint64_t i = 1; i <= count; i++) {
        cr_assert_eq(overlap_check(q, (struct qimg_range){ i * far + 4096, 4096 }, 0), 0);
        cr_assert_eq(overlap_check(q, (struct qimg_range){ i * far, 1 }, META_KIND_L2), 0);
        cr_assert_eq(overlap_check(q, (struct qimg_range){ i * far + 4095, 1 }, 0), -EIO);
        q->meta->failed = 0; /* next one */
        overlap_forget(q, (struct qimg_range){ i * far, 4096 });
        cr_assert_eq(overlap_check(q, (struct qimg_range){ i * far, 4096 }, 0), 0);
    }
    guest_drop(&g);
    io_engine_free(engine);
}

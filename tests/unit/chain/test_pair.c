/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "build_qcow2.h"
#include "pair.h"
#include "sim_rig.h"

#define BLOCK 4096u

/* An overlay of "base" (raw) with 4 KiB clusters, those of @own filled. */
static void put_overlay(struct sim_rig *rig, const char *name, uint64_t blocks,
                        const struct build_cluster *own, size_t own_count)
{
    static const struct build_extension format = { .type = 0xe2792aca, .data = "raw", .len = 3 };
    struct built built = build_qcow2(&(struct build_qcow2){ .size = blocks * BLOCK,
                                                            .cluster_bits = 12,
                                                            .backing_name = "base",
                                                            .extensions = &format,
                                                            .extension_count = 1,
                                                            .clusters = own,
                                                            .cluster_count = own_count });
    cr_assert_eq(io_sim_put(rig->engine, name, built.bytes, built.len, built.len), 0);
    built_release(&built);
}

/* One letter a step of the walk: '=' proved equal, '?' open; and the blocks it is long. */
static void expect_walk(struct qimg_image *a, struct qimg_image *b, const char *want)
{
    const uint64_t end = a->size > b->size ? a->size : b->size;
    struct pair_cursor cursor;
    char seen[64] = "";

    pair_cursor_init(&cursor, a, b, end);
    while (!pair_cursor_at_end(&cursor)) {
        struct qimg_error err;
        struct run run[2];
        unsigned failed;
        cr_assert_eq(pair_cursor_peek(&cursor, run, &failed, &err), 0, "%s", err.text);
        const uint64_t len = pair_clip(run);
        cr_assert_eq(run[0].len, len);
        cr_assert_eq(run[1].len, len);
        cr_assert_eq(run[0].guest_off, pair_cursor_at(&cursor));
        cr_assert_eq(run[1].guest_off, pair_cursor_at(&cursor));
        char step[24];
        (void)snprintf(step, sizeof(step), "%c%lu", pair_proved_equal(a, b, run) ? '=' : '?',
                       (unsigned long)(len / BLOCK));
        strncat(seen, step, sizeof(seen) - strlen(seen) - 1);
        pair_cursor_advance(&cursor, len);
    }
    cr_expect_str_eq(seen, want);
}

Test(pair, siblings_are_equal_where_both_fall_through_to_their_ancestor)
{
    static const struct build_cluster own_a = { .index = 1, .kind = BUILD_DATA, .fill = 'x' };
    static const struct build_cluster own_b[] = {
        { .index = 3, .kind = BUILD_ZERO },
        { .index = 5, .kind = BUILD_ZERO },
    };
    struct sim_rig *rig = sim_rig_new(NULL);

    sim_rig_raw(rig, "base", "abcde.");
    put_overlay(rig, "a", 6, &own_a, 1);
    put_overlay(rig, "b", 6, own_b, 2);
    struct qimg_image *a = sim_rig_open(rig, "a", "qcow2"), *b = sim_rig_open(rig, "b", "qcow2");
    expect_walk(a, b, "=1?1=1?1=1=1");
    expect_walk(b, b, "=3=1=1=1");
    qimg_image_close(a);
    qimg_image_close(b);
    sim_rig_free(rig);
}

Test(pair, the_same_bytes_of_two_files_prove_nothing)
{
    struct sim_rig *rig = sim_rig_new(NULL);

    sim_rig_raw(rig, "a", "ab.");
    sim_rig_raw(rig, "b", "ab..");
    struct qimg_image *a = sim_rig_open(rig, "a", NULL), *b = sim_rig_open(rig, "b", NULL);
    expect_walk(a, b, "?2=1=1");
    expect_walk(a, a, "=2=1");
    qimg_image_close(a);
    qimg_image_close(b);
    sim_rig_free(rig);
}

Test(pair, the_side_that_cannot_be_mapped_is_named)
{
    static const struct build_cluster wrong = { .kind = BUILD_WORD,
                                                .word = UINT64_C(1) << 63 | 0x50200 };
    struct sim_rig *rig = sim_rig_new(NULL);
    struct pair_cursor cursor;
    struct qimg_error err;
    struct run run[2];
    unsigned failed;

    sim_rig_raw(rig, "base", "a");
    put_overlay(rig, "bad", 1, &wrong, 1);
    struct qimg_image *good = sim_rig_open(rig, "base", NULL);
    struct qimg_image *bad = sim_rig_open(rig, "bad", "qcow2");
    pair_cursor_init(&cursor, good, bad, BLOCK);
    cr_expect_eq(pair_cursor_peek(&cursor, run, &failed, &err), -EIO);
    cr_expect_eq(failed, 1);
    pair_cursor_init(&cursor, bad, good, BLOCK);
    cr_expect_eq(pair_cursor_peek(&cursor, run, &failed, &err), -EIO);
    cr_expect_eq(failed, 0);
    qimg_image_close(good);
    qimg_image_close(bad);
    sim_rig_free(rig);
}

Test(pair, a_batch_keeps_the_sides_in_step_and_ends_when_it_is_full)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    uint8_t buf[4 * BLOCK];
    struct copy_job job = { .slot_size = sizeof(buf) };
    struct copy_slot slot = { .job = &job, .buf = buf };
    struct pair_batch batch = { 0 };
    struct run run[2] = {
        { .guest_off = 8 * BLOCK, .len = BLOCK, .kind = RUN_DATA },
        { .guest_off = 8 * BLOCK, .len = BLOCK, .kind = RUN_ZERO, .host_off = QIMG_NO_OFFSET },
    };

    sim_rig_raw(rig, "a", "a");
    struct qimg_image *a = sim_rig_open(rig, "a", NULL);
    cr_expect_eq(pair_batch_room(&batch, &slot, run), BLOCK);
    cr_assert_eq(pair_batch_add(&batch, &slot, run, BLOCK), 0);
    run[0].len = run[1].len = 5 * BLOCK;
    run[1].kind = RUN_DATA;
    cr_expect_eq(pair_batch_room(&batch, &slot, run), BLOCK);
    run[1].kind = RUN_COMPRESSED;
    cr_expect_eq(pair_batch_room(&batch, &slot, run), 0, "a packed cluster is kept whole");
    run[1].kind = RUN_DATA;
    cr_assert_eq(pair_batch_add(&batch, &slot, run, BLOCK), 0);
    cr_expect_eq(pair_batch_room(&batch, &slot, run), 0);

    const struct pair *pairs = batch.pairs.items;
    cr_expect(pairs[0].bytes[0] == buf && !pairs[0].bytes[1]);
    cr_expect(pairs[1].bytes[0] == buf + BLOCK && pairs[1].bytes[1] == buf + 3 * BLOCK);
    cr_assert_eq(pair_batch_fetch(&batch, &slot, (struct qimg_image *[2]){ a, a }), 0);
    cr_expect_eq(slot.pieces.count, 3);
    cr_expect_eq(slot.work, 2 * BLOCK);

    memset(buf, 0, sizeof(buf));
    cr_expect(pair_equal(&pairs[0], 0, BLOCK) && pair_equal(&pairs[1], 0, BLOCK));
    buf[BLOCK - 1] = buf[2 * BLOCK - 1] = 1;
    cr_expect(!pair_equal(&pairs[0], 0, BLOCK) && !pair_equal(&pairs[1], 0, BLOCK));
    cr_expect(pair_equal(&pairs[0], 0, BLOCK - 512) && !pair_equal(&pairs[1], BLOCK - 512, 512));
    pair_batch_clear(&batch);
    cr_expect_eq(pair_batch_room(&batch, &slot, run), 2 * BLOCK);
    copy_piece_vec_release(&slot.pieces);
    pair_batch_release(&batch);
    qimg_image_close(a);
    sim_rig_free(rig);
}

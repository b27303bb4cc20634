/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of bitmaps, written and read back.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap_bits.h"
#include "bitmap_rig.h"
#include "bitmap_verbs.h"
#include "bits.h"
#include "qcow2_guest.h"
#include "qcow2_verify.h"

static void expect_text(struct io_engine *engine, const char *want)
{
    char *text = bitmap_text(engine);

    cr_expect_str_eq(text, want);
    free(text);
}

static bool same_lists(const struct qcow2_bitmap_vec *a, const struct qcow2_bitmap_vec *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->items[i].name, b->items[i].name) == 0 &&
               a->items[i].table_off == b->items[i].table_off &&
               a->items[i].table_count == b->items[i].table_count &&
               a->items[i].flags == b->items[i].flags &&
               a->items[i].granularity_bits == b->items[i].granularity_bits;
    return same;
}

Test(qcow2_bitmap_store, names_of_every_length_and_the_open_image_agree_with_the_disk)
{
    const struct build_qcow2 spec = { .size = MiB, .cluster_bits = 9 };
    struct io_engine *engine = bitmap_machine(&spec);
    struct qimg_error err;
    struct qcow2 *q = bitmap_open(engine, true, &err);
    char name[24];

    for (unsigned len = 1; len <= 20; len++) {
        memset(name, 'a' + (int)len, len);
        name[len] = '\0';
        const struct bitmap_step add = { .verb = BITMAP_ADD, .name = name };
        struct bitmap_request request = { .steps = &add, .count = 1, .shown = "disk" };
        cr_assert_eq(qcow2_change_bitmaps(&q->image, &request, &err), 0, "%s", err.text);
    }
    struct qcow2 *again = bitmap_open(engine, false, &err);
    cr_assert_not_null(again, "%s", err.text);
    cr_expect_eq(again->bitmaps.count, 20);
    cr_expect(same_lists(&q->bitmaps, &again->bitmaps));
    cr_expect_eq(q->extensions.bitmaps.directory_off, again->extensions.bitmaps.directory_off);
    qcow2_ops.close(&again->image);
    qcow2_ops.close(&q->image);
    const struct verdict verdict = qcow2_verify_file(engine, "disk");
    cr_expect_eq(verdict.corruptions + verdict.leaks, 0, "%s", verdict.first);
    io_engine_free(engine);
}

Test(qcow2_bitmap_store, the_directory_has_room_for_65535)
{
    const struct build_qcow2 spec = { .size = MiB };
    const struct bitmap_step add = { .verb = BITMAP_ADD, .name = "one" };
    struct bitmap_request request = { .steps = &add, .count = 1, .shown = "disk" };
    struct io_engine *engine = bitmap_machine(&spec);
    struct qimg_error err;
    struct qcow2 *q = bitmap_open(engine, true, &err);

    for (unsigned i = 0; i < 65535; i++)
        cr_assert_eq(
            qcow2_bitmap_vec_push(&q->bitmaps, (struct qcow2_bitmap){ .name = strdup("n") }), 0);
    cr_expect_lt(qcow2_change_bitmaps(&q->image, &request, &err), 0);
    cr_expect_str_eq(err.text, "Can't make bitmap 'one' persistent in 'disk': Maximum number of "
                               "persistent bitmaps is already reached");
    qcow2_ops.close(&q->image);
    io_engine_free(engine);
}

/* 512-byte clusters: 4096 bits each. */
Test(qcow2_bitmap_store, full_pieces_take_no_clusters_and_unchanged_ones_stay)
{
    static const struct build_bitmap fine = { .name = "fine",
                                              .flags = QCOW2_BITMAP_AUTO,
                                              .granularity_bits = 9 };
    const struct build_qcow2 spec = {
        .size = 5 * MiB, .cluster_bits = 9, .bitmaps = &fine, .bitmap_count = 1
    };
    struct io_engine *engine = bitmap_machine(&spec);
    struct qimg_error err;
    struct guest g;

    cr_assert_eq(guest_open(&g, engine, NULL, 0), 0);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 0, 2 * MiB }, 0), 0);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 2 * MiB, MiB }, 0), 0);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 4 * MiB, MiB }, 0), 0);
    cr_assert_eq(guest_close(&g), 0, "%s", g.err.text);
    expect_text(engine, "fine auto 512: 0-6143 8192-10239\n");

    struct qcow2 *q = bitmap_open(engine, false, &err);
    uint64_t *before, *after;
    cr_assert_eq(bitmap_table_load(q, &q->bitmaps.items[0], &before), 0);
    cr_expect_eq(before[0], BITMAP_ALL_ONES);
    cr_expect_gt(before[1], 512);
    cr_expect_gt(before[2], 512, "the last piece is not full: it is not said to be all ones");
    qcow2_ops.close(&q->image);

    cr_assert_eq(guest_open(&g, engine, NULL, 0), 0);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 2 * MiB + 512 * 3000, 512 }, 1), 0);
    cr_assert_eq(guest_close(&g), 0, "%s", g.err.text);
    q = bitmap_open(engine, false, &err);
    cr_assert_eq(bitmap_table_load(q, &q->bitmaps.items[0], &after), 0);
    cr_expect_eq(after[0], BITMAP_ALL_ONES);
    cr_expect_neq(after[1], before[1]);
    cr_expect_eq(after[2], before[2]);
    qcow2_ops.close(&q->image);
    expect_text(engine, "fine auto 512: 0-6143 7096 8192-10239\n");
    const struct verdict verdict = qcow2_verify_file(engine, "disk");
    cr_expect_eq(verdict.corruptions + verdict.leaks, 0, "%s", verdict.first);
    free(before);
    free(after);
    io_engine_free(engine);
}

Test(qcow2_bitmap_store, of_a_broken_table_nothing_is_given_back)
{
    static const struct build_bitmap off = { .name = "off" };
    struct build_qcow2 spec = { .size = MiB, .bitmaps = &off, .bitmap_count = 1 };
    const struct bitmap_step remove_it = { .verb = BITMAP_REMOVE, .name = "off" };
    struct built built = build_qcow2(&spec);
    uint64_t table = 0;
    struct qimg_error err;

    for (unsigned i = 0; i < 8; i++)
        table = table << 8 | built.bytes[built.bitmap_directory_off + i];
    const struct build_patch patch = { table, 8, 6 };
    spec.patches = &patch;
    spec.patch_count = 1;
    built_release(&built);
    struct io_engine *engine = bitmap_machine(&spec);
    cr_expect_eq(bitmap_do(engine, &remove_it, 1, &err), 0, "%s", err.text);
    expect_text(engine, "no bitmaps\n");
    const struct verdict verdict = qcow2_verify_file(engine, "disk");
    cr_expect_eq(verdict.corruptions, 0, "%s", verdict.first);
    cr_expect_eq(verdict.leaks, 1, "%s", verdict.first);
    io_engine_free(engine);
}

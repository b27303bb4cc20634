/* SPDX-License-Identifier: Apache-2.0
 *
 * Bitmaps while the guest writes: nothing that it wrote is ever missing from a bitmap that says
 * it is valid.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "bitmap_bits.h"
#include "bitmap_rig.h"
#include "bits.h"
#include "meta.h"
#include "qcow2_guest.h"
#include "qcow2_verify.h"
#include "tier.h"

static const struct build_bitmap three[] = {
    { .name = "fine", .flags = QCOW2_BITMAP_AUTO, .granularity_bits = 9 },
    { .name = "coarse", .flags = QCOW2_BITMAP_AUTO },
    { .name = "off", .granularity_bits = 12 },
};
static const struct build_qcow2 spec = { .size = MiB, .bitmaps = three, .bitmap_count = 3 };
static const struct build_qcow2 tiny = {
    .size = MiB, .cluster_bits = 9, .bitmaps = three, .bitmap_count = 3
};

static void expect_text(struct io_engine *engine, const char *want)
{
    char *text = bitmap_text(engine);

    cr_expect_str_eq(text, want);
    free(text);
}

Test(qcow2_bitmap_write, writes_zeros_and_discards_set_bits_in_enabled_bitmaps)
{
    struct io_engine *engine = bitmap_machine(&spec);
    struct guest g;

    cr_assert_eq(guest_open(&g, engine, NULL, 0), 0, "%s", g.err.text);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 512, 512 }, 1), 0);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 65536, 65536 }, 0), 0);
    cr_assert_eq(guest_discard(&g, (struct qimg_range){ 196608, 65536 }), 0);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ MiB - 1, 1 }, 2), 0);
    expect_text(engine, "fine in-use auto 512:\ncoarse in-use auto 65536:\noff 4096:\n");
    cr_assert_eq(guest_close(&g), 0, "%s", g.err.text);
    expect_text(engine, "fine auto 512: 1 128-255 384-511 2047\n"
                        "coarse auto 65536: 0-1 3 15\noff 4096:\n");
    const struct verdict verdict = qcow2_verify_file(engine, "disk");
    cr_expect_eq(verdict.corruptions + verdict.leaks, 0, "%s", verdict.first);
    io_engine_free(engine);
}

static int open_and_close(struct io_engine *engine)
{
    struct guest g;
    int rc = guest_open(&g, engine, NULL, 0);

    return rc < 0 ? rc : guest_close(&g);
}

Test(qcow2_bitmap_write, without_writes_the_file_is_the_same_afterwards)
{
    struct io_engine *engine = bitmap_machine(&spec);
    const uint64_t len = io_sim_size(engine, "disk");
    uint8_t *before = malloc(len), *after = malloc(len);

    cr_assert(io_sim_get(engine, "disk", 0, before, len));
    cr_assert_eq(open_and_close(engine), 0);
    cr_expect_eq(io_sim_size(engine, "disk"), len);
    cr_assert(io_sim_get(engine, "disk", 0, after, len));
    cr_expect_arr_eq(after, before, len);
    free(before);
    free(after);
    io_engine_free(engine);
}

/* --- crashes -------------------------------------------------------------------------------- */

struct session {
    char *new;
    unsigned valid, in_use;
};

static int write_session(struct io_engine *engine, void *user)
{
    struct guest g;

    (void)user;
    int rc = guest_open(&g, engine, NULL, 0);
    if (rc < 0)
        return rc;
    rc = guest_write(&g, (struct qimg_range){ 100 * KiB, 70 * KiB }, 7);
    if (rc == 0)
        rc = guest_flush(&g);
    if (rc == 0)
        rc = guest_write(&g, (struct qimg_range){ 900 * KiB, 4 * KiB }, 8);
    const int end = guest_close(&g);
    return rc < 0 ? rc : end;
}

/* Is there a byte that the guest wrote (all were zeros) without a bit in a valid bitmap? */
static bool misses_a_write(struct qcow2 *q, size_t which, const struct guest *g)
{
    const struct qcow2_bitmap *b = &q->bitmaps.items[which];
    const uint64_t piece = UINT64_C(8) * q->image.cluster_size;
    struct bitmap_bits *bits;
    struct qimg_error err;
    bool missed = false;

    cr_assert_eq(bitmap_bits_load(q, b, &bits, &err), 0, "%s", err.text);
    uint8_t *buf = malloc(q->image.cluster_size);
    for (uint32_t i = 0; i < bits->piece_count; i++) {
        cr_assert_eq(bitmap_bits_read(bits, i, buf), 0);
        for (uint64_t at = (i * piece) << b->granularity_bits;
             at < min_u64(g->image->size, ((i + 1) * piece) << b->granularity_bits); at++) {
            const uint64_t n = (at >> b->granularity_bits) % piece;
            missed = missed || (g->model[at] && !(buf[n / 8] >> n % 8 & 1));
        }
    }
    free(buf);
    bitmap_bits_free(bits);
    return missed;
}

static void expect_complete(struct io_engine *after, const char *text)
{
    struct io_engine *copy = bitmap_settled(after);
    struct qimg_error err;
    struct guest g;
    struct qcow2 *q = bitmap_open(after, false, &err);

    cr_assert_not_null(q, "%s", err.text);
    cr_assert_eq(guest_open(&g, copy, NULL, 0), 0, "%s", g.err.text);
    for (size_t i = 0; i < 2; i++)
        if (!(q->bitmaps.items[i].flags & QCOW2_BITMAP_IN_USE))
            cr_expect_not(misses_a_write(q, i, &g), "a valid bitmap misses a write:\n%s", text);
    guest_drop(&g);
    qcow2_ops.close(&q->image);
    io_engine_free(copy);
}

static void judge(struct io_engine *after, bool finished, void *user)
{
    struct session *s = user;
    char *text = bitmap_text(after);
    const struct verdict verdict = qcow2_verify_file(after, "disk");
    const bool in_use = strstr(text, "in-use") != NULL;

    cr_expect_eq(verdict.corruptions, 0, "%s", verdict.first);
    cr_expect_not_null(strstr(text, "off 4096:\n"), "disabled bitmaps stay valid: %s", text);
    cr_expect(!finished || strcmp(text, s->new) == 0, "%s", text);
    s->valid += !in_use;
    s->in_use += in_use;
    expect_complete(after, text);
    free(text);
}

static const struct build_qcow2 *const session_specs[] = { &spec, &tiny };

Test(qcow2_bitmap_write, after_a_crash_a_bitmap_is_complete_or_in_use)
{
    for (size_t i = 0; i < ARRAY_COUNT(session_specs); i++) {
        struct io_engine *engine = bitmap_machine(session_specs[i]);
        struct io_engine *probe = bitmap_settled(engine);
        struct session s = { 0 };
        cr_assert_eq(write_session(probe, NULL), 0);
        s.new = bitmap_text(probe);
        io_engine_free(probe);
        io_engine_free(bitmap_crash_everywhere(engine, write_session, judge, &s));
        cr_expect_gt(s.valid, 5 / tier_step(4));
        cr_expect_gt(s.in_use, 100 / tier_step(4));
        cr_expect_gt(bitmap_fail_everywhere(engine, write_session, judge, &s), 100 / tier_step(4));
        free(s.new);
        io_engine_free(engine);
    }
}

/* --- what keeps the guest from writing ------------------------------------------------------ */

Test(qcow2_bitmap_write, an_enabled_bitmap_that_cannot_be_read_refuses_writers)
{
    struct built built = build_qcow2(&spec);
    struct build_qcow2 broken = spec;
    uint64_t table = 0;
    struct guest g;

    for (unsigned i = 0; i < 8; i++)
        table = table << 8 | built.bytes[built.bitmap_directory_off + i];
    const struct build_patch patch = { table, 8, 6 };
    broken.patches = &patch;
    broken.patch_count = 1;
    built_release(&built);
    struct io_engine *engine = bitmap_machine(&broken);
    cr_expect_lt(guest_open(&g, engine, NULL, 0), 0);
    cr_expect_str_eq(g.err.text, "Could not read bitmap_table table from image for bitmap 'fine': "
                                 "Invalid argument");
    io_engine_free(engine);
}

Test(qcow2_bitmap_write, inconsistent_bitmaps_do_not_hinder_writers)
{
    static const struct build_bitmap used = { .name = "used",
                                              .flags = QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO };
    const struct build_qcow2 s = { .size = MiB, .bitmaps = &used, .bitmap_count = 1 };
    struct io_engine *engine = bitmap_machine(&s);

    cr_expect_eq(write_session(engine, NULL), 0);
    expect_text(engine, "used in-use auto 65536:\n");
    io_engine_free(engine);
}

/* --- resizing ------------------------------------------------------------------------------- */

static int resize(struct io_engine *engine, void *user)
{
    const struct resize_request request = { .size = *(const uint64_t *)user };
    struct qimg_error err;
    struct qcow2 *q = bitmap_open(engine, true, &err);

    if (!q)
        return -EIO;
    const int rc = qcow2_admin_ops.resize(&q->image, &request, &err);
    qcow2_ops.close(&q->image);
    return rc;
}

/* An image whose bitmaps do not fit its size would not open. */
static void judge_resize(struct io_engine *after, bool finished, void *user)
{
    const uint64_t *size = user;
    struct qimg_error err;
    struct qcow2 *q = bitmap_open(after, false, &err);

    cr_assert_not_null(q, "%s", err.text);
    cr_expect(!finished || q->image.size == *size);
    for (size_t i = 0; i < q->bitmaps.count; i++)
        cr_expect_eq(q->bitmaps.items[i].table_count,
                     div_up(align_up(div_up(q->image.size,
                                            UINT64_C(1) << q->bitmaps.items[i].granularity_bits),
                                     64) /
                                8,
                            512));
    cr_expect_eq(qcow2_verify_file(after, "disk").corruptions, 0);
    qcow2_ops.close(&q->image);
}

Test(qcow2_bitmap_write, size_and_bitmaps_change_in_one_write)
{
    uint64_t larger = 3 * MiB, smaller = 768 * KiB;
    struct build_qcow2 roomy = tiny;
    roomy.l1_extra = 200;
    struct io_engine *engine = bitmap_machine(&roomy);

    cr_assert_eq(write_session(engine, NULL), 0);
    expect_text(engine, "fine auto 512: 200-339 1800-1807\ncoarse auto 65536: 1-2 14\noff 4096:\n");
    struct io_engine *grown = bitmap_crash_everywhere(engine, resize, judge_resize, &larger);
    expect_text(grown, "fine auto 512: 200-339 1800-1807\ncoarse auto 65536: 1-2 14\noff 4096:\n");
    struct io_engine *shrunk = bitmap_crash_everywhere(grown, resize, judge_resize, &smaller);
    expect_text(shrunk, "fine auto 512: 200-339\ncoarse auto 65536: 1-2\noff 4096:\n");
    cr_assert_eq(resize(shrunk, &larger), 0);
    expect_text(shrunk, "fine auto 512: 200-339\ncoarse auto 65536: 1-2\noff 4096:\n");
    io_engine_free(engine);
    io_engine_free(grown);
    io_engine_free(shrunk);
}

Test(qcow2_bitmap_write, resizing_refuses_what_qemu_refuses)
{
    static const struct build_bitmap used = { .name = "used", .flags = QCOW2_BITMAP_IN_USE };
    static const struct build_bitmap fine = { .name = "fine", .granularity_bits = 9 };
    static const struct {
        const struct build_bitmap *bitmap;
        uint64_t size;
        const char *want;
    } cases[] = {
        { &used, 2 * MiB, "Bitmap 'used' is inconsistent and cannot be used" },
        { &fine, 4 * TiB,
          "Bitmap 'fine' doesn't satisfy the constraints: Too much space will be occupied by the "
          "bitmap. Use larger granularity" },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct build_qcow2 s = { .size = MiB, .bitmaps = cases[i].bitmap, .bitmap_count = 1 };
        struct io_engine *engine = bitmap_machine(&s);
        struct qimg_error err;
        struct qcow2 *q = bitmap_open(engine, true, &err);
        const struct resize_request request = { .size = cases[i].size };
        cr_expect_lt(qcow2_admin_ops.resize(&q->image, &request, &err), 0);
        cr_expect_str_eq(err.text, cases[i].want);
        qcow2_ops.close(&q->image);
        q = bitmap_open(engine, true, &err);
        cr_assert_not_null(q, "%s", err.text);
        cr_expect_eq(q->image.size, MiB);
        qcow2_ops.close(&q->image);
        io_engine_free(engine);
    }
}

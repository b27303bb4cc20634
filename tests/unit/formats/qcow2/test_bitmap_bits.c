/* SPDX-License-Identifier: Apache-2.0
 *
 * Bits in memory against an array of booleans.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap_bits.h"
#include "bits.h"
#include "open_image.h"

#define MAX_BITS 20000

struct model {
    bool set[MAX_BITS];
    uint64_t count;
};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void expect_same(const struct bitmap_bits *bits, const struct model *m, const char *when)
{
    uint8_t *buf = malloc(bits->piece_len);
    uint64_t n = 0;

    cr_expect_eq(bits->count, m->count, "%s", when);
    for (uint32_t i = 0; i < bits->piece_count; i++) {
        cr_assert_eq(bitmap_bits_read(bits, i, buf), 0);
        for (uint64_t k = 0; k < 8ull * bits->piece_len; k++, n++) {
            const bool want = n < m->count && m->set[n];
            cr_assert_eq(buf[k / 8] >> k % 8 & 1, want, "%s: bit %lu of %lu", when,
                         (unsigned long)n, (unsigned long)m->count);
        }
    }
    free(buf);
}

static void model_set(struct model *m, struct qimg_range r, unsigned granularity_bits)
{
    for (uint64_t n = r.off >> granularity_bits;
         n < m->count && n << granularity_bits < r.off + r.len; n++)
        m->set[n] = true;
}

/* 512-byte clusters: 4096 bits a piece. */
static struct qcow2 *small_image(uint64_t size)
{
    const struct build_qcow2 spec = { .size = size, .cluster_bits = 9 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    return qcow2_of(image);
}

Test(qcow2_bitmap_bits, setting_clearing_merging_and_resizing_do_as_the_model)
{
    static struct model m, other;
    struct qcow2 *q = small_image(5 * MiB);
    uint64_t state = 7;

    for (unsigned round = 0; round < 40; round++) {
        const unsigned g = 9 + (unsigned)(round % 3);
        struct bitmap_bits *bits = bitmap_bits_new(q, g), *from = bitmap_bits_new(q, 10);
        uint64_t size = q->image.size;
        memset(&m, 0, sizeof(m));
        memset(&other, 0, sizeof(other));
        m.count = size >> g;
        other.count = size >> 10;
        for (unsigned step = 0; step < 12; step++) {
            struct qimg_range r = { next_random(&state) % size, next_random(&state) % (3 * MiB) };
            if (step % 3 == 0)
                r.len %= 2000;
            cr_assert_eq(bitmap_bits_set(bits, r), 0);
            model_set(&m, r, g);
            if (step == 5 && round % 4 == 0) {
                bitmap_bits_clear(bits);
                memset(m.set, 0, sizeof(m.set));
            }
            if (step == 7) {
                r = (struct qimg_range){ next_random(&state) % size, 50000 };
                cr_assert_eq(bitmap_bits_set(from, r), 0);
                model_set(&other, r, 10);
                cr_assert_eq(bitmap_bits_merge(bits, from), 0);
                for (uint64_t n = 0; n < other.count; n++)
                    if (other.set[n])
                        model_set(&m, (struct qimg_range){ n << 10, 1024 }, g);
            }
            expect_same(bits, &m, "set");
        }
        for (unsigned step = 0; step < 4; step++) {
            size = next_random(&state) % (9 * MiB) + 1;
            cr_assert_eq(bitmap_bits_resize(bits, size), 0);
            m.count = div_up(size, UINT64_C(1) << g);
            memset(m.set + m.count, 0, (MAX_BITS - m.count) * sizeof(bool));
            expect_same(bits, &m, "resized");
        }
        bitmap_bits_free(bits);
        bitmap_bits_free(from);
    }
    qcow2_ops.close(&q->image);
}

/* A bitmap of 2 * 4096 + 8 bits in three pieces, with a table of these words. */
static struct image *open_table(const uint64_t words[3], struct qimg_error *err)
{
    static const struct build_bitmap b = { .name = "b", .granularity_bits = 9 };
    struct build_qcow2 spec = {
        .size = 4 * MiB + 4096, .cluster_bits = 9, .bitmaps = &b, .bitmap_count = 1
    };
    struct built built = build_qcow2(&spec);
    uint64_t table = 0;
    struct build_patch patches[3];

    for (unsigned i = 0; i < 8; i++)
        table = table << 8 | built.bytes[built.bitmap_directory_off + i];
    for (unsigned i = 0; i < 3; i++)
        patches[i] = (struct build_patch){ table + 8 * i, 8, words[i] };
    spec.patches = patches;
    spec.patch_count = 3;
    built_release(&built);
    return open_built(&spec, NULL, err);
}

Test(qcow2_bitmap_bits, all_ones_and_all_zeros_need_no_cluster)
{
    const uint64_t words[3] = { 1, 0, 1 };
    struct qimg_error err;
    struct image *image = open_table(words, &err);
    struct qcow2 *q = qcow2_of(image);
    struct bitmap_bits *bits;
    static struct model m;

    cr_assert_not_null(image, "%s", err.text);
    cr_assert_eq(bitmap_bits_load(q, &q->bitmaps.items[0], &bits, &err), 0, "%s", err.text);
    m = (struct model){ .count = 2 * 4096 + 8 };
    memset(m.set, true, 4096);
    memset(m.set + 8192, true, 8);
    expect_same(bits, &m, "as loaded");
    cr_expect_not(bitmap_bits_changed(bits));
    cr_expect(bitmap_piece_is_full(bits, 0));
    cr_expect_not(bitmap_piece_is_full(bits, 2));
    /* "All ones" ends where the disk ended when it was written. */
    cr_assert_eq(bitmap_bits_resize(bits, 5 * MiB), 0);
    m.count = 5 * MiB / 512;
    expect_same(bits, &m, "grown");
    cr_expect(bitmap_bits_changed(bits));
    bitmap_bits_free(bits);
    image_close(image);
}

Test(qcow2_bitmap_bits, stray_bits_behind_the_last_one_do_not_come_alive)
{
    /* The refcount table: byte 0 holds no bit, later ones do. */
    const uint64_t stray[3] = { 0, 0, 512 };
    struct qimg_error err;
    struct bitmap_bits *bits;
    static struct model m;

    struct image *image = open_table(stray, &err);
    struct qcow2 *q = qcow2_of(image);
    cr_assert_not_null(image, "%s", err.text);
    cr_assert_eq(bitmap_bits_load(q, &q->bitmaps.items[0], &bits, &err), 0, "%s", err.text);
    m = (struct model){ .count = 2 * 4096 + 8 };
    expect_same(bits, &m, "as loaded");
    cr_assert_eq(bitmap_bits_resize(bits, 5 * MiB), 0);
    m.count = 5 * MiB / 512;
    expect_same(bits, &m, "grown");
    bitmap_bits_free(bits);
    image_close(image);
}

Test(qcow2_bitmap_bits, words_that_make_no_sense_are_refused)
{
    static const uint64_t wrong[] = { 2, 0x100, UINT64_C(1) << 56, UINT64_C(1) << 63, 513 };

    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        const uint64_t words[3] = { 0, wrong[i], 0 };
        struct qimg_error err;
        struct image *image = open_table(words, &err);
        struct bitmap_bits *bits;
        cr_assert_not_null(image, "%s", err.text);
        struct qcow2 *q = qcow2_of(image);
        cr_expect_lt(bitmap_bits_load(q, &q->bitmaps.items[0], &bits, &err), 0, "%lx",
                     (unsigned long)wrong[i]);
        cr_expect_str_eq(err.text, "Could not read bitmap_table table from image for bitmap 'b': "
                                   "Invalid argument");
        q->bitmaps.items[0].table_count = 2;
        cr_expect_lt(bitmap_bits_load(q, &q->bitmaps.items[0], &bits, &err), 0);
        cr_expect_str_eq(err.text, "Could not read bitmap 'b' from image: Invalid argument");
        image_close(image);
    }
}

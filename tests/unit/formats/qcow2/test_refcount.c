/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"

Test(qcow2_refcount, counts_of_every_width)
{
    static const uint8_t block[16] = { 0x3f, 0x05, 0x80, 0x01, 0xfe, 0xdc, 0xba, 0x98,
                                       0x76, 0x54, 0x32, 0x10, 0x00, 0x00, 0x00, 0x07 };
    static const struct {
        unsigned order;
        uint64_t index, want;
    } cases[] = {
        { 0, 0, 1 }, { 0, 5, 1 },          { 0, 6, 0 },  { 0, 8, 1 },
        { 0, 9, 0 }, { 0, 23, 1 },         { 1, 0, 3 },  { 1, 3, 0 },
        { 1, 4, 1 }, { 1, 11, 2 },         { 2, 0, 15 }, { 2, 1, 3 },
        { 2, 5, 8 }, { 3, 0, 0x3f },       { 3, 15, 7 }, { 4, 0, 0x3f05 },
        { 4, 7, 7 }, { 5, 1, 0xfedcba98 }, { 5, 3, 7 },  { 6, 1, UINT64_C(0x7654321000000007) },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        cr_expect_eq(qcow2_refcount_get(block, cases[i].order, cases[i].index), cases[i].want,
                     "order %u, index %u", cases[i].order, (unsigned)cases[i].index);
}

/* @stored clusters of storage for an image that counts 36: 4 tables, 31 data, 1 refcount block. */
static bool may_be_holes(unsigned refcount_bits, uint64_t stored)
{
    const struct build_cluster c = { .index = 0, .count = 31 };
    const struct build_qcow2 spec = {
        .size = 4 * MiB, .clusters = &c, .cluster_count = 1, .refcount_bits = refcount_bits
    };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    ((struct mem_file *)image->file)->allocated = stored * 64 * KiB + 12345;
    const bool answer = image->ops->data_may_be_holes(image);
    cr_expect_eq(image->ops->data_may_be_holes(image), answer, "the answer is kept");
    image_close(image);
    return answer;
}

Test(qcow2_refcount, clearly_more_counted_than_stored_means_holes)
{
    for (unsigned bits = 1; bits <= 64; bits *= 2) {
        cr_expect(may_be_holes(bits, 0), "%u bits", bits);
        cr_expect(may_be_holes(bits, 33), "%u bits: 36 counted, 36 needed", bits);
        cr_expect_not(may_be_holes(bits, 34), "%u bits: 36 counted, 37 needed", bits);
        cr_expect_not(may_be_holes(bits, 36), "%u bits", bits);
    }
}

Test(qcow2_refcount, small_images_need_two_clusters_more)
{
    const struct build_qcow2 spec = { .size = MiB }; /* counts 4 clusters */
    static const struct {
        uint64_t stored;
        bool want;
    } cases[] = { { 2, true }, { 3, false } };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct qimg_error err;
        struct image *image = open_built(&spec, NULL, &err);
        ((struct mem_file *)image->file)->allocated = cases[i].stored * 64 * KiB;
        cr_expect_eq(image->ops->data_may_be_holes(image), cases[i].want, "%u stored",
                     (unsigned)cases[i].stored);
        image_close(image);
    }
}

Test(qcow2_refcount, a_broken_refcount_table_means_no_holes)
{
    static const uint64_t words[] = { 0, 0x30200, UINT64_C(0x7fffffffffff0000) };

    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        const struct build_patch patch = { 64 * KiB, 8, words[i] };
        const struct build_qcow2 spec = { .size = MiB, .patches = &patch, .patch_count = 1 };
        struct qimg_error err;
        struct image *image = open_built(&spec, NULL, &err);
        cr_assert_not_null(image, "%s", err.text);
        ((struct mem_file *)image->file)->allocated = 0;
        cr_expect_not(image->ops->data_may_be_holes(image), "case %zu", i);
        image_close(image);
    }
}

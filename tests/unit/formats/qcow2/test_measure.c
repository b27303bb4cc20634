/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "bits.h"
#include "measure_request.h"
#include "qcow2.h"

/* What qemu-img measure said. */
static const struct {
    uint64_t size, used;
    struct create_spec spec;
    uint64_t required, full;
} cases[] = {
    { 0, 0, { .cluster_size = 65536, .refcount_bits = 16 }, 196608, 196608 },
    { MiB, 0, { .cluster_size = 65536, .refcount_bits = 16 }, 327680, 1376256 },
    { MiB, 65536, { .cluster_size = 65536, .refcount_bits = 16 }, 393216, 1376256 },
    { MiB,
      0,
      { .cluster_size = 65536, .refcount_bits = 16, .preallocation = PREALLOC_FULL },
      1376256,
      1376256 },
    { 100 * TiB, 0, { .cluster_size = 65536, .refcount_bits = 16 }, 16779902976, 109967942680576 },
    { 100 * TiB,
      0,
      { .cluster_size = 2 * MiB, .refcount_bits = 1, .extended_l2 = true },
      853540864,
      109952016318464 },
    { 10 * GiB, 0, { .cluster_size = 512, .refcount_bits = 64 }, 346283520, 11083701760 },
};

Test(qcow2_measure, numbers_are_qemus)
{
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct measure_request request = { .spec = &cases[i].spec,
                                                 .size = cases[i].size,
                                                 .used = cases[i].used };
        struct qimg_measure_result got;
        struct qimg_error err;
        cr_assert_eq(qcow2_measure(&request, &got, &err), 0, "%zu", i);
        cr_expect_eq(got.required, cases[i].required, "%zu: %lu", i, (unsigned long)got.required);
        cr_expect_eq(got.fully_allocated, cases[i].full, "%zu: %lu", i,
                     (unsigned long)got.fully_allocated);
        cr_expect(!got.has_bitmaps);
    }
}

Test(qcow2_measure, every_bitmap_counts_inconsistent_ones_too)
{
    struct qimg_bitmap_info bitmaps[] = { { .name = "b", .granularity = 65536 },
                                          { .name = "c", .granularity = 65536, .in_use = true } };
    struct create_spec spec = { .cluster_size = 65536, .refcount_bits = 16, .version = 3 };
    struct measure_request request = { .spec = &spec,
                                       .size = 10 * MiB,
                                       .bitmaps = true,
                                       .bitmap = bitmaps,
                                       .bitmap_count = ARRAY_COUNT(bitmaps) };
    struct qimg_measure_result got;
    struct qimg_error err;

    cr_assert_eq(qcow2_measure(&request, &got, &err), 0);
    cr_expect(got.has_bitmaps);
    cr_expect_eq(got.bitmaps, 5 * 65536, "data and table of each, directory");
    spec.version = 2;
    cr_assert_eq(qcow2_measure(&request, &got, &err), 0);
    cr_expect(!got.has_bitmaps, "version 2 has none");
}

Test(qcow2_measure, a_size_in_the_options_beyond_what_an_l1_table_can_say_is_refused)
{
    struct create_spec spec = { .cluster_size = 512, .refcount_bits = 16, .size = 128 * GiB };
    const struct measure_request request = { .spec = &spec };
    struct qimg_measure_result got;
    struct qimg_error err;

    cr_expect_eq(qcow2_measure(&request, &got, &err), 0);
    spec.size++;
    cr_expect_eq(qcow2_measure(&request, &got, &err), -EFBIG);
    cr_expect_str_eq(err.text, "The image size is too large (try using a larger cluster size)");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "shadow.h"

#define CLUSTER UINT64_C(512)

static struct piece kept_clusters(uint64_t first, uint64_t count)
{
    return (struct piece){ .bytes = { first * CLUSTER, count * CLUSTER }, .covers = 1 };
}

Test(qcow2_shadow_space, lies_behind_everything_and_in_no_gap_that_is_too_small)
{
    struct io_file file = { 0 };
    struct qcow2 q = { .image.file = &file, .header.cluster_bits = 9 };
    struct piece kept[] = { kept_clusters(3, 2), kept_clusters(12, 1), kept_clusters(15, 4) };
    struct shadow s = {
        .q = &q, .next = 10, .host_end = 30, .kept = { .items = kept, .count = 3 }
    };
    uint64_t off;

    kept[1].bytes.off += 100; /* not aligned: it touches two clusters */
    cr_assert_eq(shadow_alloc(&s, 2, &off), 0);
    cr_expect_eq(off, 10 * CLUSTER);
    cr_assert_eq(shadow_alloc(&s, 1, &off), 0);
    cr_expect_eq(off, 14 * CLUSTER);
    cr_assert_eq(shadow_alloc(&s, 2, &off), 0);
    cr_expect_eq(off, 19 * CLUSTER);
    cr_expect_eq(shadow_alloc(&s, 10, &off), -EFBIG);
    cr_assert_eq(shadow_alloc(&s, 9, &off), 0);
    cr_expect_eq(off, 21 * CLUSTER);
    range_vec_release(&s.taken);
}

Test(qcow2_shadow_space, what_does_not_fit_before_a_structure_goes_behind_it)
{
    struct io_file file = { 0 };
    struct qcow2 q = { .image.file = &file, .header.cluster_bits = 9 };
    struct piece kept[] = { kept_clusters(12, 1) };
    struct shadow s = {
        .q = &q, .next = 10, .host_end = 30, .kept = { .items = kept, .count = 1 }
    };
    size_t passed;

    cr_expect_eq(shadow_find_behind(&s, 2, &passed), 10);
    cr_expect_eq(passed, 0);
    cr_expect_eq(shadow_find_behind(&s, 3, &passed), 13);
    cr_expect_eq(passed, 1);
}

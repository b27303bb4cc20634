/* SPDX-License-Identifier: Apache-2.0
 *
 * Lying images are in tests/cli/test_lies.py; here is what needs a quarter of a million releases.
 */
#include <criterion/criterion.h>

#include "mem_file.h"
#include "shadow.h"

enum { L1 = 3, REFTABLE = 5, LAST = 9 };

Test(qcow2_shadow_guard, asks_the_counts_where_not_all_that_was_released_is_noted)
{
    struct mem_file *file = mem_file_new("", 0, true);
    struct qcow2 q = { .image.file = &file->base,
                       .header = { .cluster_bits = 9,
                                   .refcount_order = 4,
                                   .l1_off = L1 * 512,
                                   .l1_count = 65, /* two clusters */
                                   .reftable_off = REFTABLE * 512,
                                   .reftable_clusters = 1 } };
    struct shadow s = { .q = &q, .header = q.header };

    shadow_counts_init(&s.counts, &q, 4);
    for (uint64_t n = 0; n <= LAST; n++)
        cr_assert_eq(shadow_counts_set(&s.counts, n, 1), 0);
    for (uint64_t n = 0; n <= LAST; n++) {
        const bool used = n == 0 || n == L1 || n == L1 + 1 || n == REFTABLE;
        cr_assert_eq(shadow_counts_set(&s.counts, n, 0), 0);
        s.released_more = false;
        cr_expect_eq(shadow_guard_released(&s), 0, "cluster %d", (int)n);
        s.released_more = true;
        cr_expect_eq(shadow_guard_released(&s), used ? -EBADMSG : 0, "cluster %d", (int)n);
        cr_assert_eq(shadow_counts_set(&s.counts, n, 1), 0);
    }
    shadow_counts_release(&s.counts);
    io_file_close(&file->base);
}

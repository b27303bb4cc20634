/* SPDX-License-Identifier: Apache-2.0 */
#include "counts.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH 1000

Test(counts, do_the_same_as_an_array_of_numbers_whatever_their_width)
{
    static const uint64_t tops[] = { 2, 3, 5, 255, 300, 70000, UINT64_C(1) << 33 };
    uint64_t model[LENGTH] = { 0 };

    for (size_t t = 0; t < sizeof(tops) / sizeof(tops[0]); t++) {
        struct counts c;
        srand(7);
        cr_assert_eq(counts_init(&c, LENGTH), 0);
        memset(model, 0, sizeof(model));
        for (int step = 0; step < 300; step++) {
            const uint64_t first = (uint64_t)rand() % LENGTH;
            const uint64_t n = (uint64_t)rand() % (LENGTH - first);
            if (step % 3) {
                const uint64_t value = (uint64_t)rand() % tops[t];
                cr_assert_eq(counts_set(&c, first, value), 0);
                model[first] = value;
            } else if (model[first] < 3) {
                cr_assert_eq(counts_add_run(&c, first, n), 0);
                for (uint64_t i = first; i < first + n; i++)
                    model[i]++;
            }
        }
        cr_assert_eq(counts_set(&c, 77, tops[t]), 0);
        model[77] = tops[t];
        for (uint64_t i = 0; i < LENGTH; i++)
            cr_assert_eq(counts_get(&c, i), model[i], "top %zu, count %zu", (size_t)tops[t],
                         (size_t)i);
        counts_release(&c);
    }
}

Test(counts, of_two_bits_take_two_bits)
{
    struct counts c;

    cr_assert_eq(counts_init(&c, UINT64_C(1) << 20), 0);
    cr_assert_eq(counts_add_run(&c, 0, UINT64_C(1) << 20), 0);
    cr_assert_eq(counts_add_run(&c, 5, 1000), 0);
    cr_expect_eq(counts_bytes(&c), UINT64_C(1) << 18);
    cr_assert_eq(counts_set(&c, 3, 4), 0);
    cr_expect_eq(counts_bytes(&c), UINT64_C(1) << 20, "one 4 makes all cells a byte");
    counts_release(&c);
}

Test(counts, grow_by_zeros_and_are_zero_past_their_end)
{
    struct counts c;

    cr_assert_eq(counts_init(&c, 33), 0);
    cr_assert_eq(counts_add_run(&c, 0, 33), 0);
    cr_expect_eq(counts_get(&c, 33), 0);
    cr_assert_eq(counts_grow(&c, 5000), 0);
    cr_expect_eq(counts_get(&c, 32), 1);
    cr_expect_eq(counts_skip(&c, 33, 4967, 0), 5000);
    counts_release(&c);
}

Test(counts, skip_stops_at_the_first_other_value)
{
    struct counts c;

    for (uint64_t odd = 0; odd < 200; odd++) {
        cr_assert_eq(counts_init(&c, 200), 0);
        cr_assert_eq(counts_add_run(&c, 0, 200), 0);
        cr_assert_eq(counts_set(&c, odd, 2), 0);
        cr_expect_eq(counts_skip(&c, 0, 200, 1), odd);
        cr_expect_eq(counts_skip(&c, odd, 1, 2), odd + 1);
        counts_release(&c);
    }
}

Test(counts, first_difference_and_last_use_are_found_in_any_place)
{
    for (uint64_t odd = 0; odd < 150; odd++) {
        struct counts a, b;
        cr_assert_eq(counts_init(&a, 150), 0);
        cr_assert_eq(counts_init(&b, odd % 2 ? 150 : 170), 0);
        cr_assert_eq(counts_set(&b, odd, odd % 3 ? 1 : 1000), 0);
        cr_expect_eq(counts_first_difference(&a, &b, 0, 150), odd);
        cr_expect_eq(counts_first_difference(&a, &b, odd + 1, 150), 150);
        cr_expect_eq(counts_last_used(&b, 150), odd);
        cr_expect_eq(counts_last_used(&a, 150), 0);
        counts_release(&a);
        counts_release(&b);
    }
}

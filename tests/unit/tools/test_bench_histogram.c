/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "bench_histogram.h"

static struct bench_histogram histogram; /* zeroed in each test's own process */

Test(bench_histogram, nothing_has_no_quantiles)
{
    cr_expect_eq(bench_histogram_quantile(&histogram, 500), 0);
    cr_expect_eq(bench_histogram_quantile(&histogram, 1000), 0);
}

Test(bench_histogram, small_values_are_exact)
{
    for (uint64_t value = 1; value <= 31; value++)
        bench_histogram_add(&histogram, value);
    cr_expect_eq(bench_histogram_quantile(&histogram, 1), 1);
    cr_expect_eq(bench_histogram_quantile(&histogram, 500), 16);
    cr_expect_eq(bench_histogram_quantile(&histogram, 1000), 31);
}

/* All that is promised: no less than the value, no more than a 32nd above it, whatever its size;
 * and never more than the greatest. */
Test(bench_histogram, a_value_is_known_to_a_32nd)
{
    for (unsigned shift = 0; shift < 64; shift++) {
        for (uint64_t low = 0; low < 3; low++) {
            struct bench_histogram one = { 0 };
            const uint64_t value = ((uint64_t)1 << shift) - 1 + low;
            bench_histogram_add(&one, value);
            cr_assert_eq(bench_histogram_quantile(&one, 500), value, "the greatest: %lu", value);
            bench_histogram_add(&one, UINT64_MAX);
            const uint64_t told = bench_histogram_quantile(&one, 500);
            cr_assert(told >= value && told - value <= value / 32, "%lu: %lu", value, told);
        }
    }
}

/* Beside sorted values: the quantile is the first that so many of them do not pass. */
Test(bench_histogram, quantiles_are_those_of_the_sorted_values)
{
    static const unsigned asked[] = { 1, 500, 900, 990, 999, 1000 };
    enum { COUNT = 10000 };
    for (uint64_t i = 0; i < COUNT; i++)
        bench_histogram_add(&histogram, (i * 7919 % COUNT + 1) * 1000);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        const uint64_t value = (uint64_t)asked[i] * COUNT / 1000 * 1000;
        const uint64_t told = bench_histogram_quantile(&histogram, asked[i]);
        cr_expect(told >= value && told <= value + value / 32, "%u: %lu", asked[i], told);
    }
    cr_expect_eq(histogram.max, COUNT * 1000);
    cr_expect_eq(histogram.count, COUNT);
}

Test(bench_histogram, merging_is_adding_all_values)
{
    struct bench_histogram other = { 0 }, both = { 0 };
    for (uint64_t i = 0; i < 1000; i++) {
        bench_histogram_add(i % 3 ? &histogram : &other, i * i);
        bench_histogram_add(&both, i * i);
    }
    bench_histogram_merge(&histogram, &other);
    cr_expect_arr_eq((const char *)&histogram, (const char *)&both, sizeof(both));
}

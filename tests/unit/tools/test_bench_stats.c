/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "bench_stats.h"

Test(bench_stats, median_least_and_most_of_any_order)
{
    static const struct {
        uint64_t values[5];
        unsigned count;
        struct bench_spread want;
        double percent;
    } cases[] = {
        { { 7 }, 1, { 7, 7, 7 }, 0 },
        { { 30, 10, 20 }, 3, { 20, 10, 30 }, 50 },
        { { 40, 10, 20, 30 }, 4, { 25, 10, 40 }, 60 },
        { { 100, 100, 100, 100, 110 }, 5, { 100, 100, 110 }, 5 },
        { { UINT64_MAX, UINT64_MAX - 2 }, 2, { UINT64_MAX - 1, UINT64_MAX - 2, UINT64_MAX }, 0 },
        { { 0, 0, 9 }, 3, { 0, 0, 9 }, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t values[5];
        memcpy(values, cases[i].values, sizeof(values));
        const struct bench_spread spread = bench_spread_of(values, cases[i].count);
        cr_expect(spread.median == cases[i].want.median && spread.least == cases[i].want.least &&
                      spread.most == cases[i].want.most,
                  "%zu", i);
        const double percent = bench_spread_percent(&spread);
        cr_expect(percent > cases[i].percent - 1e-6 && percent < cases[i].percent + 1e-6, "%zu: %g",
                  i, percent);
    }
}

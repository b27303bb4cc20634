/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "bench_units.h"

Test(bench_units, counts_have_their_thousands_apart)
{
    char buf[BENCH_UNITS_ROOM];
    cr_expect_str_eq(bench_units_count(0, buf), "0");
    cr_expect_str_eq(bench_units_count(999, buf), "999");
    cr_expect_str_eq(bench_units_count(1000, buf), "1,000");
    cr_expect_str_eq(bench_units_count(UINT64_MAX, buf), "18,446,744,073,709,551,615");
}

Test(bench_units, times_have_three_digits)
{
    static const struct {
        uint64_t ns;
        const char *want, *round;
    } cases[] = {
        { 0, "0 ns", "0 ns" },
        { 999, "999 ns", "999 ns" },
        { 1000, "1.00 us", "1 us" },
        { 20000, "20.0 us", "20 us" },
        { 71249, "71.2 us", NULL },
        { 99960, "100 us", NULL },
        { 999600, "1.00 ms", NULL },
        { 3410000, "3.41 ms", "3.41 ms" },
        { 12000000000, "12.0 s", "12 s" },
        { 86400000000000, "86400 s", "86400 s" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char buf[BENCH_UNITS_ROOM];
        cr_expect_str_eq(bench_units_time(cases[i].ns, buf), cases[i].want);
        if (cases[i].round)
            cr_expect_str_eq(bench_units_round_time(cases[i].ns, buf), cases[i].round);
    }
}

Test(bench_units, rates_are_millions_of_bytes)
{
    char buf[BENCH_UNITS_ROOM];
    cr_expect_str_eq(bench_units_rate(0, buf), "0.0");
    cr_expect_str_eq(bench_units_rate(1234567890, buf), "1,234.6");
    cr_expect_str_eq(bench_units_rate(49999, buf), "0.0");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "svg_axis.h"

static bool near(double a, double b)
{
    const double room = (b < 0 ? -b : b) * 1e-4 + 1e-4;
    return a > b - room && a < b + room;
}

Test(svg_axis, ends_and_middles_lie_where_they_should)
{
    const struct svg_axis linear = { .low = 0, .high = 10, .start = 100, .end = 0 };
    const struct svg_axis powers = {
        .low = 1, .high = 64, .start = 0, .end = 60, .logarithmic = true
    };
    cr_expect(near(svg_axis_at(&linear, 0), 100) && near(svg_axis_at(&linear, 2.5), 75));
    for (unsigned i = 0; i <= 6; i++)
        cr_expect(near(svg_axis_at(&powers, 1 << i), 10.0 * i), "%u", i);
    cr_expect(near(svg_axis_at(&powers, 3), 15.8496), "%g", svg_axis_at(&powers, 3));
    cr_expect(near(svg_axis_at(&powers, 0.5), -10));
}

static void check_ticks(const struct svg_axis *axis, const double *want, unsigned count)
{
    double ticks[SVG_TICKS_MAX];
    cr_assert_eq(svg_axis_ticks(axis, ticks), count, "up to %g", axis->high);
    for (unsigned i = 0; i < count; i++)
        cr_expect(near(ticks[i], want[i]), "%g, not %g", ticks[i], want[i]);
}

Test(svg_axis, a_linear_axis_has_round_steps_from_zero)
{
    const struct svg_axis thousands = svg_axis_linear(283000, 0, 1),
                          exact = svg_axis_linear(4, 0, 1);
    const struct svg_axis one = svg_axis_linear(1, 0, 1);
    check_ticks(&thousands, (double[]){ 0, 50000, 1e5, 150000, 2e5, 250000, 3e5 }, 7);
    check_ticks(&exact, (double[]){ 0, 1, 2, 3, 4 }, 5);
    check_ticks(&one, (double[]){ 0, .2, .4, .6, .8, 1 }, 6);
}

Test(svg_axis, a_logarithmic_axis_has_round_values_on_both_ends)
{
    const struct svg_axis narrow = svg_axis_log(23, 71, 0, 1), flat = svg_axis_log(100, 100, 0, 1);
    const struct svg_axis wide = svg_axis_log(1234, 5e8, 0, 1);
    check_ticks(&narrow, (double[]){ 20, 50, 100 }, 3);
    check_ticks(&flat, (double[]){ 100, 200 }, 2);
    cr_expect(near(wide.low, 1000) && near(wide.high, 5e8));
    check_ticks(&wide, (double[]){ 1e3, 1e4, 1e5, 1e6, 1e7, 1e8 }, 6);
}

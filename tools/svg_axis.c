/* SPDX-License-Identifier: Apache-2.0
 *
 * See svg_axis.h. Round are 1, 2 and 5, times a power of ten.
 */
#include "svg_axis.h"

#define WANTED 4    /* ticks of a linear axis, or more */
#define COARSE 1000 /* a logarithmic axis that goes further has powers of ten alone */

/* Digit by digit: no start of the program shall have to load a library for this. */
static double log_2(double value)
{
    double result = 0;
    for (; value >= 2; value /= 2)
        result++;
    for (; value < 1; value *= 2)
        result--;
    for (double digit = 0.5; digit > 1e-6; digit /= 2) {
        value *= value;
        if (value >= 2) {
            value /= 2;
            result += digit;
        }
    }
    return result;
}

double svg_axis_at(const struct svg_axis *axis, double value)
{
    double part;
    if (axis->logarithmic)
        part = log_2(value / axis->low) / log_2(axis->high / axis->low);
    else
        part = (value - axis->low) / (axis->high - axis->low);
    return axis->start + part * (axis->end - axis->start);
}

/* 1, 2, 5, 10, ... : the next after a round value. */
static double next_round(double round)
{
    double power = 1;
    while (power * 9.5 < round)
        power *= 10;
    while (power * 0.95 > round)
        power /= 10;
    return round < 1.5 * power ? 2 * power : round < 3.5 * power ? 5 * power : 10 * power;
}

/* The greatest that is not above @value. */
static double round_below(double value)
{
    double round = 1e-9;
    for (double next = round; next <= value * 1.000001; next = next_round(next))
        round = next;
    return round;
}

struct svg_axis svg_axis_linear(double high, double start, double end)
{
    const double step = round_below(high / WANTED);
    double top = step;
    while (top < high)
        top += step;
    return (struct svg_axis){ .high = top, .start = start, .end = end };
}

struct svg_axis svg_axis_log(double low, double high, double start, double end)
{
    struct svg_axis axis = { .start = start, .end = end, .logarithmic = true };
    axis.low = axis.high = round_below(low);
    do
        axis.high = next_round(axis.high);
    while (axis.high < high);
    return axis;
}

static bool is_power_of_ten(double round)
{
    const double next = next_round(round);
    return next < 2.1 * round && next > 1.9 * round && next_round(next) > 4.9 * round;
}

unsigned svg_axis_ticks(const struct svg_axis *axis, double out[SVG_TICKS_MAX])
{
    const double step = round_below((axis->high - axis->low) / WANTED);
    const bool coarse = axis->logarithmic && axis->high / axis->low > COARSE;
    unsigned count = 0;
    for (double at = axis->low; at <= axis->high * 1.000001 && count < SVG_TICKS_MAX;) {
        if (!coarse || is_power_of_ten(at))
            out[count++] = at;
        at = axis->logarithmic ? next_round(at) : at + step;
    }
    return count;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Values to positions on a drawing, and the round values that get a mark.
 */
#ifndef TOOLS_SVG_AXIS_H
#define TOOLS_SVG_AXIS_H

#include <stdbool.h>

#define SVG_TICKS_MAX 64

struct svg_axis {
    double low, high;  /* values at both ends; low < high, and 0 < low where it is logarithmic */
    double start, end; /* their positions */
    bool logarithmic;
};

double svg_axis_at(const struct svg_axis *axis, double value);

/* An axis for values from @low to @high between two positions, widened to round values: linear,
 * from 0, or logarithmic. @low <= @high, both > 0. */
struct svg_axis svg_axis_linear(double high, double start, double end);
struct svg_axis svg_axis_log(double low, double high, double start, double end);

/* Fills @out with round values on the axis, ascending; returns how many. */
unsigned svg_axis_ticks(const struct svg_axis *axis, double out[SVG_TICKS_MAX]);

#endif

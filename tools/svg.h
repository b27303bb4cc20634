/* SPDX-License-Identifier: Apache-2.0
 *
 * Drawing lines, dots and words as SVG. Positions are pixels from the upper left corner; classes
 * are those of the style that the drawing begins with.
 */
#ifndef TOOLS_SVG_H
#define TOOLS_SVG_H

#include <stdio.h>

struct svg_point {
    double x, y;
};

enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };

/* @style: CSS, copied as it is. The paper is white. */
void svg_begin(FILE *to, double width, double height, const char *title, const char *style);
void svg_end(FILE *to);

/* @text may hold anything. */
void svg_text(FILE *to, struct svg_point at, enum svg_anchor anchor, const char *class,
              const char *text);
/* The same, read from below, around @at. */
void svg_text_upwards(FILE *to, struct svg_point at, const char *class, const char *text);
void svg_line(FILE *to, struct svg_point from, struct svg_point end, const char *class);
void svg_dot(FILE *to, struct svg_point at, const char *class);

#endif

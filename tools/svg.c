/* SPDX-License-Identifier: Apache-2.0
 *
 * See svg.h.
 */
#include "svg.h"

/* XML has no control characters, whatever is done to escape them. */
static void put_escaped(FILE *to, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            fputs("&amp;", to);
        else if (*text == '<')
            fputs("&lt;", to);
        else if (*text == '>')
            fputs("&gt;", to);
        else if ((unsigned char)*text >= ' ')
            putc(*text, to);
    }
}

void svg_begin(FILE *to, double width, double height, const char *title, const char *style)
{
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
            "viewBox=\"0 0 %g %g\" role=\"img\">\n  <title>",
            width, height, width, height);
    put_escaped(to, title);
    fprintf(to,
            "</title>\n  <style>\n%s  </style>\n"
            "  <rect width=\"%g\" height=\"%g\" fill=\"#ffffff\"/>\n",
            style, width, height);
}

void svg_end(FILE *to)
{
    fputs("</svg>\n", to);
}

void svg_text(FILE *to, struct svg_point at, enum svg_anchor anchor, const char *class,
              const char *text)
{
    static const char *const anchors[] = { "start", "middle", "end" };
    fprintf(to, "  <text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", at.x, at.y,
            anchors[anchor], class);
    put_escaped(to, text);
    fputs("</text>\n", to);
}

void svg_text_upwards(FILE *to, struct svg_point at, const char *class, const char *text)
{
    fprintf(to,
            "  <text transform=\"translate(%.1f %.1f) rotate(-90)\" text-anchor=\"middle\" "
            "class=\"%s\">",
            at.x, at.y, class);
    put_escaped(to, text);
    fputs("</text>\n", to);
}

void svg_line(FILE *to, struct svg_point from, struct svg_point end, const char *class)
{
    fprintf(to, "  <line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", from.x,
            from.y, end.x, end.y, class);
}

void svg_dot(FILE *to, struct svg_point at, const char *class)
{
    fprintf(to, "  <circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" class=\"%s\"/>\n", at.x, at.y, class);
}

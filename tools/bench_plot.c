/* SPDX-License-Identifier: Apache-2.0
 *
 * Two plots above each other over one axis of depths: throughput from zero, latency on a
 * logarithmic axis. Dots are medians; bars span the rounds.
 */
#include <stdlib.h>

#include "bench_report.h"
#include "bench_units.h"
#include "svg.h"
#include "svg_axis.h"

#define WIDTH      780.0
#define HEIGHT     640.0
#define LEFT       100.0
#define RIGHT      670.0 /* of the plots */
#define UPPER      78.0  /* tops and bottoms of the two plots */
#define UPPER_END  290.0
#define LOWER      338.0
#define LOWER_END  550.0
#define LABEL_ROOM 30.0 /* between the depths that are written below each other */

static const char style[] =
    "    text { font: 13px sans-serif; fill: #24292f }\n"
    "    .title { font-size: 17px; font-weight: 600 } .small { font-size: 11px; fill: #57606a }\n"
    "    .head { font-weight: 600 }\n"
    "    .grid { stroke: #d8dee4 } .axis { stroke: #57606a }\n"
    "    .a { stroke: #0969da; stroke-width: 2.5 } .b { stroke: #1a7f37; stroke-width: 2.5 }\n"
    "    .c { stroke: #bc4c00; stroke-width: 2.5 } .d { stroke: #8250df; stroke-width: 2.5 }\n"
    "    .bar { stroke-width: 1.2 }\n"
    "    .a-dot { fill: #0969da } .b-dot { fill: #1a7f37 } .c-dot { fill: #bc4c00 }\n"
    "    .d-dot { fill: #8250df }\n";

struct curve {
    enum bench_metric metric;
    const char *name;
    const char *line, *bar, *dot; /* classes */
};

static const struct curve throughput[] = { { BENCH_IOPS, "IOPS", "a", "a bar", "a-dot" } };
static const struct curve latencies[] = {
    { BENCH_P999, "p99.9", "d", "d bar", "d-dot" },
    { BENCH_P99, "p99", "c", "c bar", "c-dot" },
    { BENCH_P50, "p50", "b", "b bar", "b-dot" },
};

struct plot {
    FILE *to;
    const struct bench_report *report;
    const struct curve *curves;
    unsigned count; /* of curves */
    double top, bottom;
    struct svg_axis x, y;
};

/* The range of all that is drawn. */
static struct bench_spread range_of(const struct bench_report *report, const struct curve *curves,
                                    unsigned count)
{
    struct bench_spread range = { .least = UINT64_MAX }, one;
    for (unsigned i = 0; i < report->count; i++) {
        for (unsigned k = 0; k < count; k++) {
            if (!bench_report_spread(report, &report->series[i], curves[k].metric, &one))
                continue;
            range.least = one.least < range.least ? one.least : range.least;
            range.most = one.most > range.most ? one.most : range.most;
        }
    }
    if (range.most == 0)
        range.most = 1;
    if (range.least == 0 || range.least > range.most)
        range.least = 1;
    return range;
}

/* --- one curve -------------------------------------------------------------------------------- */

static void draw_bar(const struct plot *plot, double x, const struct bench_spread *spread,
                     const char *class)
{
    const double low = spread->least > 0 ? (double)spread->least : plot->y.low;
    const double from = svg_axis_at(&plot->y, low);
    const double end = svg_axis_at(&plot->y, (double)spread->most);
    svg_line(plot->to, (struct svg_point){ x, from }, (struct svg_point){ x, end }, class);
    svg_line(plot->to, (struct svg_point){ x - 4, from }, (struct svg_point){ x + 4, from }, class);
    svg_line(plot->to, (struct svg_point){ x - 4, end }, (struct svg_point){ x + 4, end }, class);
}

static void draw_curve(const struct plot *plot, const struct curve *curve)
{
    const struct bench_report *report = plot->report;
    struct svg_point last = { 0 };
    for (unsigned i = 0; i < report->count; i++) {
        struct bench_spread spread;
        if (!bench_report_spread(report, &report->series[i], curve->metric, &spread) ||
            spread.median == 0)
            continue;
        const struct svg_point at = { svg_axis_at(&plot->x, report->series[i].depth),
                                      svg_axis_at(&plot->y, (double)spread.median) };
        draw_bar(plot, at.x, &spread, curve->bar);
        if (last.x > 0)
            svg_line(plot->to, last, at, curve->line);
        svg_dot(plot->to, at, curve->dot);
        last = at;
    }
}

/* --- what is around them ---------------------------------------------------------------------- */

static void draw_depths(const struct plot *plot)
{
    double last = -LABEL_ROOM;
    for (unsigned i = 0; i < plot->report->count; i++) {
        const unsigned depth = plot->report->series[i].depth;
        const double x = svg_axis_at(&plot->x, depth);
        char buf[BENCH_UNITS_ROOM];
        svg_line(plot->to, (struct svg_point){ x, plot->top },
                 (struct svg_point){ x, plot->bottom }, "grid");
        if (x - last < LABEL_ROOM)
            continue;
        svg_text(plot->to, (struct svg_point){ x, plot->bottom + 18 }, SVG_MIDDLE, "tick",
                 bench_units_count(depth, buf));
        last = x;
    }
}

static void draw_frame(const struct plot *plot)
{
    svg_line(plot->to, (struct svg_point){ LEFT, plot->bottom },
             (struct svg_point){ RIGHT, plot->bottom }, "axis");
    svg_line(plot->to, (struct svg_point){ LEFT, plot->top },
             (struct svg_point){ LEFT, plot->bottom }, "axis");
}

static void draw_level(const struct plot *plot, double y, const char *label)
{
    svg_line(plot->to, (struct svg_point){ LEFT, y }, (struct svg_point){ RIGHT, y }, "grid");
    svg_text(plot->to, (struct svg_point){ LEFT - 8, y + 4 }, SVG_END, "tick", label);
}

static void draw_legend(const struct plot *plot)
{
    for (unsigned i = 0; i < plot->count; i++) {
        const double y = plot->top + 10 + 22 * i;
        svg_line(plot->to, (struct svg_point){ RIGHT + 14, y }, (struct svg_point){ RIGHT + 38, y },
                 plot->curves[i].line);
        svg_dot(plot->to, (struct svg_point){ RIGHT + 26, y }, plot->curves[i].dot);
        svg_text(plot->to, (struct svg_point){ RIGHT + 46, y + 4 }, SVG_START, "tick",
                 plot->curves[i].name);
    }
}

static void draw_curves(const struct plot *plot)
{
    draw_frame(plot);
    for (unsigned i = 0; i < plot->count; i++)
        draw_curve(plot, &plot->curves[i]);
}

/* --- the two plots ---------------------------------------------------------------------------- */

static struct svg_axis depth_axis(const struct bench_report *report)
{
    return (struct svg_axis){ .low = report->series[0].depth,
                              .high = report->series[report->count - 1].depth,
                              .start = LEFT + 20,
                              .end = RIGHT - 20,
                              .logarithmic = true };
}

/* Requests a second on the left, bytes a second on the right: they go together. */
static void draw_throughput(FILE *to, const struct bench_report *report)
{
    const struct bench_spread range = range_of(report, throughput, 1);
    struct plot plot = { .to = to,
                         .report = report,
                         .curves = throughput,
                         .count = 1,
                         .top = UPPER,
                         .bottom = UPPER_END,
                         .x = depth_axis(report) };
    double ticks[SVG_TICKS_MAX];
    char buf[BENCH_UNITS_ROOM];
    plot.y = svg_axis_linear((double)range.most, plot.bottom, plot.top);
    draw_depths(&plot);
    for (unsigned i = 0, count = svg_axis_ticks(&plot.y, ticks); i < count; i++) {
        const double y = svg_axis_at(&plot.y, ticks[i]);
        const double rate = ticks[i] * report->options->load.work.len;
        draw_level(&plot, y, bench_units_count((uint64_t)(ticks[i] + 0.5), buf));
        svg_text(to, (struct svg_point){ RIGHT + 8, y + 4 }, SVG_START, "small",
                 bench_units_rate((uint64_t)(rate + 0.5), buf));
    }
    draw_curves(&plot);
    svg_text_upwards(to, (struct svg_point){ 18, (UPPER + UPPER_END) / 2 }, "head",
                     "Throughput (requests/s)");
    svg_text_upwards(to, (struct svg_point){ WIDTH - 16, (UPPER + UPPER_END) / 2 }, "small",
                     "MB/s");
}

static void draw_latency(FILE *to, const struct bench_report *report)
{
    const unsigned count = sizeof(latencies) / sizeof(latencies[0]);
    const struct bench_spread range = range_of(report, latencies, count);
    struct plot plot = { .to = to,
                         .report = report,
                         .curves = latencies,
                         .count = count,
                         .top = LOWER,
                         .bottom = LOWER_END,
                         .x = depth_axis(report) };
    double ticks[SVG_TICKS_MAX];
    char buf[BENCH_UNITS_ROOM];
    plot.y = svg_axis_log((double)range.least, (double)range.most, plot.bottom, plot.top);
    draw_depths(&plot);
    for (unsigned i = 0, n = svg_axis_ticks(&plot.y, ticks); i < n; i++)
        draw_level(&plot, svg_axis_at(&plot.y, ticks[i]),
                   bench_units_round_time((uint64_t)(ticks[i] + 0.5), buf));
    draw_curves(&plot);
    draw_legend(&plot);
    svg_text_upwards(to, (struct svg_point){ 18, (LOWER + LOWER_END) / 2 }, "head",
                     "Latency of a request");
}

/* --- words ------------------------------------------------------------------------------------ */

typedef void (*words_fn)(FILE *to, const struct bench_report *report);

static void put_load(FILE *to, const struct bench_report *report)
{
    bench_print_load(to, &report->options->load);
}

static void put_rounds(FILE *to, const struct bench_report *report)
{
    if (report->options->rounds == 1)
        fputs("One round.", to);
    else
        fprintf(to, "Medians of %u rounds; bars go from the least to the greatest.",
                report->options->rounds);
    fprintf(to, " Images on %s%s.", report->machine.file_system,
            report->options->cold ? ", dropped from the page cache before each round" : "");
}

static void draw_words(FILE *to, const struct bench_report *report, double y, const char *class,
                       words_fn words)
{
    char *text = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&text, &len);
    if (!memory)
        return;
    words(memory, report);
    if (fclose(memory) == 0)
        svg_text(to, (struct svg_point){ LEFT, y }, SVG_START, class, text);
    free(text);
}

void bench_print_plot(FILE *to, const struct bench_report *report)
{
    static const char title[] = "Throughput and latency against the depth of the chain";
    svg_begin(to, WIDTH, HEIGHT, title, style);
    svg_text(to, (struct svg_point){ LEFT, 30 }, SVG_START, "title", title);
    draw_words(to, report, 52, "tick", put_load);
    draw_throughput(to, report);
    draw_latency(to, report);
    svg_text(to, (struct svg_point){ (LEFT + RIGHT) / 2, LOWER_END + 38 }, SVG_MIDDLE, "head",
             "Images in the chain");
    draw_words(to, report, LOWER_END + 62, "small", bench_print_machine);
    draw_words(to, report, LOWER_END + 78, "small", put_rounds);
    svg_end(to);
}

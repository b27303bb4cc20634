/* SPDX-License-Identifier: Apache-2.0
 *
 * What `bench` found, and how it is told: as a table, as JSON, as CSV, as a plot, and beside an
 * older report. Each of these is a file of its own and reads the struct here.
 */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include "bench_machine.h"
#include "bench_meter.h"
#include "bench_options.h"
#include "bench_stats.h"

enum bench_better { BENCH_NEITHER, BENCH_MORE, BENCH_LESS };

enum bench_metric {
#define METRIC(id, key, better, holds) BENCH_##id,
#include "bench_metrics.def"
#undef METRIC
    BENCH_METRICS,
};

struct bench_metric_row {
    const char *key;
    enum bench_better better;
    bool holds;
};

extern const struct bench_metric_row bench_metric_rows[BENCH_METRICS];

/* All rounds over one image. */
struct bench_series {
    char *name;     /* of the image; owned */
    unsigned depth; /* images in its chain */
    uint64_t disk_bytes, request_hash;
    uint64_t (*rounds)[BENCH_METRICS]; /* options->rounds of them, owned; BENCH_NOT_MEASURED */
};

struct bench_report {
    const struct bench_options *options;
    const struct qimg_context_options *context; /* that the measured contexts were made with */
    struct bench_machine machine;
    const char *engine;       /* that did the work */
    struct bench_meter meter; /* of all rounds */
    uint64_t hashed_requests; /* that request_hash is of */
    struct bench_series *series;
    unsigned count; /* of series */
};

void bench_report_release(struct bench_report *report);

/* Over all rounds; false where one of them lacks it. */
bool bench_report_spread(const struct bench_report *report, const struct bench_series *series,
                         enum bench_metric metric, struct bench_spread *out);

struct bench_comparison;

/* --- bench_text.c, bench_json.c, bench_csv.c --- */
/* A line without its end each: what was asked of the image; by whom and where. */
void bench_print_load(FILE *to, const struct bench_load *load);
void bench_print_machine(FILE *to, const struct bench_report *report);
void bench_print_text(FILE *to, const struct bench_report *report);
/* @comparison NULL = none. */
void bench_print_json(FILE *to, const struct bench_report *report,
                      const struct bench_comparison *comparison);
void bench_print_csv(FILE *to, const struct bench_report *report);

/* --- bench_plot.c --- */
void bench_print_plot(FILE *to, const struct bench_report *report);

#endif

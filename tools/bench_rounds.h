/* SPDX-License-Identifier: Apache-2.0
 *
 * The measurement: rounds over one image, or over chains of several depths that take turns, so that
 * what changes on the machine meanwhile meets all of them alike.
 */
#ifndef TOOLS_BENCH_ROUNDS_H
#define TOOLS_BENCH_ROUNDS_H

#include "bench_report.h"

/* What opens the image for this benchmark. */
struct qimg_open_options bench_open_options(const struct bench_options *options);

/* Measures as report->options say and fills the rest of @report, which was zeroed and is released
 * by the caller, also after a failure. EXIT_DONE or EXIT_FAILED; where a signal stopped it
 * (job_stopped()), nothing was said. Chains that were made are gone when this returns. */
int bench_rounds_run(struct tool *tool, struct bench_report *report);

#endif

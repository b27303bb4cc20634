/* SPDX-License-Identifier: Apache-2.0
 *
 * What `bench` found, as JSON: more than qemu-img's lines can tell.
 */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include "bench_load.h"

/* @context had no other work than this run. */
void bench_report_json(const struct qimg_context *context, const struct bench_load *load,
                       const struct bench_result *result);

#endif

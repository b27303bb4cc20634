/* SPDX-License-Identifier: Apache-2.0
 *
 * Filling and releasing the report; how it is shown is in other files.
 */
#include "bench_report.h"

#include <stdlib.h>

#include "bench_meter.h"

#define ROUNDS_MAX 1000 /* of --rounds */

const struct bench_metric_row bench_metric_rows[BENCH_METRICS] = {
#define METRIC(id, key, better, holds) { key, BENCH_##better, holds },
#include "bench_metrics.def"
#undef METRIC
};

void bench_report_release(struct bench_report *report)
{
    for (unsigned i = 0; i < report->count; i++) {
        free(report->series[i].name);
        free(report->series[i].rounds);
    }
    free(report->series);
}

bool bench_report_spread(const struct bench_report *report, const struct bench_series *series,
                         enum bench_metric metric, struct bench_spread *out)
{
    const unsigned count = report->options->rounds;
    uint64_t values[ROUNDS_MAX];
    for (unsigned i = 0; i < count; i++) {
        values[i] = series->rounds[i][metric];
        if (values[i] == BENCH_NOT_MEASURED)
            return false;
    }
    *out = bench_spread_of(values, count);
    return true;
}

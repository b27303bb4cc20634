/* SPDX-License-Identifier: Apache-2.0
 *
 * All numbers are whole: times in nanoseconds, sizes in bytes.
 */
#include "bench_report.h"

#include <sys/resource.h>

#include "out.h"

static void print_load(struct out *out, const struct bench_load *load)
{
    out_text(out, "operation", load->write ? "write" : "read");
    out_number(out, "requests", load->count);
    out_number(out, "request-bytes", load->len);
    out_number(out, "depth", load->depth);
    out_number(out, "offset", load->off);
    out_number(out, "step-bytes", load->step);
    out_number(out, "flush-interval", load->flush_interval);
}

static void print_latency(struct out *out, const struct bench_histogram *latency)
{
    out_object(out, "latency-ns");
    out_number(out, "p50", bench_histogram_quantile(latency, 500));
    out_number(out, "p90", bench_histogram_quantile(latency, 900));
    out_number(out, "p99", bench_histogram_quantile(latency, 990));
    out_number(out, "p99.9", bench_histogram_quantile(latency, 999));
    out_number(out, "max", latency->max);
    out_close(out);
}

static void print_work(struct out *out, const struct qimg_context *context)
{
    struct qimg_stats stats;
    struct rusage usage;
    qimg_context_stats(context, &stats);
    getrusage(RUSAGE_SELF, &usage);
    out_number(out, "peak-memory-bytes", (uint64_t)usage.ru_maxrss * 1024);
    out_number(out, "submits", stats.submits);
    out_number(out, "syncs", stats.syncs);
    out_number(out, "tables-loaded", stats.tables_loaded);
    out_number(out, "map-hits", stats.map_hits);
    out_number(out, "map-misses", stats.map_misses);
}

void bench_report_json(const struct qimg_context *context, const struct bench_load *load,
                       const struct bench_result *result)
{
    struct out out = out_json(stdout);
    const double requests = (double)load->count / result->seconds;
    out_object(&out, NULL);
    print_load(&out, load);
    out_number(&out, "duration-ns", (uint64_t)(result->seconds * 1e9));
    out_number(&out, "requests-per-second", (uint64_t)requests);
    out_number(&out, "bytes-per-second", (uint64_t)(requests * load->len));
    print_latency(&out, &result->latency);
    print_work(&out, context);
    out_close(&out);
}

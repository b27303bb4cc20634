/* SPDX-License-Identifier: Apache-2.0
 *
 * The report as JSON, which is also what --against reads. All measured numbers are whole: times in
 * nanoseconds, sizes in bytes. "config" holds what two reports must share to be compared.
 */
#include <inttypes.h>

#include "bench_against.h"
#include "out.h"

static const char *operation(const struct bench_workload *work)
{
    if (work->write_percent == 0)
        return "read";
    return work->write_percent == 100 ? "write" : "mixed";
}

static void print_load(struct out *out, const struct bench_load *load)
{
    const struct bench_workload *work = &load->work;
    out_text(out, "operation", operation(work));
    out_number(out, "write-percent", work->write_percent);
    out_text(out, "pattern-access", bench_access_names[work->access]);
    if (work->access == BENCH_SEQ || work->access == BENCH_STRIDE) {
        out_number(out, "offset", work->off);
        out_number(out, "step-bytes", work->step);
    }
    out_number(out, "seed", work->seed);
    out_number(out, "request-bytes", work->len);
    out_number(out, "queue-depth", load->depth);
    if (load->runtime_ns)
        out_number(out, "runtime-ns", load->runtime_ns);
    else
        out_number(out, "requests", load->count);
    if (work->write_percent > 0) {
        out_number(out, "pattern-byte", load->pattern);
        out_number(out, "flush-interval", load->flush_interval);
        out_flag(out, "drain", !load->no_drain);
    }
}

static void print_config(struct out *out, const struct bench_report *report)
{
    const struct bench_options *options = report->options;
    out_object(out, "config");
    print_load(out, &options->load);
    out_number(out, "warm-up-ns", options->warm_up_ns);
    out_flag(out, "cold", options->cold);
    out_text(out, "cache", bench_cache_name(options->cache));
    out_text(out, "engine", report->engine);
    if (report->context->threads)
        out_number(out, "worker-threads", report->context->threads);
    if (report->context->map_budget)
        out_number(out, "map-budget-bytes", report->context->map_budget);
    if (options->depths.count) {
        out_object(out, "chain");
        out_number(out, "disk-bytes", options->chain_size);
        out_number(out, "cluster-bytes", BENCH_CHAIN_CLUSTER);
        out_close(out);
    }
    out_close(out);
}

static void print_environment(struct out *out, const struct bench_report *report)
{
    const struct bench_machine *machine = &report->machine;
    out_object(out, "environment");
    out_text(out, "qimg", qimg_version());
    out_text(out, "date", machine->date);
    out_text(out, "kernel", machine->kernel);
    out_text(out, "cpu", machine->cpu);
    out_number(out, "processors", machine->processors);
    out_text(out, "file-system", machine->file_system);
    out_close(out);
}

static void print_metric(struct out *out, const struct bench_report *report,
                         const struct bench_series *series, enum bench_metric metric)
{
    struct bench_spread spread;
    if (!bench_report_spread(report, series, metric, &spread))
        return;
    out_object(out, bench_metric_rows[metric].key);
    out_number(out, "median", spread.median);
    out_number(out, "min", spread.least);
    out_number(out, "max", spread.most);
    out_list(out, "rounds");
    for (unsigned i = 0; i < report->options->rounds; i++)
        out_number(out, NULL, series->rounds[i][metric]);
    out_close(out);
    out_close(out);
}

static void print_series(struct out *out, const struct bench_report *report,
                         const struct bench_series *series)
{
    char hash[17];
    snprintf(hash, sizeof(hash), "%016" PRIx64, series->request_hash);
    out_object(out, NULL);
    out_number(out, "depth", series->depth);
    if (!report->options->depths.count)
        out_text(out, "image", series->name);
    out_number(out, "disk-bytes", series->disk_bytes);
    out_text(out, "request-hash", hash);
    out_object(out, "metrics");
    for (unsigned i = 0; i < BENCH_METRICS; i++)
        print_metric(out, report, series, i);
    out_close(out);
    out_close(out);
}

void bench_print_json(FILE *to, const struct bench_report *report,
                      const struct bench_comparison *comparison)
{
    struct out out = out_json(to);
    out_object(&out, NULL);
    out_number(&out, "qimg-bench", 1);
    print_config(&out, report);
    print_environment(&out, report);
    out_number(&out, "rounds", report->options->rounds);
    out_number(&out, "hashed-requests", report->hashed_requests);
    out_list(&out, "results");
    for (unsigned i = 0; i < report->count; i++)
        print_series(&out, report, &report->series[i]);
    out_close(&out);
    if (report->meter.no_calls[0])
        out_text(&out, "system-calls-not-counted", report->meter.no_calls);
    if (comparison)
        bench_comparison_json(&out, comparison);
    out_close(&out);
}

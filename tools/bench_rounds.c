/* SPDX-License-Identifier: Apache-2.0
 *
 * One round: everything is made anew, so that all rounds start alike. What is measured begins when
 * the image is open, the page cache is as it was asked for, and warming up is over.
 */
#include "bench_rounds.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "bench_chain.h"
#include "bench_meter.h"

#define HASHED 65536 /* requests, where their number is not known before */

/* Warming up has requests of its own: those that are measured come as they would without. */
#define WARM_UP_SEED UINT64_C(0x77a12b5eed)

struct round {
    struct tool *tool;
    struct bench_report *report;
    struct bench_series *series;
    struct bench_result result;
    struct bench_used used; /* in the end less what it was before; but for the peak */
    struct qimg_stats stats;
    uint64_t cached; /* bytes that stayed in the page cache; BENCH_NOT_MEASURED = nobody looked */
};

struct qimg_open_options bench_open_options(const struct bench_options *options)
{
    return (struct qimg_open_options){
        .format = options->format,
        .writable = bench_options_write(options),
        .cache = options->cache,
        .share = options->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .image_opts = options->image_opts,
    };
}

/* --- a round ---------------------------------------------------------------------------------- */

static int make_cold(struct round *r, struct qimg_image *image)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_image_uncache(image, &r->cached, &err) < 0)
        return tool_fail_error(r->tool, "", &err);
    return EXIT_DONE;
}

static int warm_up(const struct round *r, struct qimg_image *image)
{
    struct bench_load load = r->report->options->load;
    struct bench_result *unused = calloc(1, sizeof(*unused));
    if (!unused)
        return tool_fail(r->tool, "out of memory");
    load.runtime_ns = r->report->options->warm_up_ns;
    load.work.seed ^= WARM_UP_SEED;
    const int code = bench_load_run(r->tool, image, &load, unused);
    free(unused);
    return code;
}

static int prepare(struct round *r, struct qimg_image *image)
{
    const struct bench_options *options = r->report->options;
    if (options->cold)
        return make_cold(r, image);
    return options->warm_up_ns ? warm_up(r, image) : EXIT_DONE;
}

static int run_load(struct round *r, const struct qimg_context *context, struct qimg_image *image,
                    const struct bench_meter *meter)
{
    struct bench_used before;
    struct qimg_stats stats;
    qimg_context_stats(context, &stats);
    bench_meter_read(meter, &before);
    const int code = bench_load_run(r->tool, image, &r->report->options->load, &r->result);
    bench_meter_read(meter, &r->used);
    qimg_context_stats(context, &r->stats);
    r->used.cpu_ns -= before.cpu_ns;
    if (r->used.calls != BENCH_NOT_MEASURED)
        r->used.calls -= before.calls;
    r->stats.submits -= stats.submits;
    r->stats.bytes_read -= stats.bytes_read;
    r->stats.bytes_written -= stats.bytes_written;
    r->stats.syncs -= stats.syncs;
    r->stats.map_hits -= stats.map_hits;
    r->stats.map_misses -= stats.map_misses;
    r->stats.tables_loaded -= stats.tables_loaded;
    return code;
}

static int measure(struct round *r, const struct qimg_context *context, struct qimg_image *image,
                   const struct bench_meter *meter)
{
    const struct bench_options *options = r->report->options;
    struct qimg_error err;
    qimg_error_clear(&err);
    r->series->disk_bytes = qimg_image_size(image);
    r->series->depth = qimg_image_depth(image);
    bench_machine_look(&r->report->machine, qimg_image_file(image, 0));
    if (r->series->disk_bytes < options->load.work.len)
        return tool_fail(r->tool,
                         "a request of %" PRIu32 " bytes does not fit on the disk (%" PRIu64 ")",
                         options->load.work.len, r->series->disk_bytes);
    int code = prepare(r, image);
    if (code == EXIT_DONE)
        code = run_load(r, context, image, meter);
    if (bench_options_write(options) && qimg_image_finish(image, &err) < 0)
        code = tool_fail_error(r->tool, "", &err);
    return code;
}

static int open_and_measure(struct round *r, const struct bench_meter *meter)
{
    const struct qimg_open_options how = bench_open_options(r->report->options);
    struct qimg_context *context;
    struct qimg_image *image;
    if (tool_context(r->tool, &context))
        return EXIT_FAILED;
    int code = args_open(r->tool, context, r->series->name, &how, &image);
    if (code == EXIT_DONE) {
        code = measure(r, context, image, meter);
        qimg_image_close(image);
    }
    qimg_context_free(context);
    return code;
}

static uint64_t per(uint64_t amount, uint64_t unit, uint64_t of)
{
    if (amount == BENCH_NOT_MEASURED || of == 0)
        return BENCH_NOT_MEASURED;
    return (uint64_t)((double)amount * (double)unit / (double)of + 0.5);
}

static void note_latencies(const struct bench_histogram *latency, uint64_t *values)
{
    struct bench_histogram all = latency[BENCH_READ];
    bench_histogram_merge(&all, &latency[BENCH_WRITE]);
    values[BENCH_P50] = bench_histogram_quantile(&all, 500);
    values[BENCH_P90] = bench_histogram_quantile(&all, 900);
    values[BENCH_P99] = bench_histogram_quantile(&all, 990);
    values[BENCH_P999] = bench_histogram_quantile(&all, 999);
    values[BENCH_MAX] = all.max;
    if (latency[BENCH_READ].count == 0 || latency[BENCH_WRITE].count == 0)
        return;
    values[BENCH_READ_P50] = bench_histogram_quantile(&latency[BENCH_READ], 500);
    values[BENCH_READ_P99] = bench_histogram_quantile(&latency[BENCH_READ], 990);
    values[BENCH_WRITE_P50] = bench_histogram_quantile(&latency[BENCH_WRITE], 500);
    values[BENCH_WRITE_P99] = bench_histogram_quantile(&latency[BENCH_WRITE], 990);
}

static void note_round(const struct round *r, uint64_t *values)
{
    const struct bench_result *result = &r->result;
    const uint64_t writes = result->latency[BENCH_WRITE].count;
    const uint64_t requests = result->latency[BENCH_READ].count + writes;
    for (unsigned i = 0; i < BENCH_METRICS; i++)
        values[i] = BENCH_NOT_MEASURED;
    values[BENCH_REQUESTS] = requests;
    values[BENCH_WRITES] = writes;
    values[BENCH_DURATION] = result->ns;
    values[BENCH_IOPS] = per(requests, 1000000000, result->ns);
    values[BENCH_RATE] = per(requests * r->report->options->load.work.len, 1000000000, result->ns);
    note_latencies(result->latency, values);
    values[BENCH_CPU_TOTAL] = r->used.cpu_ns;
    values[BENCH_CPU] = per(r->used.cpu_ns, 1, requests);
    values[BENCH_CALLS_TOTAL] = r->used.calls;
    values[BENCH_CALLS] = per(r->used.calls, 1000, requests);
    values[BENCH_SUBMITS] = r->stats.submits;
    values[BENCH_BYTES_READ] = r->stats.bytes_read;
    values[BENCH_BYTES_WRITTEN] = r->stats.bytes_written;
    values[BENCH_SYNCS] = r->stats.syncs;
    values[BENCH_MEMORY] = r->used.peak_memory;
    values[BENCH_MAP_HITS] = r->stats.map_hits;
    values[BENCH_MAP_MISSES] = r->stats.map_misses;
    values[BENCH_TABLES] = r->stats.tables_loaded;
    values[BENCH_CACHED] = r->cached;
}

static int run_round(struct tool *tool, struct bench_report *report, unsigned index,
                     unsigned number)
{
    struct bench_series *series = &report->series[index];
    struct round *r = malloc(sizeof(*r)); /* histograms are large */
    if (!r)
        return tool_fail(tool, "out of memory");
    *r = (struct round){
        .tool = tool, .report = report, .series = series, .cached = BENCH_NOT_MEASURED
    };
    bench_meter_start(&report->meter);
    const int code = open_and_measure(r, &report->meter);
    report->engine = r->result.engine;
    if (code == EXIT_DONE)
        note_round(r, series->rounds[number]);
    free(r);
    return code;
}

/* --- all rounds ------------------------------------------------------------------------------- */

static int make_series(const struct tool *tool, struct bench_report *report, const char *scratch)
{
    const struct bench_options *options = report->options;
    const unsigned count = scratch ? options->depths.count : 1;
    report->series = calloc(count, sizeof(*report->series));
    if (!report->series)
        return tool_fail(tool, "out of memory");
    report->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct bench_series *series = &report->series[i];
        series->depth = options->depths.list[i];
        series->name = scratch ? bench_chain_top(scratch, series->depth) : strdup(options->name);
        series->rounds = calloc(options->rounds, sizeof(*series->rounds));
        if (!series->name || !series->rounds)
            return tool_fail(tool, "out of memory");
    }
    return EXIT_DONE;
}

/* What a round has written into the top image is not there for the next. */
static int renew(struct tool *tool, const struct bench_report *report, unsigned index,
                 const char *scratch, bool first)
{
    const struct bench_chain chain = { .depth = report->options->depths.list[index],
                                       .size = report->options->chain_size,
                                       .top_alone = !first };
    if (!scratch || (!first && !bench_options_write(report->options)))
        return EXIT_DONE;
    return bench_chain_build(tool, scratch, &chain);
}

static void hash_requests(struct bench_report *report)
{
    const struct bench_load *load = &report->options->load;
    report->hashed_requests = load->runtime_ns ? HASHED : load->count;
    for (unsigned i = 0; i < report->count; i++)
        report->series[i].request_hash =
            bench_requests_hash(&load->work, report->series[i].disk_bytes, report->hashed_requests);
}

static int run_all(struct tool *tool, struct bench_report *report, const char *scratch)
{
    int code = make_series(tool, report, scratch);
    for (unsigned i = 0; code == EXIT_DONE && i < report->count; i++)
        code = renew(tool, report, i, scratch, true);
    for (unsigned round = 0; round < report->options->rounds; round++) {
        for (unsigned i = 0; code == EXIT_DONE && i < report->count; i++) {
            if (round > 0)
                code = renew(tool, report, i, scratch, false);
            if (code == EXIT_DONE)
                code = run_round(tool, report, i, round);
        }
    }
    if (code == EXIT_DONE)
        hash_requests(report);
    return code;
}

int bench_rounds_run(struct tool *tool, struct bench_report *report)
{
    const struct bench_options *options = report->options;
    char *scratch = NULL;
    if (options->depths.count && bench_scratch_make(tool, options->scratch, &scratch))
        return EXIT_FAILED;
    bench_meter_open(&report->meter);
    const int code = run_all(tool, report, scratch);
    bench_meter_close(&report->meter);
    bench_scratch_remove(tool, scratch);
    return code;
}

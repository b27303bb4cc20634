/* SPDX-License-Identifier: Apache-2.0
 *
 * The report as CSV (RFC 4180): a row for each image; what was asked for stands in each of them, so
 * that files can be joined. Where nothing was measured, the field is empty.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "bench_report.h"
#include "text.h"

/* In quotes, and fit for a terminal too. */
static void print_text(FILE *to, const char *text)
{
    char *shown = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&shown, &len);
    if (!memory)
        return;
    text_show(memory, text);
    if (fclose(memory) != 0)
        len = 0;
    putc('"', to);
    for (size_t i = 0; i < len; i++) {
        if (shown[i] == '"')
            putc('"', to);
        putc(shown[i], to);
    }
    fputs("\",", to);
    free(shown);
}

static void print_heads(FILE *to)
{
    fputs("depth,image,disk-bytes,pattern-access,write-percent,request-bytes,queue-depth,seed,"
          "cache,cold,engine,qimg,kernel,file-system,rounds",
          to);
    for (unsigned i = 0; i < BENCH_METRICS; i++) {
        const char *key = bench_metric_rows[i].key;
        fprintf(to, ",%s,%s-min,%s-max", key, key, key);
    }
    putc('\n', to);
}

static void print_asked(FILE *to, const struct bench_report *report)
{
    const struct bench_options *options = report->options;
    const struct bench_workload *work = &options->load.work;
    fprintf(to, "%s,%u,%" PRIu32 ",%" PRIu32 ",%" PRIu64 ",%s,%s,%s,%s,",
            bench_access_names[work->access], work->write_percent, work->len, options->load.depth,
            work->seed, bench_cache_name(options->cache), options->cold ? "true" : "false",
            report->engine, qimg_version());
    print_text(to, report->machine.kernel);
    print_text(to, report->machine.file_system);
    fprintf(to, "%u", options->rounds);
}

static void print_series(FILE *to, const struct bench_report *report,
                         const struct bench_series *series)
{
    fprintf(to, "%u,", series->depth);
    print_text(to, report->options->depths.count ? "" : series->name);
    fprintf(to, "%" PRIu64 ",", series->disk_bytes);
    print_asked(to, report);
    for (unsigned i = 0; i < BENCH_METRICS; i++) {
        struct bench_spread spread;
        if (bench_report_spread(report, series, i, &spread))
            fprintf(to, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, spread.median, spread.least,
                    spread.most);
        else
            fputs(",,,", to);
    }
    putc('\n', to);
}

void bench_print_csv(FILE *to, const struct bench_report *report)
{
    print_heads(to);
    for (unsigned i = 0; i < report->count; i++)
        print_series(to, report, &report->series[i]);
}

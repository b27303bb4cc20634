/* SPDX-License-Identifier: Apache-2.0
 *
 * The report as text: what was done, where, two tables of medians, and what is to be known about
 * them.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "bench_meter.h"
#include "bench_report.h"
#include "bench_units.h"
#include "text.h"

/* --- what was done ---------------------------------------------------------------------------- */

static void print_access(FILE *to, const struct bench_workload *work)
{
    static const char *const words[] = { "sequential", "strided", "random", "zipf-distributed" };
    fprintf(to, "%s ", words[work->access]);
    if (work->write_percent == 0)
        fputs("reads", to);
    else if (work->write_percent == 100)
        fputs("writes", to);
    else
        fprintf(to, "reads and writes (%u%% are writes)", work->write_percent);
}

/* "20,000 random reads of 4 KiB, 64 at a time, seed 0" */
void bench_print_load(FILE *to, const struct bench_load *load)
{
    const struct bench_workload *work = &load->work;
    char buf[BENCH_UNITS_ROOM], size[TEXT_SIZE_ROOM];
    if (load->runtime_ns == 0)
        fprintf(to, "%s ", bench_units_count(load->count, buf));
    print_access(to, work);
    fprintf(to, " of %s", text_size(work->len, size));
    if (work->access == BENCH_STRIDE)
        fprintf(to, " every %s", text_size(work->step, size));
    if (load->runtime_ns)
        fprintf(to, " for %s", bench_units_time(load->runtime_ns, buf));
    fprintf(to, ", %" PRIu32 " at a time", load->depth);
    if (load->flush_interval)
        fprintf(to, ", a flush after each %" PRIu32, load->flush_interval);
    if (work->access == BENCH_RANDOM || work->access == BENCH_ZIPF ||
        work->write_percent % 100 != 0)
        fprintf(to, ", seed %" PRIu64, work->seed);
}

static void print_images(FILE *to, const struct bench_report *report)
{
    const struct bench_options *options = report->options;
    char size[TEXT_SIZE_ROOM], time[BENCH_UNITS_ROOM];
    if (options->depths.count) {
        fprintf(to, "chains with disks of %s", text_size(options->chain_size, size));
    } else {
        text_show(to, report->series[0].name);
        fprintf(to, ", a disk of %s", text_size(report->series[0].disk_bytes, size));
    }
    fputs(" on ", to);
    text_show(to, report->machine.file_system);
    if (options->cold)
        fputs("; dropped from the page cache before each round", to);
    else if (options->warm_up_ns)
        fprintf(to, "; warmed up for %s", bench_units_time(options->warm_up_ns, time));
}

/* "threads engine, cache mode writeback; Linux 6.18.44 x86_64, 2 processors, qimg 0.1.0" */
void bench_print_machine(FILE *to, const struct bench_report *report)
{
    const struct bench_machine *machine = &report->machine;
    fprintf(to, "%s engine, cache mode %s; ", report->engine,
            bench_cache_name(report->options->cache));
    text_show(to, machine->kernel);
    fprintf(to, ", %u processors (", machine->processors);
    text_show(to, machine->cpu);
    fprintf(to, "), qimg %s", qimg_version());
}

/* --- tables ----------------------------------------------------------------------------------- */

enum unit { UNIT_COUNT, UNIT_TIME, UNIT_RATE, UNIT_SIZE, UNIT_THOUSANDTH, UNIT_SPREAD };

struct column {
    const char *head;
    int width;
    enum bench_metric metric;
    enum unit unit;
};

static const struct column speeds[] = {
    { "IOPS", 11, BENCH_IOPS, UNIT_COUNT },
    { "spread", 9, BENCH_IOPS, UNIT_SPREAD },
    { "MB/s", 10, BENCH_RATE, UNIT_RATE },
    { "p50", 10, BENCH_P50, UNIT_TIME },
    { "p90", 10, BENCH_P90, UNIT_TIME },
    { "p99", 10, BENCH_P99, UNIT_TIME },
    { "p99.9", 10, BENCH_P999, UNIT_TIME },
    { "max", 10, BENCH_MAX, UNIT_TIME },
    { NULL, 0, 0, 0 },
};

static const struct column mixed[] = {
    { "read p50", 12, BENCH_READ_P50, UNIT_TIME },
    { "read p99", 12, BENCH_READ_P99, UNIT_TIME },
    { "write p50", 12, BENCH_WRITE_P50, UNIT_TIME },
    { "write p99", 12, BENCH_WRITE_P99, UNIT_TIME },
    { NULL, 0, 0, 0 },
};

static const struct column costs[] = {
    { "CPU/request", 14, BENCH_CPU, UNIT_TIME },
    { "calls/request", 15, BENCH_CALLS, UNIT_THOUSANDTH },
    { "memory", 12, BENCH_MEMORY, UNIT_SIZE },
    { "map hits", 11, BENCH_MAP_HITS, UNIT_COUNT },
    { "map misses", 12, BENCH_MAP_MISSES, UNIT_COUNT },
    { "tables", 9, BENCH_TABLES, UNIT_COUNT },
    { NULL, 0, 0, 0 },
};

static const char *format(const struct bench_spread *spread, enum unit unit,
                          char buf[BENCH_UNITS_ROOM])
{
    static_assert(TEXT_SIZE_ROOM <= BENCH_UNITS_ROOM, "any unit fits");
    switch (unit) {
    case UNIT_COUNT:
        return bench_units_count(spread->median, buf);
    case UNIT_TIME:
        return bench_units_time(spread->median, buf);
    case UNIT_RATE:
        return bench_units_rate(spread->median, buf);
    case UNIT_SIZE:
        return text_size(spread->median, buf);
    case UNIT_THOUSANDTH:
        snprintf(buf, BENCH_UNITS_ROOM, "%.3f", (double)spread->median / 1000);
        return buf;
    case UNIT_SPREAD:
        snprintf(buf, BENCH_UNITS_ROOM, "+-%.1f%%", bench_spread_percent(spread));
        return buf;
    }
    return "";
}

static void print_cell(FILE *to, const struct bench_report *report,
                       const struct bench_series *series, const struct column *column)
{
    struct bench_spread spread;
    char buf[BENCH_UNITS_ROOM];
    const bool measured = bench_report_spread(report, series, column->metric, &spread) &&
                          (column->unit != UNIT_SPREAD || report->options->rounds > 1);
    fprintf(to, "%*s", column->width, measured ? format(&spread, column->unit, buf) : "-");
}

static void print_table(FILE *to, const struct bench_report *report, const struct column *columns)
{
    fputs("\ndepth", to);
    for (const struct column *column = columns; column->head; column++)
        fprintf(to, "%*s", column->width, column->head);
    putc('\n', to);
    for (unsigned i = 0; i < report->count; i++) {
        fprintf(to, "%5u", report->series[i].depth);
        for (const struct column *column = columns; column->head; column++)
            print_cell(to, report, &report->series[i], column);
        putc('\n', to);
    }
}

/* --- what is to be known -------------------------------------------------------------------- */

/* The most that any round left in the page cache; 0 where --cold worked, or was not asked for. */
static uint64_t left_in_cache(const struct bench_report *report)
{
    uint64_t most = 0;
    for (unsigned i = 0; report->options->cold && i < report->count; i++) {
        struct bench_spread spread;
        if (!bench_report_spread(report, &report->series[i], BENCH_CACHED, &spread))
            return BENCH_NOT_MEASURED;
        if (spread.most > most)
            most = spread.most;
    }
    return most;
}

static void print_notes(FILE *to, const struct bench_report *report)
{
    const unsigned rounds = report->options->rounds;
    const uint64_t left = left_in_cache(report);
    char size[TEXT_SIZE_ROOM];
    if (rounds == 1)
        fputs("\nOne round: there is no telling how much of this is chance.\n", to);
    else
        fprintf(to,
                "\nMedians of %u rounds; spread: half the distance from the worst to the best.\n",
                rounds);
    if (report->meter.no_calls[0]) {
        fputs("System calls were not counted (", to);
        text_show(to, report->meter.no_calls);
        fputs(").\n", to);
    }
    if (left == BENCH_NOT_MEASURED)
        fputs("Not known to be cold: the kernel does not tell what the page cache has of these "
              "files.\n",
              to);
    else if (left > 0)
        fprintf(to, "Not cold: in spite of --cold the page cache kept up to %s of a chain.\n",
                text_size(left, size));
}

void bench_print_text(FILE *to, const struct bench_report *report)
{
    bench_print_load(to, &report->options->load);
    putc('\n', to);
    print_images(to, report);
    putc('\n', to);
    bench_print_machine(to, report);
    putc('\n', to);
    print_table(to, report, speeds);
    if (report->options->load.work.write_percent % 100 != 0)
        print_table(to, report, mixed);
    print_table(to, report, costs);
    print_notes(to, report);
}

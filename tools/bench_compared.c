/* SPDX-License-Identifier: Apache-2.0
 *
 * A comparison, told as text and as JSON.
 */
#include <string.h>

#include "bench_against.h"
#include "text.h"

/* --- text ------------------------------------------------------------------------------------- */

struct column {
    const char *head;
    enum bench_metric metric;
};

#define WIDTH 15

static const struct column columns[] = {
    { "IOPS", BENCH_IOPS },       { "p50", BENCH_P50 },     { "p99", BENCH_P99 },
    { "CPU/request", BENCH_CPU }, { "calls", BENCH_CALLS }, { "memory", BENCH_MEMORY },
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static void print_change(FILE *to, const struct bench_change *change)
{
    char text[32] = "-";
    if (change->there)
        snprintf(text, sizeof(text), "%.2f +-%.0f%%", change->ratio, change->noise);
    fprintf(to, "%*s", WIDTH, text);
}

static void print_table(FILE *to, const struct bench_comparison *comparison)
{
    fputs("depth", to);
    for (size_t i = 0; i < COLUMNS; i++)
        fprintf(to, "%*s", WIDTH, columns[i].head);
    putc('\n', to);
    for (unsigned i = 0; i < comparison->count; i++) {
        const struct bench_compared *compared = &comparison->list[i];
        if (compared->left_out)
            continue;
        fprintf(to, "%5u", compared->depth);
        for (size_t k = 0; k < COLUMNS; k++)
            print_change(to, &compared->changes[columns[k].metric]);
        putc('\n', to);
    }
}

static void print_left_out(FILE *to, const struct bench_comparison *comparison)
{
    for (unsigned i = 0; i < comparison->count; i++) {
        const struct bench_compared *compared = &comparison->list[i];
        if (!compared->left_out)
            continue;
        fprintf(to, "depth %u", compared->depth);
        if (compared->image) {
            fputs(" (", to);
            text_show(to, compared->image);
            putc(')', to);
        }
        fputs(": not compared: ", to);
        text_show(to, compared->left_out);
        putc('\n', to);
    }
}

static void print_elsewhere(FILE *to, const struct bench_old *old, const char *key, const char *now)
{
    const char *was = bench_old_environment(old, key);
    if (was && strcmp(was, now) == 0)
        return;
    fprintf(to, "%s: is ", key);
    text_show(to, now);
    fputs(", was ", to);
    text_show(to, was ? was : "not told");
    putc('\n', to);
}

static void print_regression(FILE *to, const struct bench_comparison *comparison, unsigned depth,
                             enum bench_metric metric, const struct bench_change *change)
{
    fprintf(to, "worse by more than %g%%: depth %u: %s is %.2f of what it was (+-%.0f%%%s)\n",
            comparison->limit, depth, bench_metric_rows[metric].key, change->ratio, change->noise,
            change->noise > comparison->limit ? ", so it may be chance" : "");
}

static void print_regressions(FILE *to, const struct bench_comparison *comparison)
{
    for (unsigned i = 0; i < comparison->count; i++) {
        const struct bench_compared *compared = &comparison->list[i];
        for (unsigned m = 0; m < BENCH_METRICS; m++)
            if (compared->changes[m].regression)
                print_regression(to, comparison, compared->depth, m, &compared->changes[m]);
    }
}

void bench_comparison_text(FILE *to, const struct bench_comparison *comparison,
                           const struct bench_report *report)
{
    const struct bench_old *old = comparison->old;
    const char *date = bench_old_environment(old, "date");
    fputs("\nOf what it was in ", to);
    text_show(to, bench_old_name(old));
    fputs(" (", to);
    text_show(to, date ? date : "undated");
    fputs("), with the spreads of both added:\n\n", to);
    if (comparison->compared)
        print_table(to, comparison);
    print_left_out(to, comparison);
    print_elsewhere(to, old, "kernel", report->machine.kernel);
    print_elsewhere(to, old, "cpu", report->machine.cpu);
    print_elsewhere(to, old, "file-system", report->machine.file_system);
    print_elsewhere(to, old, "qimg", qimg_version());
    print_regressions(to, comparison);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void print_which(struct out *out, const struct bench_compared *compared)
{
    out_object(out, NULL);
    out_number(out, "depth", compared->depth);
    out_text(out, "image", compared->image);
}

static void print_changes(struct out *out, const struct bench_compared *compared)
{
    for (unsigned i = 0; i < BENCH_METRICS; i++) {
        const struct bench_change *change = &compared->changes[i];
        if (!change->there)
            continue;
        out_object(out, bench_metric_rows[i].key);
        out_real(out, "ratio", change->ratio);
        out_real(out, "noise-percent", change->noise);
        out_flag(out, "regression", change->regression);
        out_close(out);
    }
}

void bench_comparison_json(struct out *out, const struct bench_comparison *comparison)
{
    out_object(out, "against");
    out_text(out, "file", bench_old_name(comparison->old));
    if (comparison->limit >= 0)
        out_real(out, "limit-percent", comparison->limit);
    out_number(out, "regressions", comparison->regressions);
    out_list(out, "compared");
    for (unsigned i = 0; i < comparison->count; i++) {
        if (comparison->list[i].left_out)
            continue;
        print_which(out, &comparison->list[i]);
        print_changes(out, &comparison->list[i]);
        out_close(out);
    }
    out_close(out);
    out_list(out, "not-compared");
    for (unsigned i = 0; i < comparison->count; i++) {
        if (!comparison->list[i].left_out)
            continue;
        print_which(out, &comparison->list[i]);
        out_text(out, "why", comparison->list[i].left_out);
        out_close(out);
    }
    out_close(out);
    out_close(out);
}

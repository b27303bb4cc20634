/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and comparing. Configurations are compared as JSON, so that no member can be forgotten
 * here: the new report is printed and read back for it.
 */
#include "bench_against.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct bench_old {
    const char *name;
    json_t *report;
};

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_report(const json_t *report)
{
    return json_integer_value(json_object_get(report, "qimg-bench")) == 1 &&
           json_is_object(json_object_get(report, "config")) &&
           json_is_array(json_object_get(report, "results"));
}

int bench_old_read(const struct tool *tool, const char *name, struct bench_old **out)
{
    json_error_t why;
    FILE *file = fopen(name, "re");
    if (!file)
        return tool_fail(tool, "Could not open '%s': %s", name, strerror(errno));
    json_t *report = json_loadf(file, JSON_REJECT_DUPLICATES, &why);
    (void)fclose(file);
    if (!report)
        return tool_fail(tool, "%s: line %d: %s", name, why.line, why.text);
    struct bench_old *old = is_report(report) ? calloc(1, sizeof(*old)) : NULL;
    if (!old) {
        json_decref(report);
        return tool_fail(tool, "%s: not a report of 'bench --output=json'", name);
    }
    *old = (struct bench_old){ .name = name, .report = report };
    *out = old;
    return EXIT_DONE;
}

void bench_old_free(struct bench_old *old)
{
    if (old)
        json_decref(old->report);
    free(old);
}

const char *bench_old_environment(const struct bench_old *old, const char *key)
{
    return json_string_value(json_object_get(json_object_get(old->report, "environment"), key));
}

const char *bench_old_name(const struct bench_old *old)
{
    return old->name;
}

/* --- the same configuration? ------------------------------------------------------------------ */

/* The report as another run of this program would read it. */
static json_t *as_json(const struct bench_report *report)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    if (!to)
        return NULL;
    bench_print_json(to, report, NULL);
    json_t *parsed = fclose(to) == 0 ? json_loadb(text, len, 0, NULL) : NULL;
    free(text);
    return parsed;
}

static void print_value(FILE *to, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    fputs(text ? text : "not there", to);
    free(text);
}

static void name_difference(FILE *to, const char *key, const json_t *now, const json_t *was)
{
    fprintf(to, "%s%s is ", ftell(to) > 0 ? ", " : "", key);
    print_value(to, now);
    fputs(", was ", to);
    print_value(to, was);
}

/* "engine is "threads", was "io_uring""; malloc'ed, "" where they are the same; NULL: no memory. */
static char *differences(json_t *now, json_t *was)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    const char *key;
    json_t *value;
    if (!to)
        return NULL;
    json_object_foreach(now, key, value) if (!json_equal(value, json_object_get(was, key)))
        name_difference(to, key, value, json_object_get(was, key));
    json_object_foreach(was, key, value) if (!json_object_get(now, key))
        name_difference(to, key, NULL, value);
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

/* --- the same image? -------------------------------------------------------------------------- */

static bool same_text(const json_t *a, const json_t *b)
{
    return (!a && !b) || (a && b && json_equal(a, b));
}

static bool is_same_image(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "depth"), json_object_get(b, "depth")) &&
           same_text(json_object_get(a, "image"), json_object_get(b, "image"));
}

/* NULL: @list has none. */
static json_t *find_image(const json_t *list, const json_t *wanted)
{
    size_t index;
    json_t *result;
    json_array_foreach(list, index, result) if (is_same_image(result, wanted)) return result;
    return NULL;
}

/* Why @now is not compared with @was; NULL = it is. */
static const char *odd_image(const json_t *now, const json_t *was)
{
    if (!was)
        return "it is not in the older report";
    if (!json_equal(json_object_get(now, "disk-bytes"), json_object_get(was, "disk-bytes")))
        return "the disk has another size";
    if (!json_equal(json_object_get(now, "request-hash"), json_object_get(was, "request-hash")))
        return "other requests were made";
    return NULL;
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool read_spread(const json_t *result, const char *key, struct bench_spread *out)
{
    const json_t *metric = json_object_get(json_object_get(result, "metrics"), key);
    const json_int_t median = json_integer_value(json_object_get(metric, "median"));
    const json_int_t least = json_integer_value(json_object_get(metric, "min"));
    const json_int_t most = json_integer_value(json_object_get(metric, "max"));
    if (median <= 0 || least < 0 || most < least)
        return false;
    *out = (struct bench_spread){ (uint64_t)median, (uint64_t)least, (uint64_t)most };
    return true;
}

/* By how many percent is it worse? */
static double loss(const struct bench_change *change, enum bench_better better)
{
    return better == BENCH_MORE ? 100 * (1 - change->ratio) : 100 * (change->ratio - 1);
}

static void compare_metrics(struct bench_comparison *c, struct bench_compared *compared,
                            const struct bench_report *report, const struct bench_series *series,
                            const json_t *was)
{
    for (unsigned i = 0; i < BENCH_METRICS; i++) {
        const struct bench_metric_row *row = &bench_metric_rows[i];
        struct bench_change *change = &compared->changes[i];
        struct bench_spread now, then;
        if (row->better == BENCH_NEITHER || !bench_report_spread(report, series, i, &now) ||
            !read_spread(was, row->key, &then))
            continue;
        change->there = true;
        change->ratio = (double)now.median / (double)then.median;
        change->noise = bench_spread_percent(&now) + bench_spread_percent(&then);
        change->regression = c->limit >= 0 && row->holds && loss(change, row->better) > c->limit;
        c->regressions += change->regression;
    }
}

/* @reason "" or NULL where the configurations are the same. */
static int compare_series(struct bench_comparison *c, const struct bench_report *report,
                          unsigned index, const json_t *now, const char *reason)
{
    const json_t *result = json_array_get(json_object_get(now, "results"), index);
    const json_t *was = find_image(json_object_get(c->old->report, "results"), result);
    const char *odd = *reason ? reason : odd_image(result, was);
    struct bench_compared *compared = &c->list[c->count++];
    compared->depth = report->series[index].depth;
    compared->image = report->options->depths.count ? NULL : report->series[index].name;
    compared->left_out = odd ? strdup(odd) : NULL;
    if (odd)
        return compared->left_out ? 0 : -ENOMEM;
    c->compared++;
    compare_metrics(c, compared, report, &report->series[index], was);
    return 0;
}

/* What only the old report has. */
static int name_the_gone(struct bench_comparison *c, const json_t *now)
{
    size_t index;
    json_t *was;
    json_array_foreach(json_object_get(c->old->report, "results"), index, was)
    {
        if (find_image(json_object_get(now, "results"), was))
            continue;
        struct bench_compared *gone = &c->list[c->count++];
        gone->depth = (unsigned)json_integer_value(json_object_get(was, "depth"));
        gone->image = json_string_value(json_object_get(was, "image"));
        gone->left_out = strdup("it was not measured now");
        if (!gone->left_out)
            return -ENOMEM;
    }
    return 0;
}

static int compare_all(struct bench_comparison *c, const struct bench_report *report,
                       const json_t *now)
{
    const json_t *old = c->old->report;
    const size_t most = report->count + json_array_size(json_object_get(old, "results"));
    c->list = calloc(most, sizeof(*c->list));
    if (!c->list)
        return -ENOMEM;
    char *reason = differences(json_object_get(now, "config"), json_object_get(old, "config"));
    int rc = reason ? 0 : -ENOMEM;
    for (unsigned i = 0; rc == 0 && i < report->count; i++)
        rc = compare_series(c, report, i, now, reason);
    free(reason);
    return rc == 0 ? name_the_gone(c, now) : rc;
}

int bench_compare(const struct tool *tool, const struct bench_old *old,
                  const struct bench_report *report, struct bench_comparison *out)
{
    *out = (struct bench_comparison){ .old = old, .limit = report->options->regression };
    json_t *now = as_json(report);
    const int rc = now ? compare_all(out, report, now) : -ENOMEM;
    json_decref(now);
    return rc < 0 ? tool_fail(tool, "out of memory") : EXIT_DONE;
}

void bench_comparison_release(struct bench_comparison *comparison)
{
    for (unsigned i = 0; i < comparison->count; i++)
        free(comparison->list[i].left_out);
    free(comparison->list);
}

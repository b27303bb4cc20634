/* SPDX-License-Identifier: Apache-2.0
 *
 * A report beside an older one, read from what --output=json printed. Only what was measured in the
 * same way is compared: the same configuration, depth, disk and requests; all else is named.
 */
#ifndef TOOLS_BENCH_AGAINST_H
#define TOOLS_BENCH_AGAINST_H

#include "bench_chain.h"
#include "bench_report.h"
#include "out.h"

struct bench_old;

/* Reads the report in file @name, and refuses a file that is none. EXIT_DONE or EXIT_FAILED. */
int bench_old_read(const struct tool *tool, const char *name, struct bench_old **out);
void bench_old_free(struct bench_old *old);

struct bench_change {
    bool there;      /* both have it, and it was not 0 */
    bool regression; /* worse by more than the limit */
    double ratio;    /* what it is, of what it was */
    double noise;    /* percent: the spreads of both, added */
};

/* One series of the new report, or a depth that only the old one has. */
struct bench_compared {
    unsigned depth;
    const char *image; /* NULL: a chain that was made */
    char *left_out;    /* why it is not compared; NULL = it is */
    struct bench_change changes[BENCH_METRICS];
};

struct bench_comparison {
    const struct bench_old *old;
    double limit; /* percent; negative = none */
    struct bench_compared *list;
    unsigned count, compared, regressions; /* regressions: changes */
};

/* @out is released by the caller, also after a failure; it points into @old and @report. */
int bench_compare(const struct tool *tool, const struct bench_old *old,
                  const struct bench_report *report, struct bench_comparison *out);
void bench_comparison_release(struct bench_comparison *comparison);

void bench_comparison_text(FILE *to, const struct bench_comparison *comparison,
                           const struct bench_report *report);
/* A member "against" of the object that is open. */
void bench_comparison_json(struct out *out, const struct bench_comparison *comparison);

/* The value of @key in the environment of the old report; NULL = not there. */
const char *bench_old_environment(const struct bench_old *old, const char *key);
const char *bench_old_name(const struct bench_old *old);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * How far a job is, shown in one of four ways:
 *
 *   PROGRESS_NONE   nothing, until SIGUSR1 asks: the next change is then told on stderr
 *   PROGRESS_SHOWN  -p: qemu-img's "    (42.00/100%)" and a carriage return on stdout, at 0, at
 *                   100 and whenever the value moved by more than a step. Under our own name a
 *                   terminal gets a bar instead, with amount, rate and time left
 *   PROGRESS_JSON   --progress=json: one object a line on stderr, a few a second and a last one
 *                   with the outcome (the keys: man qimg)
 *
 * Commands see job.h only.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <time.h>

#include "tool.h"

enum progress_style { PROGRESS_NONE, PROGRESS_SHOWN, PROGRESS_JSON };

struct progress_spec {
    enum progress_style style; /* what OPT_PROGRESS_ROW set */
    bool quiet;                /* -q: no PROGRESS_SHOWN */
    bool in_steps;             /* what is counted is not bytes: there is no rate */
    float step;                /* of qemu-img's line, in percent: 1, or 2 */
};

struct progress {
    struct progress_spec spec;
    const struct tool *tool;
    bool bar; /* PROGRESS_SHOWN is a bar */
    bool settled;
    float printed; /* percent */
    uint64_t done, total;
    struct timespec began;
    double told;        /* seconds from then to the last bar or object */
    uint64_t told_done; /* what it said */
    double rate;        /* a second; smoothed */
};

void progress_init(struct progress *progress, const struct tool *tool, struct progress_spec spec);

/* Says 0. */
void progress_start(struct progress *progress);

/* @total 0: not known (yet). */
void progress_update(struct progress *progress, uint64_t done, uint64_t total);

/* Says 100. */
void progress_complete(struct progress *progress);

/* A bar's line ends here, so that words may follow. */
void progress_settle(struct progress *progress);

/* Takes a bar off the terminal, until the next update. */
void progress_clear(const struct progress *progress);

struct progress_outcome {
    const char *result; /* "done", "failed", "cancelled" */
    const char *error;  /* NULL = none, or told already */
    int exit_code;      /* as the shell will see it */
};

/* The end of the line, or the last object. */
void progress_end(struct progress *progress, const struct progress_outcome *outcome);

/* A signal asks: the next update answers. Safe in a signal handler. */
void progress_ask(void);

#endif

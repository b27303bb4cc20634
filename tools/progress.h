/* SPDX-License-Identifier: Apache-2.0
 *
 * The line of -p, as qemu-img prints it: "    (42.00/100%)" and a carriage return, at 0, at 100
 * and whenever the value moved by more than a step. Under our own name a terminal is also told
 * how long it may take. Without -p, SIGUSR1 has the next change print one such line on stderr.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <time.h>

#include "tool.h"

struct progress {
    bool shown, tell_time;
    struct timespec began;
    float step; /* percent */
    float printed;
};

void progress_init(struct progress *progress, const struct tool *tool, bool shown, float step);

/* Says 0. */
void progress_start(struct progress *progress);

void progress_set(struct progress *progress, float percent);

/* For jobs: a qimg_progress_fn whose user is the struct progress. Stops the job once a signal
 * was caught (see progress_catch_interrupt). */
int progress_job(void *user, uint64_t done, uint64_t total);

/* Prints the line end. */
void progress_end(struct progress *progress);

/* From now on SIGINT, SIGTERM and SIGHUP stop jobs, so that targets are left consistent. What the
 * caller of the program had ignored stays ignored. */
void progress_catch_interrupt(void);

/* Dies by the signal that was caught, as a program without a handler would have. */
void progress_die_if_interrupted(void);

#endif

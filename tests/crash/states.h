/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a crash may have left of what a tape recorded. For each moment (a number of events that
 * happened), of the changes that no sync has covered:
 *   all; none; all but one; one alone; all with the last one torn at a sector; some at random,
 *   any of these torn.
 * Each state is judged once for its structures, and once for each span of versions.
 */
#ifndef CRASH_STATES_H
#define CRASH_STATES_H

#include "judge.h"

struct states_how {
    unsigned random; /* such states a moment */
    unsigned tears;  /* at most so many places to tear one write; 0 = all */
    bool whole;      /* no write is torn */
    uint64_t seed;
    const void *without; /* syncs of this site are taken as not made; NULL = none */
    bool stop;           /* at the first that is wrong */
    void (*sample)(void *user, const struct disk *disk, uint64_t hash); /* each new state */
    void *user;
};

struct states_result {
    uint64_t tried, distinct, wrong;
    char first[600]; /* that was wrong */
};

/* @start: the disk before the tape. */
void states_of(const struct tape *tape, const struct disk *start, struct judge *judge,
               const struct states_how *how, struct states_result *result);

/* One state at random: a moment, and some of what was not durable then. Puts it in @disk, which it
 * makes, and returns the moment: events that had happened. */
size_t states_pick(const struct tape *tape, const struct disk *start, uint64_t seed,
                   struct disk *disk);

/* What the tape made durable goes to @start; the tape keeps what is not. */
void states_settle(struct tape *tape, struct disk *start);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a crash may have left of what a tape recorded. For each moment (a number of events that
 * happened), of the changes that no sync has covered:
 *   all; none; all but one; one alone; all with the last one torn at a sector; some at random,
 *   some of these torn.
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

#endif

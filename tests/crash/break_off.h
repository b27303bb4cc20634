/* SPDX-License-Identifier: Apache-2.0
 *
 * Breaking whole jobs off everywhere: at each point where a crash may end them, by a fault at each
 * operation, and with the barrier that counts left out, which some state must miss. What the jobs
 * do, and what must hold of their files, is for the programs to say.
 */
#ifndef CRASH_BREAK_OFF_H
#define CRASH_BREAK_OFF_H

#include "job_rig.h"
#include "judge.h"
#include "tape.h"

/* A job that can be run; programs embed it as their first member. */
struct breakable {
    const char *name;
    struct qimg_context *context;
    const struct content *guest; /* what a guest reads before and after */
    struct tape tape;
    struct qimg_error err; /* of the last run */
};

struct break_ops {
    const char *barrier; /* what the one that counts stands before or behind */
    size_t cases;
    uint64_t states_floor, faults_floor; /* over all cases */

    /* Its files are made and durable, no job was run. */
    struct breakable *(*open)(size_t index);
    void (*close)(struct breakable *);
    int (*run)(struct breakable *);
    /* A span that begins at 1: the job has ended. */
    struct judge (*judge)(struct breakable *);
};

/* All of it; prints what was tried. Returns an exit code. QIMG_LONG=1: more random states, every
 * fault. */
int break_off(const struct break_ops *ops);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A context whose files are the simulator's, for tests of jobs: what is opened in it lives in
 * memory and can be made to fail.
 */
#ifndef UNIT_SIM_RIG_H
#define UNIT_SIM_RIG_H

#include "chain.h"
#include "io_sim.h"
#include "qimg/jobs.h"

struct sim_rig {
    struct qimg_context *context;
    struct io_engine *engine; /* the context's */
    char notes[4096];         /* warnings so far, a line each */
};

/* Aborts the test where it cannot be made. @options NULL: all zero. */
struct sim_rig *sim_rig_new(const struct io_sim_options *options);
void sim_rig_free(struct sim_rig *rig);

/* A durable raw file: @pattern has a letter for each 4 KiB block; '.' is a hole, '0' zeros that
 * are written, any other letter fills the block. */
void sim_rig_raw(struct sim_rig *rig, const char *name, const char *pattern);

/* Opens it; aborts where that fails. @format NULL: raw. */
struct qimg_image *sim_rig_open(struct sim_rig *rig, const char *name, const char *format);

/* What the file holds, as such a pattern: '?' is a mixed block, '.' zeros. malloc'ed. */
char *sim_rig_pattern(struct sim_rig *rig, const char *name);

#endif

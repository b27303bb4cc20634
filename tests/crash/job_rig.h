/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole jobs over the simulator, for programs that break them off: a context whose files are an
 * engine's, images made and filled as a guest would, and what they read as. All abort where what
 * they prepare fails.
 */
#ifndef CRASH_JOB_RIG_H
#define CRASH_JOB_RIG_H

#include "context.h"
#include "io_sim.h"
#include "qimg/image.h"

/* What a guest reads. */
struct content {
    uint8_t *bytes; /* owned */
    uint64_t size;
};

/* Aborts with the words of @err where @rc is a failure. */
void must(int rc, const struct qimg_error *err);

/* A context whose files are @engine's, which it takes over. */
struct qimg_context *context_on(struct io_engine *engine);

/* The machine is off; what is durable is there again, in an engine of its own. */
struct io_engine *after_cut(struct io_engine *engine, enum io_sim_survivors survivors,
                            uint64_t seed);

/* The machine was off, and nothing was lost: names are durable, too. */
void settle(struct qimg_context **context);

struct qimg_image *rig_open(struct qimg_context *context, const char *name, const char *format,
                            bool writable);

/* @fill 0: zeros by metadata where that can be. */
void rig_put(struct qimg_image *image, uint64_t off, uint64_t len, uint8_t fill);

/* Ends writing and closes. */
void rig_finish(struct qimg_image *image);

struct content rig_read(struct qimg_context *context, const char *name, const char *format);

#endif

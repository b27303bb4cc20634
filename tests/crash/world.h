/* SPDX-License-Identifier: Apache-2.0
 *
 * One image with what lies below it on the simulator, a model of all that it must hold, and
 * operations that change both through the library's public calls.
 *
 * A stretch is a session of guest writes, or one verb. When the next one begins, every state that a
 * crash may have left on the way through the last one is judged in memory (states.h), and what it
 * has come to is held against the model. The operation "crash" picks one of these states: from
 * there things go on, with what was found as the model.
 */
#ifndef CRASH_WORLD_H
#define CRASH_WORLD_H

#include "context.h"
#include "operation.h"
#include "states.h"
#include "truth.h"

struct world_layout {
    const char *name;
    unsigned cluster_bits, version, refcount_bits;
    unsigned clusters;  /* of the disk, */
    unsigned more;      /* and so many bytes */
    const char *option; /* NULL = no further one */
    const char *value;
    bool backing;
};

extern const struct world_layout world_layouts[];
extern const size_t world_layout_count;

/* NULL: none is called so. */
const struct world_layout *world_layout_of(const char *name);

#define WORLD_VERSIONS 16 /* of a stretch */

struct world_totals {
    uint64_t tried, distinct; /* states of crashes */
    uint64_t crashes;         /* from which things went on */
    uint64_t done[OP_COUNT], refused[OP_COUNT];
};

struct world {
    const struct world_layout *layout;
    struct qimg_context *context;
    struct qimg_image *image; /* being written; NULL = none */
    struct truth truths[WORLD_VERSIONS];
    size_t truth_count; /* the last one is what is now */
    struct tape tape;
    struct disk start; /* before the tape */
    bool guests;       /* the stretch is a session of guest writes, ... */
    bool commits;      /* ... or touches what lies below: sectors are judged one by one */
    bool crashed;      /* since the last repair: clusters may have leaked */
    unsigned names;    /* of snapshots so far */
    uint64_t seed;
    const struct states_how *how; /* NULL: crash states are not searched */
    struct world_totals *totals;  /* borrowed */
    char wrong[700];              /* "" while all is well */
};

/* @layout is borrowed. Aborts where what it prepares fails. */
void world_open(struct world *world, const struct world_layout *layout, uint64_t seed);
void world_close(struct world *world);

/* The same world as it stands, on a machine of its own. To be called when a stretch has ended. */
void world_clone(struct world *to, struct world *from);

/* Both return whether all is well; world->wrong says what is not. */
bool world_do(struct world *world, const struct operation *operation);
bool world_end_stretch(struct world *world);

/* --- among its parts -------------------------------------------------------------------------- */

bool PRINTF_LIKE(2, 3) world_wrong(struct world *world, const char *fmt, ...);

struct truth *world_now(struct world *world);

/* A verb, or a guest's operation: true unless something is wrong. */
bool world_verb(struct world *world, const struct operation *operation);
bool world_guest(struct world *world, const struct operation *operation);

/* A machine without files. */
struct io_engine *world_engine(uint64_t seed);

/* Records what happens from now on. */
void world_begin_stretch(struct world *world);

/* The next version begins as the last one. */
struct truth *world_next_truth(struct world *world);
void world_forget_next(struct world *world);

struct qimg_image *world_image(struct world *world, bool check);

#endif

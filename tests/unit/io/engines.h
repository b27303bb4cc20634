/* SPDX-License-Identifier: Apache-2.0
 *
 * The same test over all back ends: threads, io_uring and the simulator, buffered and direct.
 */
#ifndef UNIT_IO_ENGINES_H
#define UNIT_IO_ENGINES_H

#include "io.h"

struct engine_case {
    const char *name;
    bool simulated;
    enum io_engine_choice choice;
    bool direct;
};

struct rig {
    const struct engine_case *c;
    struct workers *workers;
    struct io_engine *engine;
    char *dir; /* scratch directory */
    char notes[2048];
    unsigned note_count;
};

/* An engine with a scratch directory. Fails the test where it cannot be had. */
void rig_setup(struct rig *rig, const struct engine_case *c);
void rig_teardown(struct rig *rig);

/* for (struct rig rig = { 0 }; rig_next(&rig);): what follows, over each back end. */
bool rig_next(struct rig *rig);

/* A rig over real files with that choice. */
void rig_real(struct rig *rig, enum io_engine_choice choice);

/* "dir/name", in static memory of a few names. */
const char *rig_path(const struct rig *rig, const char *name);

/* Opens (and makes) a file for writing, direct as the case says. */
struct io_file *rig_create(struct rig *rig, const char *name);

/* Fills with bytes that differ with @seed and offset. */
void fill_pattern(void *buf, size_t len, unsigned seed);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operation did to the disk, in order, and what its guest had to see on the way.
 *
 * A version is what the guest reads after a step, with a text about everything else that a reader
 * sees (snapshots with their contents, bitmaps, the backing file's name). Version 0 is what was
 * before. A step that is durable makes all versions before it impossible from then on.
 */
#ifndef CRASH_TAPE_H
#define CRASH_TAPE_H

#include "disk.h"
#include "vec.h"

struct tape_event {
    struct disk_change change; /* op IO_SIM_SYNC: a sync of change.file */
    uint64_t serial;
    const void *site; /* of a sync: who asked for it */
};

DEFINE_VEC(tape_event_vec, struct tape_event)

struct version {
    uint8_t *bytes; /* owned */
    uint64_t size;
    char *text;   /* owned */
    size_t at;    /* events when the step had ended */
    bool durable; /* the step promised so */
};

DEFINE_VEC(version_vec, struct version)

struct tape {
    struct tape_event_vec events;
    struct version_vec versions;
};

/* Records what @engine does from now on. */
void tape_record(struct tape *tape, struct io_engine *engine);

/* A step ended. Copies bytes and text. */
void tape_mark(struct tape *tape, const uint8_t *bytes, uint64_t size, const char *text,
               bool durable);

/* The versions that sectors may be of when the power goes after the first @events. */
struct span {
    size_t first, last;
};

struct span tape_span(const struct tape *tape, size_t events);

void tape_release(struct tape *tape);

/* Set by those who know the caller of a sync that is about to happen. */
extern _Thread_local const void *tape_site;

#endif

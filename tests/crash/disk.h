/* SPDX-License-Identifier: Apache-2.0
 *
 * What a machine's disk holds: the bytes of the files that tests change, with a hash of them all
 * that follows every change at the cost of the change. Bytes behind the end of a file are zeros.
 */
#ifndef CRASH_DISK_H
#define CRASH_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "io_sim.h"

#define DISK_FILES  4 /* "disk", "data", "base", "other" */
#define DISK_SECTOR 512u

struct disk_file {
    uint8_t *bytes; /* owned, room bytes */
    uint64_t size, room;
    uint64_t hash; /* of the sectors that are not zeros */
};

struct disk {
    struct disk_file files[DISK_FILES];
};

/* One change: what io_sim_event says, with a copy of the data. */
struct disk_change {
    enum io_sim_op op;
    unsigned file;
    uint64_t off, len;
    const uint8_t *data;
};

/* The files as @engine has them now. */
void disk_load(struct disk *disk, struct io_engine *engine);
void disk_release(struct disk *disk);

/* @to becomes the same; both have the same room. */
void disk_copy(struct disk *to, const struct disk *from);

/* Makes room for @change. */
void disk_reserve(struct disk *disk, const struct disk_change *change);

/* @sectors NULL: all of the change. Else a write changes only sectors whose flag is set, counted
 * from the first that it touches. */
void disk_apply(struct disk *disk, const struct disk_change *change, const uint8_t *sectors);

/* Makes what @change touched in @disk as it is in @base again, sizes too. */
void disk_restore(struct disk *disk, const struct disk *base, const struct disk_change *change);

uint64_t disk_hash(const struct disk *disk);

/* The number of @name; "disk" is 0. Aborts for other names. */
unsigned disk_file_number(const char *name);
extern const char *const disk_file_names[DISK_FILES];

#endif

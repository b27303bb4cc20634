/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent bitmaps on the simulator: file "disk", what its bytes say of bitmaps (read without
 * src/formats/qcow2), and power cuts at every operation of a change.
 */
#ifndef SUPPORT_BITMAP_RIG_H
#define SUPPORT_BITMAP_RIG_H

#include "bitmap_request.h"
#include "build_qcow2.h"
#include "io_sim.h"
#include "qcow2.h"

/* A machine that has the image on its disk. */
struct io_engine *bitmap_machine(const struct build_qcow2 *spec);

/* Opens it; NULL where that fails. */
struct qcow2 *bitmap_open(struct io_engine *engine, bool writable, struct qimg_error *err);

/* Opens, does the steps, closes. */
int bitmap_do(struct io_engine *engine, const struct bitmap_step *steps, size_t count,
              struct qimg_error *err);

/* A line for each bitmap: "name [in-use ][auto ]granularity: 0-3 7\n", set bits by their numbers.
 * "no bitmaps\n" where there are none. free() it. */
char *bitmap_text(struct io_engine *engine);

/* A durable copy of the disk as it is now. */
struct io_engine *bitmap_settled(struct io_engine *engine);

/* Stops the machine after each operation of @run in turn, cuts its power in several ways, and
 * calls @judge with what the disk holds then (@finished: run had returned 0). Returns the machine
 * on which run came to its end; @start stays. */
struct io_engine *
bitmap_crash_everywhere(struct io_engine *start, int (*run)(struct io_engine *, void *user),
                        void (*judge)(struct io_engine *after, bool finished, void *user),
                        void *user);

/* The same with a fault at each operation instead: EIO or ENOSPC, once or from then on. @judge
 * sees the disk as it is. Returns how many faults were tried. */
unsigned bitmap_fail_everywhere(struct io_engine *start, int (*run)(struct io_engine *, void *user),
                                void (*judge)(struct io_engine *after, bool finished, void *user),
                                void *user);

#endif

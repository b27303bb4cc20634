/* SPDX-License-Identifier: Apache-2.0
 *
 * An I/O engine whose files are in memory and whose machine can lose power, for tests. Everything
 * that happens follows from the seed: the same program on the same seed does the same, provided
 * that it uses the engine from one thread.
 *
 * What it imitates
 * - Files of any size, up to 2^63: only written pages take memory, the rest is holes.
 * - A volatile cache. Every write, zeroing, punching, truncation and new or removed name is seen
 *   at once by readers, but stands on the disk only after a sync that covers it. A sync covers
 *   what was complete when it was submitted, nothing else. (io_sync is submitted when called; an
 *   IO_SYNC with io_queue_submit or io_queue_reap.) A name is made durable by io_sync_directory.
 * - Queues that execute and complete requests in a random order. Nothing happens to a request
 *   before a reap; a reap does at least what was asked for, and sometimes more. IO_CALL runs in
 *   the thread that reaps.
 * - Buffers that belong to the engine: a write's memory must not change between submission and
 *   completion, a read's memory is overwritten with garbage at submission and must keep it. A
 *   breach of either aborts with a message.
 * - O_DIRECT's alignment rules, for files opened with direct, when options ask for them.
 *
 * What can be made to go wrong
 * - io_sim_fault(): the n-th operation, or it and all after it, fails or is short. Operations are
 *   calls of the back end, in the order of their execution (io_sim_operations() so far): a
 *   transfer that was short is continued by another one.
 * - io_sim_stop_after(): the machine stops after n operations: all others fail with EIO and
 *   change nothing. Run a program to its (failing) end so, then cut the power.
 * - io_sim_power_cut(): a new engine with what a disk may hold afterwards: all that is durable,
 *   and of the changes that are not, those that the cut's mode says, each of them perhaps torn.
 *   Writes submitted and not complete are among those changes. The old engine is not touched, so
 *   that many different cuts can be made at one moment.
 *
 * A crash test, in short:
 *     for (n = 0; ; n++) {
 *         engine = fresh(); io_sim_stop_after(engine, n); finished = run(engine);
 *         for (seed = ...) { io_sim_power_cut(engine, &(struct io_sim_cut){ .seed = seed, ... },
 *                                             &after); check(after); io_engine_free(after); }
 *         io_engine_free(engine); if (finished) break;
 *     }
 */
#ifndef SUPPORT_IO_SIM_H
#define SUPPORT_IO_SIM_H

#include "io.h"

struct io_sim_options {
    uint64_t seed;
    uint32_t sector;        /* what a power cut leaves whole of a torn write; 0 = 512 */
    uint32_t request_align; /* asked of files opened with direct; 0 = nothing is */
    uint32_t memory_align;
    uint64_t space;         /* bytes of storage in pages of 4 KiB, then ENOSPC; 0 = no end */
    unsigned short_in_1000; /* so many of 1000 transfers are short */
    bool in_order;          /* queues complete in the order of submission */
    bool no_log;            /* for long runs */
};

/* @options NULL: all zero. */
MUST_CHECK int io_sim_new(const struct io_sim_options *options, struct workers *workers,
                          struct io_engine **out);

/* --- files from outside, without operations --- */

/* Makes (or replaces) a durable file of @size bytes that begins with @len bytes of @data. */
MUST_CHECK int io_sim_put(struct io_engine *engine, const char *name, const void *data, size_t len,
                          uint64_t size);

/* Reads what a reader would see now. Returns false where there is no such file. */
bool io_sim_get(struct io_engine *engine, const char *name, uint64_t off, void *buf, size_t len);

/* Size as seen now; UINT64_MAX where there is no such file. */
uint64_t io_sim_size(struct io_engine *engine, const char *name);

/* --- the log --- */

enum io_sim_op {
    IO_SIM_READ,
    IO_SIM_WRITE,
    IO_SIM_ZERO,
    IO_SIM_PUNCH,
    IO_SIM_TRUNCATE,
    IO_SIM_SYNC,
    IO_SIM_ALLOCATE,
    IO_SIM_SYNC_DIRECTORY,
    IO_SIM_UNLINK,
    IO_SIM_CREATE,
};

struct io_sim_entry {
    enum io_sim_op op;
    char name[64];     /* cut where longer */
    uint64_t off, len; /* of a truncation: off is the new size */
    int64_t result;    /* bytes, 0 or -errno */
};

/* The operations so far, also those that failed; entry i was operation i + 1. */
const struct io_sim_entry *io_sim_log(struct io_engine *engine, size_t *count);

uint64_t io_sim_operations(struct io_engine *engine);

/* A change as it happens, or a sync. Changes are numbered; a sync makes those of its file durable
 * whose number is not greater than its own. */
struct io_sim_event {
    enum io_sim_op op; /* WRITE, ZERO, PUNCH, TRUNCATE, ALLOCATE or SYNC */
    const char *name;
    uint64_t serial;
    uint64_t off, len; /* of a truncation: off is the new size */
    const void *data;  /* of a write */
};

/* Tells @watch of all that follow, from inside the operation: it must not call the engine. */
void io_sim_watch(struct io_engine *engine,
                  void (*watch)(void *user, const struct io_sim_event *event), void *user);

/* --- faults --- */

enum io_sim_fault_kind {
    IO_SIM_EIO,
    IO_SIM_ENOSPC, /* of what takes space; others go through */
    IO_SIM_SHORT,  /* a transfer does half; others go through */
    IO_SIM_EINTR,  /* interrupted, and begun again by the back end: it counts twice */
};

/* Operation number @at (the next one is io_sim_operations() + 1) meets @kind; with @forever, all
 * after it as well. One fault is set at a time; at 0 takes it away. */
void io_sim_fault(struct io_engine *engine, uint64_t at, enum io_sim_fault_kind kind, bool forever);

/* See above. UINT64_MAX takes it away. */
void io_sim_stop_after(struct io_engine *engine, uint64_t operations);

/* --- power --- */

enum io_sim_survivors {
    IO_SIM_NONE,   /* only what is durable */
    IO_SIM_ALL,    /* everything that was complete; of what was under way, nothing */
    IO_SIM_RANDOM, /* each change with a chance of one half, applied in the order of execution */
    IO_SIM_CHOSEN, /* those whose survives[] is true */
};

struct io_sim_cut {
    enum io_sim_survivors survivors;
    uint64_t seed;
    bool torn;            /* surviving writes of several sectors may lose any of them */
    const bool *survives; /* IO_SIM_CHOSEN: one for each of io_sim_changes() */
};

/* How many changes are not durable: complete ones in order, then writes under way. */
size_t io_sim_changes(struct io_engine *engine);

/* The disk after the cut, as a new engine: no faults, nothing volatile, the same options. */
MUST_CHECK int io_sim_power_cut(struct io_engine *engine, const struct io_sim_cut *cut,
                                struct io_engine **after);

#endif

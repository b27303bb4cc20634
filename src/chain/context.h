/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHAIN_CONTEXT_H
#define CHAIN_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "io.h"
#include "qimg/context.h"

/* Queues that synchronous reads and map loads borrow for the length of one call. */
struct queue_pool {
    pthread_mutex_t lock;
    struct io_queue *idle[4];
    unsigned count;
};

struct qimg_context {
    struct io_engine *engine;
    enum qimg_engine engine_choice;
    struct workers *workers;
    uint64_t map_budget;
    struct qimg_gate_options gate; /* lists and strings are the context's own copies */
    struct io_bounds bounds;       /* handles of gate.allow_dirs; empty where there are none */
    void (*note)(void *user, enum qimg_note_level level, const char *text);
    void *note_user;
    atomic_uint_least64_t warned_of; /* the file that a warning was last about */
    atomic_uint_least64_t tables_loaded, table_bytes, map_hits, map_misses, map_bytes;
    struct queue_pool queues;
};

void context_note(const struct qimg_context *context, enum qimg_note_level level, const char *fmt,
                  ...) PRINTF_LIKE(3, 4);

/* A queue for one call; give it back with nothing under way. Returns 0 or a negative errno. */
MUST_CHECK int context_borrow_queue(struct qimg_context *context, struct io_queue **out);
void context_return_queue(struct qimg_context *context, struct io_queue *queue);

/* Says that a queue could not be made, for the negative errno @rc; returns it. */
int context_fail_queue(const struct qimg_context *context, int rc, struct qimg_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The copy pipeline's way into its target: gives each slot's writes their place in the order of
 * planning, moves their bytes without order. In an image a place is clusters, in a file storage
 * that is reserved, so that both lie on the disk in the guest's order.
 *
 * In the queue's mode the job's thread places the writes to an image (copy_sink_stage,
 * copy_sink_advance) and the queue moves. In the workers' mode the worker whose slot is next places
 * it, and then any slots behind it that became ready meanwhile: no worker waits for another.
 */
#ifndef CHAIN_COPY_SINK_H
#define CHAIN_COPY_SINK_H

#include <pthread.h>

#include "copy.h"
#include "write.h"

struct copy_sink {
    struct copy_job *job;
    struct copy_slot *slots; /* slot n is slots[n % job->window] */
    struct write_lane lane;  /* the queue's mode */
    pthread_mutex_t lock;    /* the workers' mode: of what follows, and slot->placeable */
    uint64_t turn;           /* number of the slot that is placed next */
    bool placing;            /* ... or now; its worker comes back for those that are ready then */
};

void copy_sink_open(struct copy_sink *sink, struct copy_job *job, struct copy_slot *slots,
                    struct io_queue *queue);
void copy_sink_close(struct copy_sink *sink);

/* --- in the job's thread --- */

/* Begins to write @slot, whose turn it is. */
void copy_sink_stage(struct copy_slot *slot);

/* Starts what can be started of @slot. True: all of it has its place, the next slot may begin. */
bool copy_sink_advance(struct copy_slot *slot);

/* Runs the queue, for at least @min completions, and what waits for clusters. */
void copy_sink_run(struct copy_sink *sink, unsigned min);

/* --- in any thread --- */

/* @slot has been read and transformed, or has failed: its writes are placed and done, by this call
 * or by another one that is under way. slot->settled is set when they are. */
void copy_sink_ready(struct copy_slot *slot);

#endif

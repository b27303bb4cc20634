/* SPDX-License-Identifier: Apache-2.0
 *
 * What both kinds of queue over real files have in common.
 */
#ifndef IO_QUEUE_H
#define IO_QUEUE_H

#include "handover.h"
#include "posix.h"

struct posix_queue {
    struct io_queue base;
    struct request_list staged;       /* I/O that waits for submission or for room */
    struct request_list staged_calls; /* CPU work that waits for submission */
    struct request_list ready;        /* complete, not yet reaped */
    struct handover hand;
    unsigned under_way; /* I/O submitted and not complete; <= depth */
};

static inline struct posix_queue *posix_queue(struct io_queue *queue)
{
    return (struct posix_queue *)queue;
}

void posix_queue_init(struct posix_queue *queue, struct posix_engine *engine,
                      const struct io_queue_ops *ops, unsigned depth);
void posix_queue_release(struct posix_queue *queue);

/* io_queue_ops.add of both. */
void posix_queue_add(struct io_queue *base, struct io_request *request);

/* Hands the staged calls to the workers. */
void posix_queue_send_calls(struct posix_queue *queue);

/* Takes back what the pools have done, waiting for at least @min; all, where fewer are away. */
void posix_queue_take_back(struct posix_queue *queue, unsigned min);

/* The list of what is complete, which starts anew. */
struct io_request *posix_queue_ready(struct posix_queue *queue);

#endif

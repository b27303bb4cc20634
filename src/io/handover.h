/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests handed to a pool of threads and taken back by the queue that sent them. The queue's
 * thread waits either here, or in its ring: then handover_arm() has the next completion count up
 * an eventfd.
 */
#ifndef IO_HANDOVER_H
#define IO_HANDOVER_H

#include "request.h"

struct handover {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct request_list done; /* under lock */
    unsigned wanted;          /* under lock: the queue's thread sleeps until so many are done */
    bool armed;               /* under lock: ... for event */
    int event;                /* eventfd, -1 = none */
    atomic_uint done_count;   /* of done, to be read without the lock */
    unsigned away;            /* handed over and not taken back; the queue's thread only */
};

void handover_init(struct handover *hand);
/* Only while nothing is away. Closes event. */
void handover_release(struct handover *hand);

/* Gives all of @requests to @pool as one batch. */
void handover_send(struct handover *hand, struct workers *pool, struct request_list *requests);

/* Adds what is done to @out without waiting; returns how many. */
unsigned handover_take(struct handover *hand, struct request_list *out);

/* The same, waiting until at least @min are done, which must be away. Nobody is woken before. */
unsigned handover_wait(struct handover *hand, unsigned min, struct request_list *out);

/* Has the next completion count up event. False: something is done already. */
bool handover_arm(struct handover *hand);

#endif

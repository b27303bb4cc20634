/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool of threads for CPU work and for blocking I/O. Threads are started at first use, all
 * signals blocked in them; work runs in the order of submission, several at once.
 */
#ifndef BASE_WORKERS_H
#define BASE_WORKERS_H

#include "fail.h"

struct workers;

/* Embedded in the caller's own structure; must live until run() is called. */
struct work {
    void (*run)(struct work *);
    struct work *next; /* the pool's */
};

/* @threads: greatest number of threads; 0 = one per processor that this process may use, at
 * least 2. Starts none yet. Returns 0 or -ENOMEM. */
MUST_CHECK int workers_new(unsigned threads, struct workers **out);

/* Waits for all submitted work, ends the threads. NULL is fine. */
void workers_free(struct workers *pool);

unsigned workers_count(const struct workers *pool);

/* Hands over @work. Where no thread at all can be started it runs at once, in the caller. */
void workers_submit(struct workers *pool, struct work *work);

/* The same for a list linked through next, under one lock. */
void workers_submit_list(struct workers *pool, struct work *first);

#endif

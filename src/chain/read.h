/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest bytes into buffers: looks up runs, zero-fills, reads data runs straight into the buffer,
 * reads packed clusters and inflates them in the worker pool; all on an io_queue that the caller
 * owns and reaps.
 *
 *     chain_read_start(read)              stages requests on read->queue
 *     io_queue_run(queue, 1)              moves them on; calls read->complete when all is there
 */
#ifndef CHAIN_READ_H
#define CHAIN_READ_H

#include "chain.h"
#include "io.h"

/* One read under way. The caller embeds it, fills the first part, keeps it until complete. */
struct chain_read {
    struct qimg_image *image;
    struct io_queue *queue;
    uint64_t guest_off;
    uint8_t *buf;
    size_t len;
    bool known_zero_skip; /* leave zero runs of buf alone: the caller zeroed it or won't look */
    void (*complete)(struct chain_read *); /* in the queue's thread, exactly once */
    void *user;

    /* Set at completion. */
    int result;          /* 0 or -errno */
    uint64_t failed_off; /* guest offset of the failure */

    /* Its own. */
    unsigned pending;
    uint64_t pin;
};

/* Stages all requests of @read; complete() is called once all is done, possibly before this
 * returns (all zeros, or a failure: see result). What the read holds is freed before that. */
void chain_read_start(struct chain_read *read);

/* The words for a failed read: file, guest offset, what is wrong. Fills @err, returns -code. */
int chain_read_explain(const struct chain_read *read, struct qimg_error *err);

#endif

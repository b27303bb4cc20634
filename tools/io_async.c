/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests under way in the background, of aio_read and aio_write: one queue for the open image.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"

#define ASYNC_DEPTH 128

struct io_async {
    struct qimg_queue *queue;
    unsigned under_way;
};

/* Waits for at least @min requests, and has each tell what came of it. */
static void reap(struct io *io, unsigned min)
{
    struct qimg_completion done[16];
    int count = qimg_queue_wait(io->async->queue, done, 16, min < 16 ? min : 16);
    for (int i = 0; i < count; i++) {
        struct io_pending *pending = done[i].tag;
        io->async->under_way--;
        pending->done(io, pending, done[i].result);
    }
}

static int start(struct io *io, struct qimg_error *err)
{
    struct io_async *async = calloc(1, sizeof(*async));
    if (!async)
        return -ENOMEM;
    int rc = qimg_queue_new(io->image, ASYNC_DEPTH, &async->queue, err);
    if (rc < 0) {
        free(async);
        return rc;
    }
    io->async = async;
    return 0;
}

int io_async_queue(struct io *io, struct qimg_queue **out)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    int rc = io->async ? 0 : start(io, &err);
    if (rc < 0)
        return rc;
    if (io->async->under_way == ASYNC_DEPTH)
        reap(io, 1);
    *out = io->async->queue;
    return 0;
}

void io_async_began(struct io *io)
{
    io->async->under_way++;
}

void io_drain(struct io *io)
{
    if (!io->async)
        return;
    while (io->async->under_way > 0)
        reap(io, io->async->under_way);
    qimg_queue_free(io->async->queue);
    free(io->async);
    io->async = NULL;
}

struct timespec io_since(struct timespec began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    now.tv_sec -= began.tv_sec;
    now.tv_nsec -= began.tv_nsec;
    if (now.tv_nsec < 0) {
        now.tv_nsec += 1000000000;
        now.tv_sec--;
    }
    return now;
}

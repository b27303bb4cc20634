/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues whose requests are done by threads that wait for the kernel. Small buffered requests
 * are tried in the submitting thread first: what lies in the page cache costs one system call
 * there, and handing it over costs more than the call itself (engine.c has the figures). What the
 * cache lacks goes to a thread.
 */
#include <stdlib.h>

#include "bits.h"
#include "queue.h"

#define INLINE_PIECES 16

/* In queues for large requests these are copied by threads, several at once; smaller ones are
 * done before a thread has woken up. */
#define INLINE_SMALL (64 * KiB)

struct threads_queue {
    struct posix_queue base;
    bool large;
};

/* True: complete. False: a thread has to go on, and meets whatever error there is. */
static bool read_cached(struct io_request *request)
{
    struct iovec pieces[INLINE_PIECES];

    while (request->done < request->len) {
        const unsigned count = request_slice(request, request->done, pieces, INLINE_PIECES);
        const uint64_t off = request->off + request->done;
        const ssize_t n = posix_read_cached(request->file, off, pieces, count);
        if (n < 0)
            return false;
        if (n == 0)
            break;
        request->done += (uint64_t)n;
    }
    request_finish_read(request);
    return true;
}

/* Small buffered writes end in the page cache: a copy, seldom a wait. */
static bool write_cached(struct io_request *request)
{
    const struct io_open_options *options = &request->file->options;

    if (options->direct || options->write_through)
        return false;
    request->result = request_perform(request);
    return true;
}

static bool done_inline(const struct threads_queue *queue, struct io_request *request)
{
    if (queue->large && request->len > INLINE_SMALL)
        return false;
    if (request->op == IO_READ)
        return read_cached(request);
    return request->op == IO_WRITE && write_cached(request);
}

/* Hands over what there is room for. */
static int threads_submit(struct io_queue *base)
{
    struct threads_queue *queue = (struct threads_queue *)base;
    struct posix_queue *common = &queue->base;
    struct request_list batch;
    unsigned inlined = 0;

    posix_queue_send_calls(common);
    request_list_init(&batch);
    while (common->staged.count > 0 && common->under_way + batch.count < base->depth) {
        struct io_request *request = request_list_pop(&common->staged);
        if (done_inline(queue, request)) {
            request_list_push(&common->ready, request);
            inlined++;
            continue;
        }
        request_list_push(&batch, request);
    }
    if (inlined > 0) {
        stats_started(base->engine, 1); /* one at a time */
        stats_finished(base->engine, 1);
    }
    if (batch.count == 0)
        return 0;
    common->under_way += batch.count;
    stats_started(base->engine, batch.count);
    atomic_fetch_add_explicit(&base->engine->stats.submits, 1, memory_order_relaxed);
    handover_send(&common->hand, posix_engine(base->engine)->blocking, &batch);
    return 0;
}

static struct io_request *threads_reap(struct io_queue *base, unsigned min)
{
    struct posix_queue *queue = posix_queue(base);

    threads_submit(base);
    posix_queue_take_back(queue, 0);
    threads_submit(base);
    while (queue->ready.count < min && queue->hand.away > 0) {
        posix_queue_take_back(queue, min - queue->ready.count);
        threads_submit(base);
    }
    return posix_queue_ready(queue);
}

static void threads_free(struct io_queue *base)
{
    struct posix_queue *queue = posix_queue(base);

    request_list_init(&queue->staged); /* never submitted: nothing happens to them */
    request_list_init(&queue->staged_calls);
    while (queue->hand.away > 0)
        posix_queue_take_back(queue, 1);
    posix_queue_release(queue);
    free(queue);
}

static const struct io_queue_ops threads_queue_ops = {
    .add = posix_queue_add,
    .submit = threads_submit,
    .reap = threads_reap,
    .free = threads_free,
};

int threads_queue_new(struct posix_engine *engine, const struct io_queue_profile *profile,
                      struct io_queue **out)
{
    struct threads_queue *queue = calloc(1, sizeof(*queue));

    if (!queue)
        return -ENOMEM;
    posix_queue_init(&queue->base, engine, &threads_queue_ops, profile->depth);
    queue->large = profile->large;
    *out = &queue->base.base;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls on queues, and the half that both queues over real files share.
 */
#include "queue.h"

#include <assert.h>

#include "base_limits.h"

int io_queue_new(struct io_engine *engine, const struct io_queue_profile *profile,
                 struct io_queue **out)
{
    assert(profile->depth > 0);
    assert(profile->depth <= LIMIT_QUEUE_DEPTH);
    return engine->ops->queue_new(engine, profile, out);
}

void io_queue_free(struct io_queue *queue)
{
    if (queue)
        queue->ops->free(queue);
}

void io_queue_add(struct io_queue *queue, struct io_request *request)
{
    const bool moves = request->op == IO_READ || request->op == IO_WRITE;

    assert(!moves || !request->file->held_head || request->off >= IO_HEAD_BYTES);
    request->queue = queue;
    request->result = 0;
    request->got = 0;
    request->done = 0;
    request->bounce = NULL;
    queue->ops->add(queue, request);
}

void io_queue_submit(struct io_queue *queue)
{
    queue->ops->submit(queue);
}

struct io_request *io_queue_reap(struct io_queue *queue, unsigned min)
{
    return queue->ops->reap(queue, min);
}

unsigned io_queue_run(struct io_queue *queue, unsigned min)
{
    unsigned count = 0;

    for (struct io_request *next, *request = io_queue_reap(queue, min); request; request = next) {
        next = request->next; /* advance() may free the request, or add it again */
        count++;
        if (request->advance)
            request->advance(request);
    }
    return count;
}

void posix_queue_init(struct posix_queue *queue, struct posix_engine *engine,
                      const struct io_queue_ops *ops, unsigned depth)
{
    queue->base.ops = ops;
    queue->base.engine = &engine->base;
    queue->base.depth = depth;
    queue->under_way = 0;
    request_list_init(&queue->staged);
    request_list_init(&queue->staged_calls);
    request_list_init(&queue->ready);
    handover_init(&queue->hand);
}

void posix_queue_release(struct posix_queue *queue)
{
    assert(queue->under_way == 0);
    handover_release(&queue->hand);
}

void posix_queue_add(struct io_queue *base, struct io_request *request)
{
    struct posix_queue *queue = posix_queue(base);

    if (request->op == IO_CALL)
        request_list_push(&queue->staged_calls, request);
    else
        request_list_push(request_is_trivial(request) ? &queue->ready : &queue->staged, request);
}

void posix_queue_send_calls(struct posix_queue *queue)
{
    if (queue->staged_calls.count > 0)
        handover_send(&queue->hand, queue->base.engine->workers, &queue->staged_calls);
}

void posix_queue_take_back(struct posix_queue *queue, unsigned min)
{
    struct request_list done;
    unsigned finished = 0;

    if (queue->hand.away == 0)
        return;
    request_list_init(&done);
    if (min > 0)
        handover_wait(&queue->hand, min < queue->hand.away ? min : queue->hand.away, &done);
    else
        handover_take(&queue->hand, &done);
    for (const struct io_request *r = done.first; r; r = r->next)
        finished += r->op != IO_CALL;
    queue->under_way -= finished;
    stats_finished(queue->base.engine, finished);
    request_list_move(&queue->ready, &done);
}

struct io_request *posix_queue_ready(struct posix_queue *queue)
{
    struct io_request *first = queue->ready.first;

    request_list_init(&queue->ready);
    return first;
}

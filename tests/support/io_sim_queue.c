/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's queues: a request does nothing between submission and a reap, which executes
 * those under way in an order that the seed decides.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "io_sim_internal.h"

#define POISON 0xa5

static void breach(const char *what, const struct io_request *request)
{
    fprintf(stderr, "io_sim: %s: request at %llu, %llu bytes\n", what,
            (unsigned long long)request->off, (unsigned long long)request->len);
    abort();
}

/* FNV-1a over the memory of a write. */
static uint64_t checksum(const struct io_request *request)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (unsigned i = 0; i < request->iov_count; i++) {
        const uint8_t *bytes = request->iov[i].iov_base;
        for (size_t k = 0; k < request->iov[i].iov_len; k++)
            sum = (sum ^ bytes[k]) * UINT64_C(0x100000001b3);
    }
    return sum;
}

static bool is_poisoned(const struct io_request *request)
{
    for (unsigned i = 0; i < request->iov_count; i++) {
        const uint8_t *bytes = request->iov[i].iov_base;
        for (size_t k = 0; k < request->iov[i].iov_len; k++)
            if (bytes[k] != POISON)
                return false;
    }
    return true;
}

/* The buffers are the engine's from here on. got and done are free until completion: a write's
 * checksum and the changes that a sync covers are kept there. */
static void take_over(struct sim_engine *engine, struct io_request *request)
{
    uint64_t len = 0;

    for (unsigned i = 0; i < request->iov_count; i++)
        len += request->iov[i].iov_len;
    if ((request->op == IO_READ || request->op == IO_WRITE) && len != request->len)
        breach("iov does not add up to len", request);
    if (request->op == IO_READ)
        for (unsigned i = 0; i < request->iov_count; i++)
            memset(request->iov[i].iov_base, POISON, request->iov[i].iov_len);
    if (request->op == IO_WRITE)
        request->got = checksum(request);
    if (request->op == IO_SYNC)
        request->done = engine->serial;
}

static int execute_sync(struct io_request *request)
{
    struct io_file *file = request->file;
    int failed = atomic_load(&file->sync_error);

    if (failed != 0)
        return failed;
    atomic_fetch_add(&file->engine->stats.syncs, 1);
    const int rc = sim_sync_at((struct sim_file *)file, request->done);
    if (rc < 0)
        atomic_compare_exchange_strong(&file->sync_error, &failed, rc);
    return rc;
}

static void execute(struct io_request *request)
{
    if (request->op == IO_READ && !is_poisoned(request))
        breach("the memory of a read was touched before its completion", request);
    if (request->op == IO_WRITE && checksum(request) != request->got)
        breach("the memory of a write changed before its completion", request);
    request->got = 0;
    if (request->op == IO_SYNC) {
        request->result = execute_sync(request);
        return;
    }
    request->done = 0;
    request->result = request_perform(request);
}

/* Takes number @index out of @list. */
static struct io_request *remove_at(struct request_list *list, uint64_t index)
{
    struct io_request **at = &list->first;

    while (index-- > 0)
        at = &(*at)->next;
    struct io_request *request = *at;
    *at = request->next;
    if (!*at)
        list->last = at;
    list->count--;
    return request;
}

static int sim_submit(struct io_queue *base)
{
    struct sim_queue *queue = (struct sim_queue *)base;
    struct sim_engine *engine = sim_engine(base->engine);
    unsigned started = 0;

    sim_lock(engine);
    while (queue->staged.first &&
           (queue->staged.first->op == IO_CALL || queue->under_way + started < base->depth)) {
        struct io_request *request = request_list_pop(&queue->staged);
        take_over(engine, request);
        started += request->op != IO_CALL;
        request_list_push(&queue->flight, request);
    }
    queue->under_way += started;
    sim_unlock(engine);
    stats_started(base->engine, started);
    if (started > 0)
        atomic_fetch_add(&base->engine->stats.submits, 1);
    return 0;
}

/* Executes one of those under way, and lets another in. */
static void step(struct sim_queue *queue)
{
    struct sim_engine *engine = sim_engine(queue->base.engine);

    sim_lock(engine);
    const uint64_t index =
        engine->options.in_order ? 0 : sim_random(&engine->random) % queue->flight.count;
    struct io_request *request = remove_at(&queue->flight, index);
    sim_unlock(engine);
    execute(request);
    if (request->op != IO_CALL) {
        queue->under_way--;
        stats_finished(&engine->base, 1);
    }
    request_list_push(&queue->ready, request);
    sim_submit(&queue->base);
}

static bool coin(struct sim_engine *engine)
{
    sim_lock(engine);
    const bool heads = sim_random(&engine->random) & 1;
    sim_unlock(engine);
    return heads;
}

static struct io_request *sim_reap(struct io_queue *base, unsigned min)
{
    struct sim_queue *queue = (struct sim_queue *)base;

    sim_submit(base);
    while (queue->ready.count < min && queue->flight.count > 0)
        step(queue);
    while (queue->flight.count > 0 && coin(sim_engine(base->engine)))
        step(queue);
    struct io_request *first = queue->ready.first;
    request_list_init(&queue->ready);
    return first;
}

static void sim_add(struct io_queue *base, struct io_request *request)
{
    struct sim_queue *queue = (struct sim_queue *)base;

    request_list_push(request_is_trivial(request) ? &queue->ready : &queue->staged, request);
}

static void sim_queue_free(struct io_queue *base)
{
    struct sim_queue *queue = (struct sim_queue *)base;
    struct sim_engine *engine = sim_engine(base->engine);

    request_list_init(&queue->staged);
    while (queue->flight.count > 0)
        step(queue);
    sim_lock(engine);
    struct sim_queue **at = &engine->queues;
    while (*at != queue)
        at = &(*at)->next;
    *at = queue->next;
    sim_unlock(engine);
    free(queue);
}

static const struct io_queue_ops sim_queue_ops = {
    .add = sim_add,
    .submit = sim_submit,
    .reap = sim_reap,
    .free = sim_queue_free,
};

int sim_queue_new(struct io_engine *base, const struct io_queue_profile *profile,
                  struct io_queue **out)
{
    struct sim_engine *engine = sim_engine(base);
    struct sim_queue *queue = calloc(1, sizeof(*queue));

    if (!queue)
        return -ENOMEM;
    queue->base = (struct io_queue){ &sim_queue_ops, base, profile->depth };
    request_list_init(&queue->staged);
    request_list_init(&queue->flight);
    request_list_init(&queue->ready);
    sim_lock(engine);
    queue->next = engine->queues;
    engine->queues = queue;
    sim_unlock(engine);
    *out = &queue->base;
    return 0;
}

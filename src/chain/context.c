/* SPDX-License-Identifier: Apache-2.0
 *
 * The context: engine, worker pool, map budget, gate policy, notes and totals. Making one starts
 * no thread and sets up no ring: both wait for their first use, so that `info` pays for neither.
 */
#include "context.h"

#include <stdio.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"

/* Requests in flight of a borrowed queue: enough for a device to be busy with table loads. */
#define BORROWED_DEPTH 64

static void engine_note(void *user, const char *text)
{
    context_note(user, QIMG_NOTE_DEBUG, "%s", text);
}

static void free_list(const char *const *list)
{
    if (!list)
        return;
    for (const char *const *s = list; *s; s++)
        free((void *)(uintptr_t)*s);
    free((void *)(uintptr_t)list);
}

static int copy_list(const char *const *list, const char *const **out)
{
    *out = NULL;
    if (!list)
        return 0;
    size_t count = 0;
    while (list[count])
        count++;
    const char **copy = calloc(count + 1, sizeof(*copy));
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        copy[i] = strdup(list[i]);
        if (!copy[i]) {
            free_list(copy);
            return -ENOMEM;
        }
    }
    *out = copy;
    return 0;
}

static int copy_gate(const struct qimg_gate_options *in, struct qimg_gate_options *out)
{
    *out = *in;
    out->allow_dirs = NULL;
    out->allow_formats = NULL;
    if (out->max_depth == 0)
        out->max_depth = LIMIT_CHAIN_DEPTH;
    if (out->max_depth > UINT16_MAX) /* the map counts layers in 16 bits */
        out->max_depth = UINT16_MAX;
    TRY(copy_list(in->allow_dirs, &out->allow_dirs));
    return copy_list(in->allow_formats, &out->allow_formats);
}

static enum io_engine_choice engine_choice(enum qimg_engine engine)
{
    if (engine == QIMG_ENGINE_IO_URING)
        return IO_ENGINE_URING;
    return engine == QIMG_ENGINE_THREADS ? IO_ENGINE_THREADS : IO_ENGINE_AUTO;
}

static int context_fill(struct qimg_context *context, const struct qimg_context_options *options)
{
    context->map_budget = options->map_budget ? options->map_budget : LIMIT_MAP_BUDGET;
    context->engine_choice = options->engine;
    context->note = options->note;
    context->note_user = options->note_user;
    TRY(copy_gate(&options->gate, &context->gate));
    TRY(workers_new(options->threads, &context->workers));
    return io_engine_new(engine_choice(options->engine), context->workers, engine_note, context,
                         &context->engine);
}

/* A directory that is not there would allow nothing, and nobody would learn why. */
static int open_allowed_dirs(struct qimg_context *context, struct qimg_error *err)
{
    const char *const *dirs = context->gate.allow_dirs;
    const int rc = dirs ? io_bounds_init(&context->bounds, dirs) : 0;
    if (rc == -ENOMEM)
        return qimg_fail_memory(err);
    return rc < 0 ? qimg_fail_errno(err, -rc, "--allow-dir '%s'", dirs[context->bounds.count]) : 0;
}

int qimg_context_new(const struct qimg_context_options *options, struct qimg_context **out,
                     struct qimg_error *err)
{
    static const struct qimg_context_options defaults;
    if (!options)
        options = &defaults;
    if (options->gate.policy > QIMG_POLICY_AUDIT || options->engine > QIMG_ENGINE_THREADS)
        return qimg_fail(err, EINVAL, "context: unknown policy or engine");

    struct qimg_context *context = calloc(1, sizeof(*context));
    if (!context)
        return qimg_fail_memory(err);
    pthread_mutex_init(&context->queues.lock, NULL);
    int rc = context_fill(context, options);
    if (rc < 0)
        rc = rc == -ENOMEM ? qimg_fail_memory(err)
                           : qimg_fail_errno(err, -rc, "Could not start the I/O engine");
    if (rc == 0)
        rc = open_allowed_dirs(context, err);
    if (rc < 0) {
        qimg_context_free(context);
        return rc;
    }
    *out = context;
    return 0;
}

void qimg_context_free(struct qimg_context *context)
{
    if (!context)
        return;
    for (unsigned i = 0; i < context->queues.count; i++)
        io_queue_free(context->queues.idle[i]);
    if (context->engine)
        io_engine_free(context->engine);
    workers_free(context->workers);
    io_bounds_release(&context->bounds);
    free_list(context->gate.allow_dirs);
    free_list(context->gate.allow_formats);
    pthread_mutex_destroy(&context->queues.lock);
    free(context);
}

void qimg_context_stats(const struct qimg_context *context, struct qimg_stats *out)
{
    const struct io_stats *io = &context->engine->stats;
    *out = (struct qimg_stats){
        .reads = atomic_load(&io->reads),
        .bytes_read = atomic_load(&io->bytes_read),
        .writes = atomic_load(&io->writes),
        .bytes_written = atomic_load(&io->bytes_written),
        .zeroes = atomic_load(&io->zeroes),
        .syncs = atomic_load(&io->syncs),
        .submits = atomic_load(&io->submits),
        .max_in_flight = atomic_load(&io->max_in_flight),
        .tables_loaded = atomic_load(&context->tables_loaded),
        .table_bytes = atomic_load(&context->table_bytes),
        .map_hits = atomic_load(&context->map_hits),
        .map_misses = atomic_load(&context->map_misses),
        .map_bytes = atomic_load(&context->map_bytes),
    };
}

void context_note(const struct qimg_context *context, enum qimg_note_level level, const char *fmt,
                  ...)
{
    if (!context->note)
        return;
    char text[QIMG_ERROR_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    context->note(context->note_user, level, text);
}

int context_fail_queue(const struct qimg_context *context, int rc, struct qimg_error *err)
{
    if (context->engine_choice != QIMG_ENGINE_IO_URING)
        return qimg_fail_errno(err, -rc, "Could not make an I/O queue");
    (void)qimg_fail_errno(err, -rc, "Could not make an I/O queue of io_uring");
    return qimg_hint(err, "To do without io_uring: --engine=threads");
}

int context_borrow_queue(struct qimg_context *context, struct io_queue **out)
{
    struct queue_pool *pool = &context->queues;
    struct io_queue *queue = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->count > 0)
        queue = pool->idle[--pool->count];
    pthread_mutex_unlock(&pool->lock);
    if (queue) {
        *out = queue;
        return 0;
    }
    const struct io_queue_profile profile = { .depth = BORROWED_DEPTH };
    return io_queue_new(context->engine, &profile, out);
}

void context_return_queue(struct qimg_context *context, struct io_queue *queue)
{
    struct queue_pool *pool = &context->queues;
    pthread_mutex_lock(&pool->lock);
    if (pool->count < sizeof(pool->idle) / sizeof(pool->idle[0])) {
        pool->idle[pool->count++] = queue;
        queue = NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    io_queue_free(queue);
}

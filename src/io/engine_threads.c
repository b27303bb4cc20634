/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues whose requests are done by threads that wait for the kernel. Small buffered requests
 * are tried in the submitting thread first: what lies in the page cache costs one system call
 * there, and handing it over costs more than the call itself (engine.c has the figures). Reads
 * do not wait there (RWF_NOWAIT); what the cache lacks goes to a thread. tmpfs has no such flag,
 * and no need of one.
 */
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/vfs.h>

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

/* What to say to preadv2() so that it does not wait; once a file was found not to know the flag,
 * nothing where it is memory anyway, and -1 where reading may wait. */
static int cached_flags(const struct posix_file *file)
{
    switch (atomic_load_explicit(&file->cached_reads, memory_order_relaxed)) {
    case CACHED_READS_NOWAIT:
        return RWF_NOWAIT;
    case CACHED_READS_PLAIN:
        return 0;
    default:
        return -1;
    }
}

static void no_nowait(struct posix_file *file, int fd)
{
    struct statfs fs;
    const bool memory = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;

    atomic_store_explicit(&file->cached_reads, memory ? CACHED_READS_PLAIN : CACHED_READS_NEVER,
                          memory_order_relaxed);
}

/* Reads on from request->done while the page cache has it. 0: all, or up to the end of the file. */
static int read_on(struct posix_file *file, int fd, struct io_request *request)
{
    struct iovec pieces[INLINE_PIECES];

    while (request->done < request->len) {
        const int flags = cached_flags(file);
        const unsigned count = request_slice(request, request->done, pieces, INLINE_PIECES);
        const off_t off = (off_t)(request->off + request->done);
        if (flags < 0)
            return -EAGAIN;
        const ssize_t n = preadv2(fd, pieces, (int)count, off, flags);
        if (n == 0)
            return 0;
        if (n > 0)
            request->done += (uint64_t)n;
        else if (errno == EOPNOTSUPP && flags == RWF_NOWAIT)
            no_nowait(file, fd);
        else
            return -errno;
    }
    return 0;
}

/* True: complete. False: a thread has to go on, and meets whatever error there is. */
static bool read_cached(struct io_request *request)
{
    struct posix_file *file = posix_file(request->file);

    if (request->file->options.direct)
        return false;
    const int fd = posix_pin(file);
    if (fd < 0)
        return false;
    const int rc = read_on(file, fd, request);
    posix_unpin(file);
    if (rc == 0)
        request_finish_read(request);
    return rc == 0;
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
    posix_queue_take_back(queue, false);
    threads_submit(base);
    while (queue->ready.count < min && queue->hand.away > 0) {
        posix_queue_take_back(queue, true);
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
        posix_queue_take_back(queue, true);
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

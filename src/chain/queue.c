/* SPDX-License-Identifier: Apache-2.0
 *
 * The public ways to read, and to change many things at once: one read at a time from any thread
 * (with a queue borrowed for the call, or none at all where one file has the bytes in one piece),
 * and requests of all kinds on a queue. (One change at a time: change.c.)
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "chain.h"
#include "checked.h"
#include "map.h"
#include "qimg/write.h"
#include "read.h"
#include "write.h"
#include "writing.h"

/* --- one read ------------------------------------------------------------------------------- */

struct sync_read {
    struct chain_read read;
    bool done;
};

static void sync_done(struct chain_read *read)
{
    ((struct sync_read *)read)->done = true;
}

static int read_queued(struct qimg_image *image, struct qimg_range want, void *buf,
                       struct qimg_error *err)
{
    struct io_queue *queue = NULL;
    const int rc = context_borrow_queue(image->context, &queue);
    if (rc < 0)
        return context_fail_queue(image->context, rc, err);
    struct sync_read sync = { .read = { .image = image,
                                        .queue = queue,
                                        .guest_off = want.off,
                                        .buf = buf,
                                        .len = want.len,
                                        .complete = sync_done } };
    chain_read_start(&sync.read);
    while (!sync.done)
        io_queue_run(queue, 1);
    context_return_queue(image->context, queue);
    return sync.read.result < 0 ? chain_read_explain(&sync.read, err) : 0;
}

/* The bytes of one run that needs no queue. */
static int read_run(struct qimg_image *image, const struct run *run, void *buf,
                    struct qimg_error *err)
{
    if (run->kind == RUN_ZERO || run->kind == RUN_UNALLOCATED) {
        memset(buf, 0, run->len);
        return 0;
    }
    struct io_file *file = layer_data_file(&image->layers[run->layer]);
    const int rc = io_read_exact(file, run->host_off, buf, run->len, NULL);
    if (rc == 0)
        return 0;
    const struct chain_read failed = { .image = image,
                                       .guest_off = run->guest_off,
                                       .len = run->len,
                                       .result = rc,
                                       .failed_off = run->guest_off };
    return chain_read_explain(&failed, err);
}

int qimg_image_read(struct qimg_image *image, uint64_t off, void *buf, size_t len,
                    struct qimg_error *err)
{
    const struct qimg_range want = { off, len };
    struct run run;
    if (image->options.info_only)
        return qimg_fail(err, EINVAL, "the image was opened for its description only");
    if (!range_within(want, image->size))
        return qimg_fail(err, EINVAL, "read of %zu bytes at %llu passes the end of the disk (%llu)",
                         len, (unsigned long long)off, (unsigned long long)image->size);
    if (len == 0)
        return 0;
    const uint64_t pin = chain_pin(image);
    int rc = chain_map_lookup(image->map, want, &run, 1, err);
    const bool simple =
        rc > 0 && run.len == len && run.kind != RUN_COMPRESSED && run.kind != RUN_BAD;
    if (simple)
        rc = read_run(image, &run, buf, err);
    chain_unpin(image, pin);
    return rc < 0 || simple ? rc : read_queued(image, want, buf, err);
}

/* --- many requests ---------------------------------------------------------------------------- */

struct slot {
    struct qimg_queue *queue;
    struct chain_read read; /* one of the two */
    struct chain_write write;
    void *tag;
    int result;
    struct slot *next; /* free, or complete */
};

struct qimg_queue {
    struct qimg_image *image;
    struct io_queue *io;
    struct write_lane lane;
    struct slot *slots;
    unsigned depth, under_way;
    unsigned gather; /* requests sent together, and how many wait for that */
    unsigned gathered;
    struct slot *free_slots;
    struct slot *done, **done_end;
};

static void slot_done(struct slot *slot, int result)
{
    struct qimg_queue *queue = slot->queue;
    slot->result = result;
    slot->next = NULL;
    *queue->done_end = slot;
    queue->done_end = &slot->next;
}

static void read_done(struct chain_read *read)
{
    slot_done(read->user, read->result);
}

static void write_done(struct chain_write *write)
{
    slot_done(write->user, write->result);
}

static struct slot *slot_take(struct qimg_queue *queue, void *tag)
{
    struct slot *slot = queue->free_slots;
    if (!slot)
        return NULL;
    queue->free_slots = slot->next;
    queue->under_way++;
    slot->queue = queue;
    slot->tag = tag;
    return slot;
}

static struct io_queue_profile profile_of(const struct qimg_image *image, unsigned depth)
{
    const enum qimg_cache cache = image->options.cache;
    return (struct io_queue_profile){
        .depth = depth,
        .direct = cache == QIMG_CACHE_NONE || cache == QIMG_CACHE_DIRECTSYNC,
    };
}

int qimg_queue_new(struct qimg_image *image, unsigned depth, struct qimg_queue **out,
                   struct qimg_error *err)
{
    if (depth == 0 || depth > LIMIT_QUEUE_DEPTH || image->options.info_only)
        return qimg_fail(err, EINVAL,
                         "a queue needs a depth of 1 to %d and an image opened for "
                         "reading",
                         LIMIT_QUEUE_DEPTH);
    struct qimg_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return qimg_fail_memory(err);
    const struct io_queue_profile profile = profile_of(image, depth);
    queue->image = image;
    queue->depth = depth;
    queue->gather = profile.direct ? (depth + 15) / 16 : depth;
    queue->done_end = &queue->done;
    queue->slots = calloc(depth, sizeof(*queue->slots));
    int rc = queue->slots ? io_queue_new(image->context->engine, &profile, &queue->io) : -ENOMEM;
    if (rc < 0) {
        qimg_queue_free(queue);
        return context_fail_queue(image->context, rc, err);
    }
    queue->lane.queue = queue->io;
    for (unsigned i = 0; i < depth; i++) {
        queue->slots[i].next = queue->free_slots;
        queue->free_slots = &queue->slots[i];
    }
    *out = queue;
    return 0;
}

const char *qimg_queue_engine(const struct qimg_queue *queue)
{
    const struct io_queue_profile profile = profile_of(queue->image, queue->depth);
    return io_engine_name(queue->image->context->engine, &profile);
}

/* A device is idle while we gather, the page cache has no time to lose. */
static void send_together(struct qimg_queue *queue)
{
    if (++queue->gathered < queue->gather && queue->free_slots)
        return;
    queue->gathered = 0;
    io_queue_submit(queue->io);
}

int qimg_queue_read(struct qimg_queue *queue, uint64_t off, void *buf, size_t len, void *tag)
{
    struct slot *slot = slot_take(queue, tag);
    if (!slot)
        return -EAGAIN;
    slot->read = (struct chain_read){ .image = queue->image,
                                      .queue = queue->io,
                                      .guest_off = off,
                                      .buf = buf,
                                      .len = len,
                                      .complete = read_done,
                                      .user = slot };
    chain_read_start(&slot->read);
    send_together(queue);
    return 0;
}

/* @change says what; the rest is filled here. */
static int start_change(struct qimg_queue *queue, struct chain_write change, void *tag)
{
    struct slot *slot = slot_take(queue, tag);
    if (!slot)
        return -EAGAIN;
    slot->write = change;
    slot->write.image = queue->image;
    slot->write.lane = &queue->lane;
    slot->write.complete = write_done;
    slot->write.user = slot;
    chain_write_start(&slot->write);
    send_together(queue);
    return 0;
}

int qimg_queue_write(struct qimg_queue *queue, uint64_t off, const void *buf, size_t len, void *tag)
{
    return start_change(
        queue, (struct chain_write){ .kind = CHAIN_WRITE_BYTES, .range = { off, len }, .buf = buf },
        tag);
}

int qimg_queue_write_zeroes(struct qimg_queue *queue, uint64_t off, uint64_t len, unsigned flags,
                            void *tag)
{
    return start_change(queue,
                        (struct chain_write){ .kind = CHAIN_WRITE_ZEROES,
                                              .range = { off, len },
                                              .may_unmap = flags & QIMG_ZERO_MAY_UNMAP,
                                              .no_fallback = flags & QIMG_ZERO_NO_FALLBACK },
                        tag);
}

int qimg_queue_discard(struct qimg_queue *queue, uint64_t off, uint64_t len, void *tag)
{
    return start_change(queue, (struct chain_write){ .kind = CHAIN_DISCARD, .range = { off, len } },
                        tag);
}

int qimg_queue_flush(struct qimg_queue *queue, void *tag)
{
    return start_change(queue, (struct chain_write){ .kind = CHAIN_FLUSH }, tag);
}

/* Moves on what is under way, and what waited for it. When all of it waits for other queues,
 * there is nothing to reap. */
static void move_on(struct qimg_queue *queue)
{
    if (queue->lane.parked && queue->lane.parked_count == queue->under_way) {
        write_lane_wait(&queue->lane);
        return;
    }
    io_queue_run(queue->io, 1);
    if (queue->lane.parked)
        write_lane_retry(&queue->lane);
}

/* Hands over one completion, if there is one. */
static bool take_done(struct qimg_queue *queue, struct qimg_completion *out)
{
    struct slot *slot = queue->done;
    if (!slot)
        return false;
    queue->done = slot->next;
    if (!queue->done)
        queue->done_end = &queue->done;
    *out = (struct qimg_completion){ .tag = slot->tag, .result = slot->result };
    slot->next = queue->free_slots;
    queue->free_slots = slot;
    queue->under_way--;
    return true;
}

int qimg_queue_wait(struct qimg_queue *queue, struct qimg_completion *out, unsigned max,
                    unsigned min)
{
    unsigned count = 0;
    if (min > max)
        min = max;
    queue->gathered = 0;
    io_queue_run(queue->io, 0);
    if (queue->lane.parked)
        write_lane_retry(&queue->lane);
    while (count < max) {
        if (take_done(queue, &out[count])) {
            count++;
            continue;
        }
        if (count >= min || queue->under_way == 0)
            break;
        move_on(queue);
    }
    return (int)count;
}

void qimg_queue_free(struct qimg_queue *queue)
{
    struct qimg_completion ignored;
    if (!queue)
        return;
    while (queue->io && queue->under_way > 0)
        (void)qimg_queue_wait(queue, &ignored, 1, 1);
    io_queue_free(queue->io);
    free(queue->slots);
    free(queue);
}

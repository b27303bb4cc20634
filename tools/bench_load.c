/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop of `bench`. One completion is taken at a time, and each may start a flush and the next
 * requests, so that flushes come at the same places as under qemu-img. Invariants:
 *
 *   (1) left counts the requests that are not complete, under way or not: left >= under_way.
 *   (2) At most depth requests are under way, and at most 2 * depth with the flushes: where depth
 *       flushes are under way no request is started, and each completion starts one flush at most.
 *   (3) While a drained flush is due or under way no request is started.
 */
#include "bench_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUFFER_ALIGN 4096 /* enough for O_DIRECT on any device */

struct slot {
    struct slot *next; /* that is free */
    uint8_t *buf;
    uint64_t began; /* ns */
};

struct runner {
    const struct tool *tool;
    const struct bench_load *load;
    struct qimg_queue *queue;
    uint64_t size;      /* of the disk */
    uint64_t off;       /* of the next request */
    uint32_t depth;     /* never more than there are requests */
    uint32_t left;      /* (1) */
    uint32_t under_way; /* requests */
    uint32_t flushes;   /* under way */
    bool draining;      /* (3) */
    struct slot *slots, *free_slots;
    struct bench_histogram *latency;
    uint8_t *buffers; /* of all slots; writes share one */
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* --- starting and ending ------------------------------------------------------------------- */

static void runner_release(struct runner *r)
{
    qimg_queue_free(r->queue);
    free(r->slots);
    free(r->buffers);
}

static int make_slots(struct runner *r)
{
    const struct bench_load *load = r->load;
    const size_t each = ((size_t)load->len + BUFFER_ALIGN - 1) & ~(size_t)(BUFFER_ALIGN - 1);
    size_t total;
    void *buffers;
    if (__builtin_mul_overflow(each, load->write ? 1 : (size_t)r->depth, &total) ||
        posix_memalign(&buffers, BUFFER_ALIGN, total) != 0)
        return tool_fail(r->tool, "out of memory");
    r->buffers = buffers;
    r->slots = calloc(r->depth, sizeof(*r->slots));
    if (!r->slots)
        return tool_fail(r->tool, "out of memory");
    for (uint32_t i = 0; i < r->depth; i++) {
        r->slots[i].buf = r->buffers + (load->write ? 0 : i * each);
        r->slots[i].next = r->free_slots;
        r->free_slots = &r->slots[i];
    }
    if (load->write)
        memset(r->buffers, load->pattern, load->len);
    return EXIT_DONE;
}

static int runner_init(struct runner *r, struct qimg_image *image)
{
    const struct bench_load *load = r->load;
    struct qimg_error err;
    qimg_error_clear(&err);
    r->size = qimg_image_size(image);
    r->off = load->off;
    r->left = load->count;
    r->depth = load->depth < load->count ? load->depth : load->count;
    const bool beside = load->flush_interval > 0 && load->no_drain;
    if (qimg_queue_new(image, beside ? 2 * r->depth : r->depth, &r->queue, &err) < 0) /* (2) */
        return tool_fail_error(r->tool, "", &err);
    return make_slots(r);
}

/* --- requests ------------------------------------------------------------------------------ */

static int request_failed(const struct runner *r, int rc)
{
    return tool_fail(r->tool, "Failed request: %s", strerror(-rc));
}

/* Moves on, and back to the beginning where less than a request is left. */
static void advance(struct runner *r)
{
    const uint32_t len = r->load->len;
    r->off = r->size <= len ? 0 : (r->off + r->load->step) % (r->size - len);
}

static int start_request(struct runner *r)
{
    const struct bench_load *load = r->load;
    if (load->len > r->size || r->off > r->size - load->len)
        return request_failed(r, -EIO); /* QEMU's answer to what passes the end */
    struct slot *slot = r->free_slots;
    if (load->latencies)
        slot->began = now();
    const int rc = load->write ? qimg_queue_write(r->queue, r->off, slot->buf, load->len, slot)
                               : qimg_queue_read(r->queue, r->off, slot->buf, load->len, slot);
    if (rc < 0)
        return request_failed(r, rc);
    r->free_slots = slot->next;
    r->under_way++;
    advance(r);
    return EXIT_DONE;
}

static int start_requests(struct runner *r)
{
    int code = EXIT_DONE;
    while (code == EXIT_DONE && r->left > r->under_way && r->under_way < r->depth &&
           r->flushes < r->depth)
        code = start_request(r);
    return code;
}

/* --- completions ----------------------------------------------------------------------------- */

/* A flush has no slot: that is how its completion is known. */
static int start_flush(struct runner *r)
{
    const int rc = qimg_queue_flush(r->queue, NULL);
    if (rc < 0)
        return tool_fail(r->tool, "Failed flush request: %s", strerror(-rc));
    r->flushes++;
    return EXIT_DONE;
}

static int flush_done(struct runner *r, int result)
{
    r->flushes--;
    r->draining = false;
    if (result < 0)
        return tool_fail(r->tool, "Failed %srequest: %s", r->load->no_drain ? "flush " : "",
                         strerror(-result));
    return EXIT_DONE;
}

static int request_done(struct runner *r, struct slot *slot, int result)
{
    const struct bench_load *load = r->load;
    const uint32_t not_started = r->left - r->under_way;
    slot->next = r->free_slots;
    r->free_slots = slot;
    r->left--;
    r->under_way--;
    if (result < 0)
        return request_failed(r, result);
    if (load->latencies)
        bench_histogram_add(r->latency, now() - slot->began);
    if (load->flush_interval == 0 || not_started % load->flush_interval != 0)
        return EXIT_DONE;
    r->draining = !load->no_drain;
    return load->no_drain || r->under_way == 0 ? start_flush(r) : EXIT_DONE;
}

static int take_one(struct runner *r)
{
    struct qimg_completion done;
    (void)qimg_queue_wait(r->queue, &done, 1, 1);
    const int code = done.tag ? request_done(r, done.tag, done.result) : flush_done(r, done.result);
    if (code || r->draining)
        return code;
    return start_requests(r);
}

int bench_load_run(const struct tool *tool, struct qimg_image *image, const struct bench_load *load,
                   struct bench_result *result)
{
    struct runner r = { .tool = tool, .load = load, .latency = &result->latency };
    int code = runner_init(&r, image);
    const uint64_t began = now();
    if (code == EXIT_DONE)
        code = start_requests(&r);
    while (code == EXIT_DONE && (r.left > 0 || r.flushes > 0))
        code = take_one(&r);
    result->seconds = (double)(now() - began) / 1e9;
    runner_release(&r);
    return code;
}

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

#include "job.h"

#define BUFFER_ALIGN 4096 /* enough for O_DIRECT on any device */

struct slot {
    struct slot *next; /* that is free */
    uint8_t *buf;      /* that is read into */
    bool write;
    uint64_t began; /* ns */
};

struct runner {
    const struct tool *tool;
    const struct bench_load *load;
    struct bench_result *result;
    struct qimg_queue *queue;
    struct bench_requests requests;
    uint32_t depth;     /* never more than there are requests */
    uint64_t left;      /* (1) */
    uint32_t under_way; /* requests */
    uint32_t flushes;   /* under way */
    bool draining;      /* (3) */
    uint64_t deadline;  /* ns; UINT64_MAX = none */
    struct slot *slots, *free_slots;
    uint8_t *buffers; /* one that all writes share, then those of the slots */
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
    const struct bench_workload *work = &r->load->work;
    const size_t each = ((size_t)work->len + BUFFER_ALIGN - 1) & ~(size_t)(BUFFER_ALIGN - 1);
    const bool reads = work->write_percent < 100;
    size_t total;
    void *buffers;
    if (__builtin_mul_overflow(each, reads ? (size_t)r->depth + 1 : 1, &total) ||
        posix_memalign(&buffers, BUFFER_ALIGN, total) != 0)
        return tool_fail(r->tool, "out of memory");
    r->buffers = buffers;
    r->slots = calloc(r->depth, sizeof(*r->slots));
    if (!r->slots)
        return tool_fail(r->tool, "out of memory");
    for (uint32_t i = 0; i < r->depth; i++) {
        r->slots[i].buf = r->buffers + (reads ? (i + 1) * each : 0);
        r->slots[i].next = r->free_slots;
        r->free_slots = &r->slots[i];
    }
    memset(r->buffers, r->load->pattern, work->len);
    return EXIT_DONE;
}

static int runner_init(struct runner *r, struct qimg_image *image)
{
    const struct bench_load *load = r->load;
    struct qimg_error err;
    qimg_error_clear(&err);
    bench_requests_init(&r->requests, &load->work, qimg_image_size(image));
    r->left = load->runtime_ns ? INT64_MAX : load->count;
    r->depth = load->depth < r->left ? load->depth : (uint32_t)r->left;
    const bool beside = load->flush_interval > 0 && load->no_drain;
    if (qimg_queue_new(image, beside ? 2 * r->depth : r->depth, &r->queue, &err) < 0) /* (2) */
        return tool_fail_error(r->tool, "", &err);
    r->result->engine = qimg_queue_engine(r->queue);
    return make_slots(r);
}

/* --- requests ------------------------------------------------------------------------------ */

static int request_failed(const struct runner *r, int rc)
{
    return tool_fail(r->tool, "Failed request: %s", strerror(-rc));
}

static int start_request(struct runner *r)
{
    const struct bench_request next = bench_requests_next(&r->requests);
    const uint64_t size = r->requests.size;
    const uint32_t len = r->load->work.len;
    struct slot *slot = r->free_slots;
    if (len > size || next.off > size - len)
        return request_failed(r, -EIO); /* QEMU's answer to what passes the end */
    slot->write = next.write;
    if (r->load->latencies)
        slot->began = now();
    const int rc = next.write ? qimg_queue_write(r->queue, next.off, r->buffers, len, slot)
                              : qimg_queue_read(r->queue, next.off, slot->buf, len, slot);
    if (rc < 0)
        return request_failed(r, rc);
    r->free_slots = slot->next;
    r->under_way++;
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

/* After the deadline nothing is left but what is under way. */
static void note_latency(struct runner *r, const struct slot *slot)
{
    const uint64_t time = now();
    bench_histogram_add(&r->result->latency[slot->write], time - slot->began);
    if (time >= r->deadline)
        r->left = r->under_way;
}

static int request_done(struct runner *r, struct slot *slot, int result)
{
    const struct bench_load *load = r->load;
    const uint64_t not_started = r->left - r->under_way;
    slot->next = r->free_slots;
    r->free_slots = slot;
    r->left--;
    r->under_way--;
    if (result < 0)
        return request_failed(r, result);
    if (load->latencies)
        note_latency(r, slot);
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
    struct runner r = { .tool = tool, .load = load, .result = result };
    int code = runner_init(&r, image);
    const uint64_t began = now();
    r.deadline = load->runtime_ns ? began + load->runtime_ns : UINT64_MAX;
    if (code == EXIT_DONE)
        code = start_requests(&r);
    while (code == EXIT_DONE && (r.left > 0 || r.flushes > 0))
        code = job_stopped() ? EXIT_FAILED : take_one(&r);
    result->ns = now() - began;
    runner_release(&r);
    return code;
}

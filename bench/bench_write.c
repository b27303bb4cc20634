/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast can guest bytes be written, by a program on libqimg's public header?
 *
 *     bench_write IMAGE COUNT random|stride [depth=32] [size=4096] [step=N] [format=qcow2]
 *                 [cache=MODE] [engine=auto|io_uring|threads] [offset=N] [limit=BYTES]
 *
 * stride: request i goes to offset + i * step (default: size), within the disk; as `qemu-img
 * bench -w -S step`. Prints one JSON object: writes at the queue depth, what flushing and closing
 * took after them, and the context's statistics.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "qimg/qimg.h"

struct bench {
    const char *image;
    uint64_t count, step, limit, offset;
    bool random;
    unsigned depth;
    size_t size;
    struct qimg_context_options context;
    struct qimg_open_options open;
};

static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static const char *value_of(const char *arg, const char *key)
{
    const size_t len = strlen(key);

    return strncmp(arg, key, len) == 0 && arg[len] == '=' ? arg + len + 1 : NULL;
}

static void parse_option(struct bench *b, const char *arg)
{
    const char *v;

    if ((v = value_of(arg, "depth")))
        b->depth = (unsigned)strtoul(v, NULL, 0);
    else if ((v = value_of(arg, "size")))
        b->size = strtoull(v, NULL, 0);
    else if ((v = value_of(arg, "step")))
        b->step = strtoull(v, NULL, 0);
    else if ((v = value_of(arg, "limit")))
        b->limit = strtoull(v, NULL, 0);
    else if ((v = value_of(arg, "offset")))
        b->offset = strtoull(v, NULL, 0);
    else if ((v = value_of(arg, "format")))
        b->open.format = v;
    else if ((v = value_of(arg, "cache")) && qimg_cache_parse(v, &b->open.cache) == 0)
        return;
    else if ((v = value_of(arg, "engine")))
        b->context.engine = strcmp(v, "io_uring") == 0  ? QIMG_ENGINE_IO_URING
                            : strcmp(v, "threads") == 0 ? QIMG_ENGINE_THREADS
                                                        : QIMG_ENGINE_AUTO;
    else
        errx(2, "what is %s?", arg);
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t next_off(const struct bench *b, uint64_t end, uint64_t i, uint64_t *state)
{
    if (b->random)
        return random_next(state) % (end / b->size) * b->size;
    return (b->offset + i * b->step) % (end - b->size + 1) / b->size * b->size;
}

static void reap(struct qimg_queue *queue, unsigned min, unsigned *under_way)
{
    struct qimg_completion done[64];
    const int n = qimg_queue_wait(queue, done, 64, min);

    for (int i = 0; i < n; i++)
        if (done[i].result < 0)
            errx(1, "write: %s", strerror(-done[i].result));
    *under_way -= (unsigned)n;
}

static double write_all(const struct bench *b, struct qimg_image *image)
{
    struct qimg_error e;
    struct qimg_queue *queue;
    uint8_t *buf = aligned_alloc(4096, b->size < 4096 ? 4096 : b->size);
    const uint64_t size = qimg_image_size(image);
    const uint64_t end = b->limit && b->limit < size ? b->limit : size;
    uint64_t state = 88172645463325252u;
    unsigned under_way = 0;

    if (!buf)
        err(1, "buffer");
    memset(buf, 0x5a, b->size);
    if (qimg_queue_new(image, b->depth, &queue, &e) < 0)
        errx(1, "%s", e.text);
    const double start = now_ms();
    for (uint64_t i = 0; i < b->count; i++) {
        while (qimg_queue_write(queue, next_off(b, end, i, &state), buf, b->size, NULL) < 0)
            reap(queue, 1, &under_way);
        under_way++;
    }
    while (under_way > 0)
        reap(queue, 1, &under_way);
    const double ms = now_ms() - start;
    qimg_queue_free(queue);
    free(buf);
    return ms;
}

int main(int argc, char **argv)
{
    struct bench b = { .depth = 32, .size = 4096, .open = { .format = "qcow2", .writable = true } };
    struct qimg_context *context;
    struct qimg_image *image;
    struct qimg_error e;
    struct qimg_stats s;

    if (argc < 4)
        errx(2, "usage: bench_write IMAGE COUNT random|stride [option=value ...]");
    b.image = argv[1];
    b.count = strtoull(argv[2], NULL, 0);
    b.random = strcmp(argv[3], "random") == 0;
    for (int i = 4; i < argc; i++)
        parse_option(&b, argv[i]);
    if (b.step == 0)
        b.step = b.size;

    if (qimg_context_new(&b.context, &context, &e) < 0 ||
        qimg_image_open(context, b.image, &b.open, &image, &e) < 0)
        errx(1, "%s", e.text);
    const double write_ms = write_all(&b, image);
    const double start = now_ms();
    if (qimg_image_finish(image, &e) < 0)
        errx(1, "%s", e.text);
    const double finish_ms = now_ms() - start;
    qimg_context_stats(context, &s);
    printf("{\"write_ms\": %.3f, \"finish_ms\": %.3f, \"iops\": %.0f, \"submits\": %" PRIu64
           ", \"max_in_flight\": %" PRIu64 ", \"writes\": %" PRIu64 ", \"bytes_written\": %" PRIu64
           ", \"syncs\": %" PRIu64 "}\n",
           write_ms, finish_ms, (double)b.count * 1e3 / write_ms, s.submits, s.max_in_flight,
           s.writes, s.bytes_written, s.syncs);
    qimg_image_close(image);
    qimg_context_free(context);
    return 0;
}

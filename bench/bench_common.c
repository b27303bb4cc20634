/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_common.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double bench_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

const char *bench_value(const char *arg, const char *key)
{
    const size_t len = strlen(key);

    return strncmp(arg, key, len) == 0 && arg[len] == '=' ? arg + len + 1 : NULL;
}

enum qimg_cache bench_cache(const char *text)
{
    enum qimg_cache cache;

    if (qimg_cache_parse(text, &cache) < 0)
        errx(2, "no cache mode %s", text);
    return cache;
}

enum qimg_engine bench_engine(const char *text)
{
    if (strcmp(text, "io_uring") == 0)
        return QIMG_ENGINE_IO_URING;
    if (strcmp(text, "threads") == 0)
        return QIMG_ENGINE_THREADS;
    if (strcmp(text, "auto") != 0)
        errx(2, "no engine %s", text);
    return QIMG_ENGINE_AUTO;
}

static void parse_option(struct bench *b, const char *arg)
{
    const char *v;

    if ((v = bench_value(arg, "depth")))
        b->depth = (unsigned)strtoul(v, NULL, 0);
    else if ((v = bench_value(arg, "size")))
        b->size = strtoull(v, NULL, 0);
    else if ((v = bench_value(arg, "step")))
        b->step = strtoull(v, NULL, 0);
    else if ((v = bench_value(arg, "limit")))
        b->limit = strtoull(v, NULL, 0);
    else if ((v = bench_value(arg, "offset")))
        b->offset = strtoull(v, NULL, 0);
    else if ((v = bench_value(arg, "budget")))
        b->context.map_budget = strtoull(v, NULL, 0);
    else if ((v = bench_value(arg, "format")))
        b->open.format = v;
    else if ((v = bench_value(arg, "cache")))
        b->open.cache = bench_cache(v);
    else if ((v = bench_value(arg, "engine")))
        b->context.engine = bench_engine(v);
    else if (strcmp(arg, "cold") == 0)
        b->cold = true;
    else
        errx(2, "what is %s?", arg);
}

void bench_parse(struct bench *b, int argc, char **argv)
{
    if (argc < 4)
        errx(2, "usage: %s IMAGE COUNT random|stride [option=value ...]", argv[0]);
    b->image = argv[1];
    b->count = strtoull(argv[2], NULL, 0);
    b->random = strcmp(argv[3], "random") == 0;
    for (int i = 4; i < argc; i++)
        parse_option(b, argv[i]);
}

void bench_open(const struct bench *b, struct qimg_context **context, struct qimg_image **image)
{
    struct qimg_error e;

    if (qimg_context_new(&b->context, context, &e) < 0 ||
        qimg_image_open(*context, b->image, &b->open, image, &e) < 0)
        errx(1, "%s", e.text);
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

    if (n < 0)
        errx(1, "queue");
    for (int i = 0; i < n; i++)
        if (done[i].result < 0)
            errx(1, "request: %s", strerror(-done[i].result));
    *under_way -= (unsigned)n;
}

double bench_run(const struct bench *b, struct qimg_image *image, bench_submit_fn submit)
{
    struct qimg_error e;
    struct qimg_queue *queue;
    const size_t room = b->depth * b->size + 4095;
    uint8_t *buf = aligned_alloc(4096, room & ~(size_t)4095);
    const uint64_t size = qimg_image_size(image);
    const uint64_t end = b->limit && b->limit < size ? b->limit : size;
    uint64_t state = 88172645463325252u;
    unsigned under_way = 0;

    if (!buf)
        err(1, "buffers");
    memset(buf, 0x5a, b->depth * b->size);
    if (qimg_queue_new(image, b->depth, &queue, &e) < 0)
        errx(1, "%s", e.text);
    const double start = bench_now_ms();
    for (uint64_t i = 0; i < b->count; i++) {
        const uint64_t off = next_off(b, end, i, &state);
        /* A buffer may be in use by an older request: its content is of no interest here. */
        while (submit(queue, off, buf + i % b->depth * b->size, b->size) < 0)
            reap(queue, 1, &under_way);
        under_way++;
    }
    while (under_way > 0)
        reap(queue, 1, &under_way);
    const double ms = bench_now_ms() - start;
    qimg_queue_free(queue);
    free(buf);
    return ms;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast can guest bytes be read through a chain, by a program on libqimg's public header?
 *
 *     bench_read IMAGE COUNT random|stride [depth=32] [size=4096] [step=N] [cache=MODE]
 *                [engine=auto|io_uring|threads] [budget=BYTES] [cold] [limit=BYTES]
 *
 * Prints one JSON object: opening, first touch of the whole map, COUNT reads at the queue depth,
 * and the context's statistics. cold: the map is not touched before the reads are timed.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "qimg/qimg.h"

struct bench {
    const char *image;
    uint64_t count;
    bool random, cold;
    unsigned depth;
    size_t size;
    uint64_t step, limit;
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
    else if ((v = value_of(arg, "budget")))
        b->context.map_budget = strtoull(v, NULL, 0);
    else if ((v = value_of(arg, "cache")) && qimg_cache_parse(v, &b->open.cache) == 0)
        return;
    else if ((v = value_of(arg, "engine")))
        b->context.engine = strcmp(v, "io_uring") == 0  ? QIMG_ENGINE_IO_URING
                            : strcmp(v, "threads") == 0 ? QIMG_ENGINE_THREADS
                                                        : QIMG_ENGINE_AUTO;
    else if (strcmp(arg, "cold") == 0)
        b->cold = true;
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
    return i * b->step % (end - b->size + 1) / b->size * b->size;
}

/* Resolves every window of the map, as reading a byte of each would. */
static double touch_all(struct qimg_image *image)
{
    struct qimg_error e;
    struct qimg_extent extents[256];
    const uint64_t size = qimg_image_size(image);
    const double start = now_ms();

    for (uint64_t at = 0; at < size;) {
        int n =
            qimg_image_map(image, (struct qimg_range){ at, size - at }, false, extents, 256, &e);
        if (n <= 0)
            errx(1, "map: %s", n < 0 ? e.text : "stuck");
        at = extents[n - 1].guest_off + extents[n - 1].len;
    }
    return now_ms() - start;
}

static void reap(struct qimg_queue *queue, unsigned min, unsigned *under_way)
{
    struct qimg_completion done[64];
    const int n = qimg_queue_wait(queue, done, 64, min);

    if (n < 0)
        errx(1, "queue");
    for (int i = 0; i < n; i++)
        if (done[i].result < 0)
            errx(1, "read: %s", strerror(-done[i].result));
    *under_way -= (unsigned)n;
}

static double read_all(const struct bench *b, struct qimg_image *image)
{
    struct qimg_error e;
    struct qimg_queue *queue;
    uint8_t *buf = aligned_alloc(4096, b->depth * b->size);
    const uint64_t size = qimg_image_size(image);
    const uint64_t end = b->limit && b->limit < size ? b->limit : size;
    uint64_t state = 88172645463325252u;
    unsigned under_way = 0;

    if (!buf)
        err(1, "buffers");
    if (qimg_queue_new(image, b->depth, &queue, &e) < 0)
        errx(1, "%s", e.text);
    const double start = now_ms();
    for (uint64_t i = 0; i < b->count; i++) {
        const uint64_t off = next_off(b, end, i, &state);
        /* A buffer may be in use by an older read: its content is of no interest here. */
        while (qimg_queue_read(queue, off, buf + i % b->depth * b->size, b->size, NULL) < 0)
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

static void print(const struct bench *b, double open_ms, double touch_ms, double read_ms,
                  const struct qimg_stats *s)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    printf("{\"open_ms\": %.3f, \"touch_ms\": %.3f, \"read_ms\": %.3f, \"iops\": %.0f, "
           "\"peak_kib\": %ld, \"submits\": %" PRIu64 ", \"max_in_flight\": %" PRIu64
           ", \"reads\": %" PRIu64 ", \"tables\": %" PRIu64 ", \"table_bytes\": %" PRIu64
           ", \"map_bytes\": %" PRIu64 ", \"map_hits\": %" PRIu64 ", \"map_misses\": %" PRIu64
           "}\n",
           open_ms, touch_ms, read_ms, (double)b->count * 1e3 / read_ms, usage.ru_maxrss,
           s->submits, s->max_in_flight, s->reads, s->tables_loaded, s->table_bytes, s->map_bytes,
           s->map_hits, s->map_misses);
}

int main(int argc, char **argv)
{
    struct bench b = { .depth = 32, .size = 4096, .step = 65536 * 13 };
    struct qimg_context *context;
    struct qimg_image *image;
    struct qimg_error e;
    struct qimg_stats stats;

    if (argc < 4)
        errx(2, "usage: bench_read IMAGE COUNT random|stride [option=value ...]");
    b.image = argv[1];
    b.count = strtoull(argv[2], NULL, 0);
    b.random = strcmp(argv[3], "random") == 0;
    for (int i = 4; i < argc; i++)
        parse_option(&b, argv[i]);

    const double start = now_ms();
    if (qimg_context_new(&b.context, &context, &e) < 0 ||
        qimg_image_open(context, b.image, &b.open, &image, &e) < 0)
        errx(1, "%s", e.text);
    const double open_ms = now_ms() - start;
    const double touch_ms = b.cold ? 0 : touch_all(image);
    const double read_ms = read_all(&b, image);
    qimg_context_stats(context, &stats);
    print(&b, open_ms, touch_ms, read_ms, &stats);
    qimg_image_close(image);
    qimg_context_free(context);
    return 0;
}

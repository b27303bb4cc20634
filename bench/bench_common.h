/* SPDX-License-Identifier: Apache-2.0
 *
 * What the benchmark programs share: options as key=value, a clock, and many requests at a queue
 * depth.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include "qimg/qimg.h"

struct bench {
    const char *image;
    uint64_t count;
    bool random; /* else a stride */
    bool cold;   /* the map is not touched before the reads are timed */
    unsigned depth;
    size_t size;
    uint64_t step, offset; /* request i of a stride is for offset + i * step */
    uint64_t limit;        /* only so many bytes of the disk; 0 = all */
    struct qimg_context_options context;
    struct qimg_open_options open;
};

double bench_now_ms(void);

/* The value of "KEY=VALUE" where @arg is one, else NULL. */
const char *bench_value(const char *arg, const char *key);

/* Exits where there is no such mode or engine. */
enum qimg_cache bench_cache(const char *text);
enum qimg_engine bench_engine(const char *text);

/* IMAGE COUNT random|stride [key=value ...] into @b, which holds the defaults. Exits where that is
 * not what it finds. */
void bench_parse(struct bench *b, int argc, char **argv);

/* Exits where the image cannot be opened. */
void bench_open(const struct bench *b, struct qimg_context **context, struct qimg_image **image);

typedef int (*bench_submit_fn)(struct qimg_queue *queue, uint64_t off, void *buf, size_t len);

/* All requests, at most b->depth under way at once. Returns how many milliseconds that took. */
double bench_run(const struct bench *b, struct qimg_image *image, bench_submit_fn submit);

#endif

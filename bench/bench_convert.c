/* SPDX-License-Identifier: Apache-2.0
 *
 * One conversion to raw by a program on libqimg's public header, and what the context counted.
 *
 *     bench_convert SOURCE TARGET [engine=auto|io_uring|threads] [cache=MODE] [sources=MODE]
 *                   [parallel=N] [sparse=BYTES]
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "qimg/qimg.h"

static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static const char *value_of(int argc, char **argv, const char *key)
{
    const size_t len = strlen(key);

    for (int i = 3; i < argc; i++)
        if (strncmp(argv[i], key, len) == 0 && argv[i][len] == '=')
            return argv[i] + len + 1;
    return NULL;
}

static enum qimg_cache cache_of(const char *text, enum qimg_cache otherwise)
{
    enum qimg_cache cache = otherwise;

    if (text && qimg_cache_parse(text, &cache) < 0)
        errx(2, "no cache mode %s", text);
    return cache;
}

static enum qimg_engine engine_of(const char *text)
{
    if (text && strcmp(text, "io_uring") == 0)
        return QIMG_ENGINE_IO_URING;
    return text && strcmp(text, "threads") == 0 ? QIMG_ENGINE_THREADS : QIMG_ENGINE_AUTO;
}

int main(int argc, char **argv)
{
    struct qimg_context *context;
    struct qimg_image *source;
    struct qimg_error e;
    struct qimg_stats s;
    struct rusage usage;

    if (argc < 3)
        errx(2, "usage: bench_convert SOURCE TARGET [option=value ...]");
    const char *parallel = value_of(argc, argv, "parallel");
    const char *sparse = value_of(argc, argv, "sparse");
    const struct qimg_context_options how = { .engine = engine_of(value_of(argc, argv, "engine")) };
    const struct qimg_open_options open = {
        .cache = cache_of(value_of(argc, argv, "sources"), QIMG_CACHE_WRITEBACK),
        .share = QIMG_SHARE_SOURCE,
    };
    struct qimg_convert_options options = {
        .sources = &source,
        .source_count = 1,
        .target = argv[2],
        .target_cache = cache_of(value_of(argc, argv, "cache"), QIMG_CACHE_UNSAFE),
        .sparse_size = sparse ? strtoull(sparse, NULL, 0) : 4096,
        .parallel = parallel ? (unsigned)strtoul(parallel, NULL, 0) : 0,
    };

    const double start = now_ms();
    if (qimg_context_new(&how, &context, &e) < 0 ||
        qimg_image_open(context, argv[1], &open, &source, &e) < 0 ||
        qimg_convert(context, &options, &e) < 0)
        errx(1, "%s", e.text);
    const double ms = now_ms() - start;
    qimg_context_stats(context, &s);
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("{\"ms\": %.3f, \"peak_kib\": %ld, \"submits\": %" PRIu64 ", \"max_in_flight\": %" PRIu64
           ", \"reads\": %" PRIu64 ", \"writes\": %" PRIu64 ", \"bytes_read\": %" PRIu64
           ", \"bytes_written\": %" PRIu64 ", \"tables\": %" PRIu64 "}\n",
           ms, usage.ru_maxrss, s.submits, s.max_in_flight, s.reads, s.writes, s.bytes_read,
           s.bytes_written, s.tables_loaded);
    qimg_image_close(source);
    qimg_context_free(context);
    return 0;
}

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
#include <sys/resource.h>

#include "bench_common.h"

/* NULL: not given. */
static const char *value_of(int argc, char **argv, const char *key)
{
    const char *value = NULL;

    for (int i = 3; i < argc && !value; i++)
        value = bench_value(argv[i], key);
    return value;
}

static enum qimg_cache cache_of(const char *text, enum qimg_cache otherwise)
{
    return text ? bench_cache(text) : otherwise;
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
    const char *engine = value_of(argc, argv, "engine");
    const struct qimg_context_options how = {
        .engine = engine ? bench_engine(engine) : QIMG_ENGINE_AUTO,
    };
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

    const double start = bench_now_ms();
    if (qimg_context_new(&how, &context, &e) < 0 ||
        qimg_image_open(context, argv[1], &open, &source, &e) < 0 ||
        qimg_convert(context, &options, &e) < 0)
        errx(1, "%s", e.text);
    const double ms = bench_now_ms() - start;
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

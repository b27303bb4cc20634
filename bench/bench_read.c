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
#include <sys/resource.h>

#include "bench_common.h"

/* Resolves every window of the map, as reading a byte of each would. */
static double touch_all(struct qimg_image *image)
{
    struct qimg_error e;
    struct qimg_extent extents[256];
    const uint64_t size = qimg_image_size(image);
    const double start = bench_now_ms();

    for (uint64_t at = 0; at < size;) {
        int n =
            qimg_image_map(image, (struct qimg_range){ at, size - at }, false, extents, 256, &e);
        if (n <= 0)
            errx(1, "map: %s", n < 0 ? e.text : "stuck");
        at = extents[n - 1].guest_off + extents[n - 1].len;
    }
    return bench_now_ms() - start;
}

static int submit(struct qimg_queue *queue, uint64_t off, void *buf, size_t len)
{
    return qimg_queue_read(queue, off, buf, len, NULL);
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
    struct qimg_stats stats;

    bench_parse(&b, argc, argv);
    const double start = bench_now_ms();
    bench_open(&b, &context, &image);
    const double open_ms = bench_now_ms() - start;
    const double touch_ms = b.cold ? 0 : touch_all(image);
    const double read_ms = bench_run(&b, image, submit);
    qimg_context_stats(context, &stats);
    print(&b, open_ms, touch_ms, read_ms, &stats);
    qimg_image_close(image);
    qimg_context_free(context);
    return 0;
}

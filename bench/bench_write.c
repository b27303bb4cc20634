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

#include "bench_common.h"

static int submit(struct qimg_queue *queue, uint64_t off, void *buf, size_t len)
{
    return qimg_queue_write(queue, off, buf, len, NULL);
}

int main(int argc, char **argv)
{
    struct bench b = { .depth = 32, .size = 4096, .open = { .format = "qcow2", .writable = true } };
    struct qimg_context *context;
    struct qimg_image *image;
    struct qimg_error e;
    struct qimg_stats s;

    bench_parse(&b, argc, argv);
    if (b.step == 0)
        b.step = b.size;

    bench_open(&b, &context, &image);
    const double write_ms = bench_run(&b, image, submit);
    const double start = bench_now_ms();
    if (qimg_image_finish(image, &e) < 0)
        errx(1, "%s", e.text);
    const double finish_ms = bench_now_ms() - start;
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

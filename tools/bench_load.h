/* SPDX-License-Identifier: Apache-2.0
 *
 * The load that `bench` puts on an image: requests of one size at a fixed distance, many under way
 * at a time, flushes between them. Which requests are made, and after which of them is flushed,
 * is what qemu-img does.
 */
#ifndef TOOLS_BENCH_LOAD_H
#define TOOLS_BENCH_LOAD_H

#include "bench_histogram.h"
#include "tool.h"

struct bench_load {
    bool write;
    uint8_t pattern;         /* of what is written */
    uint32_t count;          /* requests */
    uint32_t depth;          /* of them under way at a time */
    uint32_t len, step;      /* bytes: of one request, and from one to the next; both > 0 */
    uint64_t off;            /* of the first */
    uint32_t flush_interval; /* requests from one flush to the next; 0 = none, else >= depth */
    bool no_drain;           /* flush beside requests that are under way */
    bool latencies;          /* look at the clock for each request */
};

struct bench_result {
    double seconds;                 /* without what comes before the first request */
    struct bench_histogram latency; /* ns, of each request; empty if not asked for */
};

/* Runs it on @image (writable where the load writes). @result is zeroed by the caller. Returns
 * EXIT_DONE, or EXIT_FAILED after saying why. */
int bench_load_run(const struct tool *tool, struct qimg_image *image, const struct bench_load *load,
                   struct bench_result *result);

#endif

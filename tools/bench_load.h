/* SPDX-License-Identifier: Apache-2.0
 *
 * The load that `bench` puts on an image: many requests under way at a time, flushes between them.
 * Where the requests go is bench_requests.h's; when they are started, and after which of them is
 * flushed, is what qemu-img does.
 */
#ifndef TOOLS_BENCH_LOAD_H
#define TOOLS_BENCH_LOAD_H

#include "bench_histogram.h"
#include "bench_requests.h"
#include "tool.h"

struct bench_load {
    struct bench_workload work;
    uint8_t pattern;         /* of what is written */
    uint64_t count;          /* requests ... */
    uint64_t runtime_ns;     /* ... or for how long they are started; 0 = count tells */
    uint32_t depth;          /* of them under way at a time */
    uint32_t flush_interval; /* requests from one flush to the next; 0 = none, else >= depth */
    bool no_drain;           /* flush beside requests that are under way */
    bool latencies;          /* look at the clock for each request; with runtime_ns */
};

enum bench_operation { BENCH_READ, BENCH_WRITE, BENCH_OPERATIONS };

struct bench_result {
    uint64_t ns;        /* from before the first request to the end of the last */
    const char *engine; /* that did the work */
    struct bench_histogram latency[BENCH_OPERATIONS]; /* ns, of each request; empty if not asked */
};

/* Runs it on @image (writable where the load writes). @result is zeroed by the caller. Returns
 * EXIT_DONE, or EXIT_FAILED after saying why; where a signal stopped it (job_stopped()), nothing
 * was said. */
int bench_load_run(const struct tool *tool, struct qimg_image *image, const struct bench_load *load,
                   struct bench_result *result);

#endif

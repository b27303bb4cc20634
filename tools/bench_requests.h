/* SPDX-License-Identifier: Apache-2.0
 *
 * Which requests a benchmark makes: a list without end that nothing chooses but what stands in
 * struct bench_workload and the size of the disk. All of it is reckoned with whole numbers, so that
 * it is the same list on every machine, whatever answers the requests and in which order.
 */
#ifndef TOOLS_BENCH_REQUESTS_H
#define TOOLS_BENCH_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

enum bench_access {
    BENCH_SEQ,    /* each behind the one before */
    BENCH_STRIDE, /* each step bytes behind the start of the one before */
    BENCH_RANDOM, /* all places alike */
    BENCH_ZIPF,   /* the place of rank k with a probability that goes with 1/k */
};

/* Places are the multiples of len that a whole request fits at; ranks lie scattered among them. */
struct bench_workload {
    enum bench_access access;
    unsigned write_percent; /* share of writes: 0 = reads alone, 100 = writes alone */
    uint64_t seed;          /* of what is random: the places, and which of a mix are writes */
    uint32_t len, step;     /* bytes: of one request, and from one to the next; both > 0 */
    uint64_t off;           /* of the first; SEQ and STRIDE */
};

struct bench_request {
    uint64_t off;
    bool write;
};

struct bench_requests {
    struct bench_workload load;
    uint64_t size;    /* of the disk */
    uint64_t index;   /* of the next request */
    uint64_t off;     /* of the next request; SEQ and STRIDE */
    uint64_t places;  /* 0: no request fits on the disk */
    uint64_t scatter; /* from one rank to the next, in places; has no divisor in common with them */
};

void bench_requests_init(struct bench_requests *requests, const struct bench_workload *load,
                         uint64_t size);

/* A request may pass the end of the disk: where not one fits, or the first is asked to. */
struct bench_request bench_requests_next(struct bench_requests *requests);

/* Of the first @count requests: two lists with one hash are one list. */
uint64_t bench_requests_hash(const struct bench_workload *load, uint64_t size, uint64_t count);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * How often each latency occurred. Buckets are log-linear: values below 32 have one each, and every
 * power of two above is cut into 32 of equal width, so that a value is known to within 1/32 of
 * itself, in a fixed 15 KiB and without a choice of range.
 */
#ifndef TOOLS_BENCH_HISTOGRAM_H
#define TOOLS_BENCH_HISTOGRAM_H

#include <stdint.h>

#define BENCH_HISTOGRAM_PARTS   32 /* of a power of two */
#define BENCH_HISTOGRAM_BUCKETS ((64 - 4) * BENCH_HISTOGRAM_PARTS)

struct bench_histogram {
    uint64_t count, max;
    uint64_t buckets[BENCH_HISTOGRAM_BUCKETS];
};

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value);

/* As if all values of @from were added. */
void bench_histogram_merge(struct bench_histogram *histogram, const struct bench_histogram *from);

/* The value that @per_mille of 1000 values do not exceed, rounded up to the end of its bucket, but
 * never above the greatest value. 0 of an empty histogram. */
uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, unsigned per_mille);

#endif

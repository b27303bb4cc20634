/* SPDX-License-Identifier: Apache-2.0
 *
 * The buckets. Bucket b >= 32 has the values (32 + b % 32) << s to that plus (1 << s) - 1, where s
 * is b / 32 - 1.
 */
#include "bench_histogram.h"

#include <assert.h>

#define PARTS     BENCH_HISTOGRAM_PARTS
#define PART_BITS 5
static_assert(1 << PART_BITS == PARTS, "a power of two");

static unsigned bucket_of(uint64_t value)
{
    if (value < PARTS)
        return (unsigned)value;
    const unsigned shift = 63 - (unsigned)__builtin_clzll(value) - PART_BITS;
    return (shift + 1) * PARTS + (unsigned)(value >> shift) - PARTS;
}

static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < PARTS)
        return bucket;
    const unsigned shift = bucket / PARTS - 1;
    return (((uint64_t)PARTS + bucket % PARTS) << shift) + (((uint64_t)1 << shift) - 1);
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

void bench_histogram_merge(struct bench_histogram *histogram, const struct bench_histogram *from)
{
    for (unsigned b = 0; b < BENCH_HISTOGRAM_BUCKETS; b++)
        histogram->buckets[b] += from->buckets[b];
    histogram->count += from->count;
    if (from->max > histogram->max)
        histogram->max = from->max;
}

uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, unsigned per_mille)
{
    /* Fewer than 2^31 values are added, so that this does not wrap. */
    const uint64_t wanted = (histogram->count * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned b = 0; b < BENCH_HISTOGRAM_BUCKETS; b++) {
        seen += histogram->buckets[b];
        if (seen >= wanted && seen > 0)
            return bucket_end(b) < histogram->max ? bucket_end(b) : histogram->max;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What several measurements of one thing come to.
 */
#ifndef TOOLS_BENCH_STATS_H
#define TOOLS_BENCH_STATS_H

#include <stdint.h>

struct bench_spread {
    uint64_t median; /* of an even number the mean of the two in the middle */
    uint64_t least, most;
};

/* @count >= 1; @values are sorted. */
struct bench_spread bench_spread_of(uint64_t *values, unsigned count);

/* Half the distance between least and most, in percent of the median: "+- so much". */
double bench_spread_percent(const struct bench_spread *spread);

#endif

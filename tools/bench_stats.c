/* SPDX-License-Identifier: Apache-2.0
 *
 * See bench_stats.h.
 */
#include "bench_stats.h"

#include <assert.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

struct bench_spread bench_spread_of(uint64_t *values, unsigned count)
{
    assert(count > 0);
    qsort(values, count, sizeof(*values), compare);
    const uint64_t low = values[(count - 1) / 2], high = values[count / 2];
    return (struct bench_spread){ .median = low + (high - low) / 2,
                                  .least = values[0],
                                  .most = values[count - 1] };
}

double bench_spread_percent(const struct bench_spread *spread)
{
    if (spread->median == 0)
        return 0;
    return 50 * (double)(spread->most - spread->least) / (double)spread->median;
}

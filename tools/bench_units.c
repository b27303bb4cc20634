/* SPDX-License-Identifier: Apache-2.0
 *
 * See bench_units.h.
 */
#include "bench_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *bench_units_count(uint64_t number, char buf[BENCH_UNITS_ROOM])
{
    char digits[24];
    const int len = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    char *to = buf;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return buf;
}

static const char *time_unit(uint64_t ns, double *value)
{
    static const char *const units[] = { "ns", "us", "ms", "s" };
    unsigned unit = 0;
    for (*value = (double)ns; *value >= 999.5 && unit < 3; unit++)
        *value /= 1000;
    return units[unit];
}

const char *bench_units_time(uint64_t ns, char buf[BENCH_UNITS_ROOM])
{
    double value;
    const char *unit = time_unit(ns, &value);
    int decimals = 0;
    if (ns >= 1000)
        decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(buf, BENCH_UNITS_ROOM, "%.*f %s", decimals, value, unit);
    return buf;
}

const char *bench_units_round_time(uint64_t ns, char buf[BENCH_UNITS_ROOM])
{
    double value;
    const char *unit = time_unit(ns, &value);
    snprintf(buf, BENCH_UNITS_ROOM, "%g %s", value, unit);
    return buf;
}

const char *bench_units_rate(uint64_t bytes_per_second, char buf[BENCH_UNITS_ROOM])
{
    const uint64_t tenths = (bytes_per_second + 50000) / 100000;
    bench_units_count(tenths / 10, buf);
    const size_t len = strlen(buf);
    snprintf(buf + len, BENCH_UNITS_ROOM - len, ".%" PRIu64, tenths % 10);
    return buf;
}

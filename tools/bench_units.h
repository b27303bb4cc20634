/* SPDX-License-Identifier: Apache-2.0
 *
 * Measured numbers as people read them.
 */
#ifndef TOOLS_BENCH_UNITS_H
#define TOOLS_BENCH_UNITS_H

#include <stdint.h>

#define BENCH_UNITS_ROOM 40

/* "812,345" */
const char *bench_units_count(uint64_t number, char buf[BENCH_UNITS_ROOM]);

/* Three digits with their unit: "812 ns", "71.2 us", "3.41 ms", "12.0 s". */
const char *bench_units_time(uint64_t ns, char buf[BENCH_UNITS_ROOM]);

/* A round value, with as many digits as it has: "20 us". */
const char *bench_units_round_time(uint64_t ns, char buf[BENCH_UNITS_ROOM]);

/* Millions of bytes a second: "3,327.4". */
const char *bench_units_rate(uint64_t bytes_per_second, char buf[BENCH_UNITS_ROOM]);

#endif

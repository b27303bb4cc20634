/* SPDX-License-Identifier: Apache-2.0
 *
 * What this process uses up meanwhile: processor time, memory, system calls.
 *
 * System calls are counted by the kernel's tracepoint raw_syscalls:sys_enter, in all threads that
 * are started after the meter. Where that is not allowed, they are not counted, and
 * meter.no_calls says why.
 */
#ifndef TOOLS_BENCH_METER_H
#define TOOLS_BENCH_METER_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_NOT_MEASURED UINT64_MAX

struct bench_meter {
    int calls;         /* descriptor of the counter; -1 = none */
    char no_calls[96]; /* why; "" where they are counted */
    bool memory_reset; /* the peak is that since bench_meter_start() */
};

struct bench_used {
    uint64_t cpu_ns;      /* of all threads */
    uint64_t calls;       /* BENCH_NOT_MEASURED where they are not counted */
    uint64_t peak_memory; /* bytes; since bench_meter_start(), else BENCH_NOT_MEASURED */
};

/* Before the threads are started that are to be measured, and before the sandbox, in which the
 * kernel is not asked for counters any more. */
void bench_meter_open(struct bench_meter *meter);
void bench_meter_close(struct bench_meter *meter);

/* Gives back memory that is not used: the peak is looked for from here on. */
void bench_meter_start(struct bench_meter *meter);

/* Totals so far: two of them are subtracted, but for the peak. */
void bench_meter_read(const struct bench_meter *meter, struct bench_used *out);

#endif

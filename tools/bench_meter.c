/* SPDX-License-Identifier: Apache-2.0
 *
 * See bench_meter.h. Peak memory is VmHWM, which begins anew when 5 is written to clear_refs.
 */
#include "bench_meter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The last is the current place: errors are reported about that one. */
static const char *const id_files[] = {
    "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id",
    "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
};

/* The number of the tracepoint; 0 where it cannot be read, errno says why. */
static uint64_t tracepoint_id(void)
{
    uint64_t id = 0;
    for (size_t i = 0; id == 0 && i < sizeof(id_files) / sizeof(id_files[0]); i++) {
        FILE *file = fopen(id_files[i], "re");
        if (!file)
            continue;
        if (fscanf(file, "%" SCNu64, &id) != 1)
            id = 0;
        (void)fclose(file);
    }
    return id;
}

static void count_calls(struct bench_meter *meter)
{
    struct perf_event_attr counter = {
        .type = PERF_TYPE_TRACEPOINT,
        .size = sizeof(counter),
        .config = tracepoint_id(),
        .inherit = 1, /* by threads to come */
    };
    meter->calls = -1;
    if (counter.config == 0) {
        snprintf(meter->no_calls, sizeof(meter->no_calls),
                 "the kernel's list of tracepoints cannot be read: %s", strerror(errno));
        return;
    }
    meter->calls = (int)syscall(SYS_perf_event_open, &counter, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (meter->calls < 0)
        snprintf(meter->no_calls, sizeof(meter->no_calls), "perf_event_open: %s", strerror(errno));
}

void bench_meter_open(struct bench_meter *meter)
{
    *meter = (struct bench_meter){ 0 };
    count_calls(meter);
}

void bench_meter_start(struct bench_meter *meter)
{
    malloc_trim(0);
    const int refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (refs >= 0) {
        meter->memory_reset = write(refs, "5", 1) == 1;
        close(refs);
    }
}

void bench_meter_close(struct bench_meter *meter)
{
    if (meter->calls >= 0)
        close(meter->calls);
    meter->calls = -1;
}

static uint64_t peak_memory(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    uint64_t kib = 0;
    char line[256];
    while (status && kib == 0 && fgets(line, sizeof(line), status))
        if (sscanf(line, "VmHWM: %" SCNu64, &kib) != 1)
            kib = 0;
    if (status)
        (void)fclose(status);
    return kib ? kib * 1024 : BENCH_NOT_MEASURED;
}

static uint64_t ns_of(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_usec * 1000;
}

void bench_meter_read(const struct bench_meter *meter, struct bench_used *out)
{
    struct rusage usage;
    *out = (struct bench_used){ .calls = BENCH_NOT_MEASURED, .peak_memory = BENCH_NOT_MEASURED };
    if (meter->calls >= 0 && read(meter->calls, &out->calls, sizeof(out->calls)) < 0)
        out->calls = BENCH_NOT_MEASURED;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        out->cpu_ns = ns_of(usage.ru_utime) + ns_of(usage.ru_stime);
    if (meter->memory_reset)
        out->peak_memory = peak_memory();
}

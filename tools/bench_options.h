/* SPDX-License-Identifier: Apache-2.0
 *
 * What `bench` was asked for. Two benchmarks share it: qemu-img's, one run told of in its lines,
 * and the one that makes a report, of several rounds and over chains of several depths if wanted.
 */
#ifndef TOOLS_BENCH_OPTIONS_H
#define TOOLS_BENCH_OPTIONS_H

#include <limits.h>

#include "bench_load.h"

#define BENCH_DEPTHS_MAX 64

enum bench_output { BENCH_LINES, BENCH_TABLE, BENCH_JSON, BENCH_CSV };

struct bench_depths {
    unsigned list[BENCH_DEPTHS_MAX]; /* ascending */
    unsigned count;                  /* 0: FILE is measured */
};

struct bench_options {
    const char *name; /* FILE; NULL where chains are made */
    const char *format;
    bool image_opts, force_share, native, quiet;
    enum qimg_cache cache;
    bool write; /* -w: load.work.write_percent tells more */
    struct bench_load load;

    /* Beyond qemu-img. */
    enum bench_output output; /* BENCH_LINES: no report is wanted */
    struct bench_depths depths;
    uint64_t chain_size; /* bytes of the disks */
    const char *scratch; /* directory that the chains are made below */
    uint64_t warm_up_ns;
    unsigned rounds;
    bool cold;
    const char *plot, *against; /* files; NULL = none */
    double regression;          /* percent; negative = no limit */
};

/* Parses, refuses what contradicts itself, and fills in what was left to us. Returns EXIT_DONE, or
 * -1 where all is said and done: then tool->exit_code is set. */
int bench_options_parse(struct tool *tool, int argc, char **argv, struct bench_options *out);

/* Values that no option can give: nothing was said. */
#define BENCH_NO_ACCESS ((enum bench_access)UINT_MAX)
#define BENCH_NO_MIX    UINT_MAX

/* The second half of parsing: refuses what contradicts itself (EXIT_FAILED), fills in the rest. */
int bench_options_settle(const struct tool *tool, struct bench_options *options, int count,
                         char *const *operands);

/* Does the load change what is in the image? */
static inline bool bench_options_write(const struct bench_options *options)
{
    return options->load.work.write_percent > 0;
}

extern const char *const bench_access_names[]; /* by enum bench_access, then NULL */

/* "writeback", ... */
const char *bench_cache_name(enum qimg_cache cache);

#endif

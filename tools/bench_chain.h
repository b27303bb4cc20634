/* SPDX-License-Identifier: Apache-2.0
 *
 * Chains that `bench` makes for itself, in a directory of their own. The disks of all of them read
 * the same, at every depth: cluster i lies in image i modulo depth, and what it holds is made from
 * its offset.
 */
#ifndef TOOLS_BENCH_CHAIN_H
#define TOOLS_BENCH_CHAIN_H

#include <stdint.h>

#include "tool.h"

#define BENCH_CHAIN_CLUSTER ((uint64_t)64 << 10)

struct bench_chain {
    unsigned depth;
    uint64_t size;  /* of the disk; a multiple of a cluster */
    bool top_alone; /* the images below are there already, and stay as they are */
};

/* Makes a new directory below @where (NULL: TMPDIR, else /var/tmp). *@out is malloc'ed and to be
 * given to bench_scratch_remove(). EXIT_DONE or EXIT_FAILED. */
int bench_scratch_make(const struct tool *tool, const char *where, char **out);

/* Removes it with all that is in it. NULL is fine. */
void bench_scratch_remove(const struct tool *tool, char *scratch);

/* Builds the images and makes them durable. EXIT_DONE or EXIT_FAILED; where a signal stopped it
 * (job_stopped()), nothing was said. */
int bench_chain_build(struct tool *tool, const char *scratch, const struct bench_chain *chain);

/* The name of the top image; malloc'ed, NULL without memory. */
char *bench_chain_top(const char *scratch, unsigned depth);

#endif

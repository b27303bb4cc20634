/* SPDX-License-Identifier: Apache-2.0
 *
 * Exit codes, which are qemu-img's.
 */
#ifndef TOOLS_EXIT_H
#define TOOLS_EXIT_H

enum tool_exit {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,             /* any failure; wrong usage too */
    EXIT_CHECK_CORRUPT = 2,      /* check: data may be wrong, or endangered */
    EXIT_CHECK_LEAKS = 3,        /* check: nothing but lost space */
    EXIT_CHECK_UNSUPPORTED = 63, /* check: the format has none */
    EXIT_COMPARE_DIFFER = 1,     /* compare: the images differ */
    EXIT_COMPARE_OPEN = 2,       /* compare: an image cannot be opened */
    EXIT_COMPARE_MAPPING = 3,    /* compare: no telling what is allocated */
    EXIT_COMPARE_READING = 4,    /* compare: data cannot be read */
    EXIT_CHAIN_BROKEN = 2,       /* chain: broken, ambiguous or dangerous; audit rejects */
    EXIT_CHAIN_WARNINGS = 3,     /* chain: usable, with warnings */
    EXIT_CHAIN_UNVISITED = 4,    /* chain: nothing wrong seen, but not all was seen */
    EXIT_CHAIN_PROPOSED = 5,     /* chain fix, mv: changes are proposed, none was made */
    EXIT_BENCH_REGRESSION = 2,   /* bench --against: worse by more than --regression */
};

#endif

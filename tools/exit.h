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
};

#endif

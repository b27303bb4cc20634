/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes the n-th allocation, or the n-th system call on files, fail: the linker sends the library's
 * calls through here (--wrap; crash.cmake has the list). Nothing fails unless it was armed.
 */
#ifndef CRASH_FAIL_POINT_H
#define CRASH_FAIL_POINT_H

#include <stdbool.h>
#include <stdint.h>

enum fail_kind {
    FAIL_MEMORY, /* an allocation */
    FAIL_EIO,    /* a system call on files */
    FAIL_ENOSPC, /* one that may take space */
    FAIL_EINTR,  /* one that a signal may interrupt */
    FAIL_SHORT,  /* a transfer does half */
};

/* Point @at (from 1; 0 = none), and with @forever all behind it. */
void fail_arm(enum fail_kind kind, uint64_t at, bool forever);

/* Returns how many points there were. */
uint64_t fail_disarm(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * How thorough a test is: QIMG_LONG asks for all of it, and QIMG_EMULATOR says that the kernel is
 * qemu-user's, which has no io_uring, no seccomp and no preadv2.
 */
#ifndef SUPPORT_TIER_H
#define SUPPORT_TIER_H

#include <stdbool.h>
#include <stdlib.h>

/* A step that visits each @n-th place where there is little time, and each where there is. */
static inline unsigned tier_step(unsigned n)
{
    return getenv("QIMG_LONG") ? 1 : n;
}

/* A step for what the release build goes through whole: a sanitizer, ten times as slow, sees the
 * same code by each @n-th. */
static inline unsigned tier_sample(unsigned n)
{
#ifdef __SANITIZE_ADDRESS__
    return tier_step(n);
#else
    (void)n;
    return 1;
#endif
}

static inline bool emulated(void)
{
    return getenv("QIMG_EMULATOR") != NULL;
}

#endif

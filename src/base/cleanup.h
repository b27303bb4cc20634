/* SPDX-License-Identifier: Apache-2.0
 *
 * Scope-bound ownership. A variable marked AUTO_x releases what it holds when it leaves its
 * scope; TAKE() hands the thing over and leaves NULL behind.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define AUTO(releaser) __attribute__((cleanup(releaser)))

static inline void cleanup_free(void *slot)
{
    free(*(void **)slot);
}

static inline void cleanup_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define AUTO_FREE AUTO(cleanup_free)
#define AUTO_FD   AUTO(cleanup_fd)

#define TAKE(slot) \
    ({ \
        __typeof__(slot) taken_ = slot; \
        slot = NULL; \
        taken_; \
    })

#define TAKE_FD(slot) \
    ({ \
        int taken_ = slot; \
        slot = -1; \
        taken_; \
    })

/* Makes cleanup_TYPE(TYPE **) out of a function that takes TYPE * (and NULL). */
#define DEFINE_CLEANUP(type, releaser) \
    static inline void cleanup_##type(struct type *const *slot) \
    { \
        releaser(*slot); \
    }

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic on numbers from strangers. Nothing that comes from a file is added, multiplied or
 * shifted bare; each helper says whether the result fits and cannot wrap itself.
 */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#include "fail.h"
#include "qimg/types.h"

MUST_CHECK static inline bool add_fits(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

MUST_CHECK static inline bool mul_fits(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/* Does @r lie wholly inside [0, limit)? */
MUST_CHECK static inline bool range_within(struct qimg_range r, uint64_t limit)
{
    return r.off <= limit && r.len <= limit - r.off;
}

/* The part of @r inside [0, limit); length 0 where there is none. */
static inline struct qimg_range range_clip(struct qimg_range r, uint64_t limit)
{
    if (r.off >= limit)
        return (struct qimg_range){ .off = r.off, .len = 0 };
    if (r.len > limit - r.off)
        r.len = limit - r.off;
    return r;
}

/* Do @a and @b have a byte in common? Neither may end past 2^64. */
static inline bool ranges_meet(struct qimg_range a, struct qimg_range b)
{
    return a.len && b.len && a.off < b.off + b.len && b.off < a.off + a.len;
}

/* The end of a range that is known to be within some limit. */
static inline uint64_t range_end(struct qimg_range r)
{
    return r.off + r.len;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Powers of two, alignment (@unit is always a power of two), the order of numbers.
 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)
#define TiB (UINT64_C(1) << 40)

/* 2^64 by the golden ratio: a product with it has well mixed high bits, which hash tables take. */
#define HASH_FACTOR UINT64_C(0x9e3779b97f4a7c15)

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

static inline bool is_pow2(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static inline bool is_aligned(uint64_t n, uint64_t unit)
{
    return (n & (unit - 1)) == 0;
}

static inline uint64_t align_down(uint64_t n, uint64_t unit)
{
    return n & ~(unit - 1);
}

/* The caller knows that n + unit - 1 does not wrap. */
static inline uint64_t align_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

static inline uint64_t div_up(uint64_t n, uint64_t d)
{
    return n / d + (n % d != 0);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* For qsort() and its like: below, at or above 0 as @a is to @b. */
static inline int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static inline unsigned log2_u64(uint64_t pow2)
{
    return (unsigned)__builtin_ctzll(pow2);
}

#endif

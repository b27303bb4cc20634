/* SPDX-License-Identifier: Apache-2.0
 *
 * What a fuzzer is made of, and the three words that it shares with its driver: libFuzzer (with
 * libfuzzer.c) or, in every other build, driver.c.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* One execution. A finding is a crash, a sanitizer's report, or a require() that does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Built-in seed number @index as malloc'ed bytes; NULL behind the last. */
uint8_t *fuzz_seed(unsigned index, size_t *len);

/* Changes @data in place, in a way that follows from @seed, as somebody who knows the format
 * would; returns its new length, at most @max, or 0 where it knows no way. May be left out. */
size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed);

static inline void require(bool holds)
{
    if (!holds)
        abort();
}

/* --- chance: all of it follows from the state --- */

static inline uint64_t fuzz_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t fuzz_below(uint64_t *state, uint64_t limit)
{
    return fuzz_random(state) % limit;
}

#endif

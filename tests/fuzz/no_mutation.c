/* SPDX-License-Identifier: Apache-2.0
 *
 * For a fuzzer that says nothing of it: no way is known to change its inputs but a driver's own.
 */
#include "fuzz.h"

__attribute__((weak)) size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    (void)data;
    (void)len;
    (void)max;
    (void)seed;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "text_input.h"

#include <string.h>

static size_t put(uint8_t *data, size_t len, size_t max, size_t at, const void *piece, size_t n)
{
    if (n > max - len)
        return len;
    memmove(data + at + n, data + at, len - at);
    memcpy(data + at, piece, n);
    return len + n;
}

size_t text_mutate(const char *const *words, uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    uint8_t piece[64];
    size_t count = 0;

    while (words[count])
        count++;
    for (uint64_t changes = 1 + fuzz_below(&seed, 3); changes > 0; changes--) {
        const size_t at = fuzz_below(&seed, len + 1);
        const size_t n = fuzz_below(&seed, sizeof(piece) < len - at ? sizeof(piece) : len - at + 1);
        const char *word = words[fuzz_below(&seed, count)];
        switch (fuzz_below(&seed, 4)) {
        case 0: /* out */
            memmove(data + at, data + at + n, len - at - n);
            len -= n;
            break;
        case 1: /* twice */
            memcpy(piece, data + at, n);
            len = put(data, len, max, at, piece, n);
            break;
        default:
            len = put(data, len, max, at, word, strlen(word));
        }
    }
    return len;
}

uint8_t *text_seed(uint8_t first, const char *text, size_t *len)
{
    uint8_t *seed = malloc(1 + strlen(text));

    require(seed != NULL);
    seed[0] = first;
    memcpy(seed + 1, text, strlen(text));
    *len = 1 + strlen(text);
    return seed;
}

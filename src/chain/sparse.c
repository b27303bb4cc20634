/* SPDX-License-Identifier: Apache-2.0
 *
 * Zero detection. A buffer is seen as blocks, cut at multiples of the rule's alignment in the
 * target (the first and the last one may be short); a block is zero or it is data.
 */
#include "sparse.h"

#include <assert.h>
#include <string.h>

#include "bits.h"

#define SECTOR 512u

struct sparse_rule sparse_rule_for(uint64_t size, uint32_t request_align)
{
    uint64_t align = SECTOR;

    while (align * 2 <= size)
        align *= 2;
    return (struct sparse_rule){
        .min_len = size,
        .align = max_u64(align, request_align),
    };
}

/* A buffer is zero when its head is and it equals itself one head further on: libc's memcmp is
 * the fastest loop over memory that every machine has. */
bool sparse_is_zero(const uint8_t *buf, size_t len)
{
    static const uint8_t zeros[16];
    const size_t head = min_u64(len, sizeof(zeros));

    return memcmp(buf, zeros, head) == 0 && memcmp(buf, buf + head, len - head) == 0;
}

/* The length of the block that begins at @off. */
static size_t block_len(struct sparse_rule rule, uint64_t off, size_t left)
{
    return (size_t)min_u64(rule.align - (off & (rule.align - 1)), left);
}

/* The length of the run of blocks at the start of @buf that are all zero (@zero), or all not. */
static size_t run_len(struct sparse_rule rule, uint64_t off, const uint8_t *buf, size_t len,
                      bool zero)
{
    size_t at = 0;

    while (at < len) {
        const size_t block = block_len(rule, off + at, len - at);
        if (sparse_is_zero(buf + at, block) != zero)
            break;
        at += block;
    }
    return at;
}

size_t sparse_next(struct sparse_rule rule, uint64_t off, const uint8_t *buf, size_t len,
                   bool *data)
{
    assert(len > 0);
    *data = true;
    if (rule.min_len == 0)
        return len;

    size_t end = run_len(rule, off, buf, len, true);
    if (end > 0) {
        *data = false;
        return end;
    }

    const size_t min_len = (size_t)min_u64(rule.min_len, len);
    for (;;) {
        end += run_len(rule, off + end, buf + end, len - end, false);
        const size_t zeros = run_len(rule, off + end, buf + end, len - end, true);
        if (zeros >= min_len || end + zeros == len)
            return end;
        end += zeros;
    }
}

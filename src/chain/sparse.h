/* SPDX-License-Identifier: Apache-2.0
 *
 * Which parts of a buffer need not be written because they are zeros. The rule is qemu-img's -S:
 * a zero run inside data counts only from @min_len bytes on, and data ends at multiples of
 * @align so that the target need not read and rewrite a block.
 */
#ifndef CHAIN_SPARSE_H
#define CHAIN_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sparse_rule {
    uint64_t min_len; /* bytes, a multiple of 512; 0 = everything is data */
    uint64_t align;   /* a power of two, at least 512 */
};

/* The rule of `-S size` for a target whose requests must be aligned to @request_align. */
struct sparse_rule sparse_rule_for(uint64_t size, uint32_t request_align);

bool sparse_is_zero(const uint8_t *buf, size_t len);

/* How many bytes of @buf (which belongs at byte @off of the target) from its start are all to be
 * written, or all to be skipped: see *data. @len > 0. */
size_t sparse_next(struct sparse_rule rule, uint64_t off, const uint8_t *buf, size_t len,
                   bool *data);

#endif

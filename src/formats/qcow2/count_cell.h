/* SPDX-License-Identifier: Apache-2.0
 *
 * One count of a refcount block, of any width (layout in disk.h). Inline: verbs that change the
 * counts of whole images do little else.
 */
#ifndef QCOW2_COUNT_CELL_H
#define QCOW2_COUNT_CELL_H

#include "bytes.h"

static inline uint64_t qcow2_refcount_get(const uint8_t *block, unsigned refcount_order,
                                          uint64_t index)
{
    switch (refcount_order) {
    case 6:
        return load_be64(block + 8 * index);
    case 5:
        return load_be32(block + 4 * index);
    case 4:
        return load_be16(block + 2 * index);
    case 3:
        return block[index];
    default: { /* several in a byte, the first in the lowest bits */
        const unsigned width = 1u << refcount_order;
        const uint64_t bit = index * width;
        return block[bit / 8] >> (bit % 8) & ((1u << width) - 1);
    }
    }
}

/* @value fits. */
static inline void qcow2_refcount_put(uint8_t *block, unsigned refcount_order, uint64_t index,
                                      uint64_t value)
{
    switch (refcount_order) {
    case 6:
        store_be64(block + 8 * index, value);
        return;
    case 5:
        store_be32(block + 4 * index, (uint32_t)value);
        return;
    case 4:
        store_be16(block + 2 * index, (uint16_t)value);
        return;
    case 3:
        block[index] = (uint8_t)value;
        return;
    default: {
        const unsigned width = 1u << refcount_order, shift = (unsigned)(index * width % 8);
        const unsigned mask = ((1u << width) - 1) << shift;
        uint8_t *byte = block + index * width / 8;
        *byte = (uint8_t)((*byte & ~mask) | (unsigned)value << shift);
    }
    }
}

#endif

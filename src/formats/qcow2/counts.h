/* SPDX-License-Identifier: Apache-2.0
 *
 * A count for each cluster of a file, in as few bits as the greatest of them needs: cells of 2
 * bits, all widened at once to 8, 16, 32 or 64 when a count does not fit. An image without
 * snapshots never leaves 2 bits: 4 MiB for a file of 1 TiB with 64 KiB clusters.
 */
#ifndef QCOW2_COUNTS_H
#define QCOW2_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "fail.h"

struct counts {
    uint8_t *cells;  /* owned */
    uint64_t length; /* counts */
    uint64_t room;   /* counts that cells has space for */
    unsigned bits;   /* of a cell: 2, 8, 16, 32, 64 */
};

/* @length counts, all 0. */
MUST_CHECK int counts_init(struct counts *c, uint64_t length);
void counts_release(struct counts *c);

/* @to, empty so far, becomes the same; what is 0 throughout takes no memory. */
MUST_CHECK int counts_copy(const struct counts *from, struct counts *to);

/* Appends zeros. */
MUST_CHECK int counts_grow(struct counts *c, uint64_t length);

/* 0 past the end. */
uint64_t counts_get(const struct counts *c, uint64_t index);

/* @index < length. Fails only with -ENOMEM. */
MUST_CHECK int counts_set(struct counts *c, uint64_t index, uint64_t value);

/* Adds 1 to each of @n counts from @first on; none may be UINT64_MAX. */
MUST_CHECK int counts_add_run(struct counts *c, uint64_t first, uint64_t n);

/* The first of the @n counts from @first on that is not @value, or first + n. Past the end counts
 * are 0. */
uint64_t counts_skip(const struct counts *c, uint64_t first, uint64_t n, uint64_t value);

/* The first index from @first on where @a and @b differ, or @end. Past their ends, 0. */
uint64_t counts_first_difference(const struct counts *a, const struct counts *b, uint64_t first,
                                 uint64_t end);

/* The last index that is not 0 in [0, end), or 0. */
uint64_t counts_last_used(const struct counts *c, uint64_t end);

uint64_t counts_bytes(const struct counts *c);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of one run of the merged map, read at once in the calling thread: what a worker does
 * that has the chunk to itself.
 */
#ifndef CHAIN_RUN_READ_H
#define CHAIN_RUN_READ_H

#include "map.h"

/* Fills @buf with the @run->len bytes of @run. Safe from several threads. Returns 0, -EIO (the
 * run is BAD, or does not unpack), -ENOMEM, or what reading said. */
MUST_CHECK int run_read(const struct qimg_image *image, const struct run *run, uint8_t *buf);

/* The part of @run from its byte @skip on, @len bytes long. */
struct run run_part(const struct run *run, uint64_t skip, uint64_t len);

/* Does it read as zeros without looking? */
static inline bool run_is_zero(const struct run *run)
{
    return run->kind == RUN_ZERO || run->kind == RUN_UNALLOCATED;
}

#endif

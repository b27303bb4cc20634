/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges of a file that may overlap, cut into pieces that do not, each with the number of ranges
 * that cover it: so that what many tables share is looked at once.
 */
#ifndef QCOW2_PIECES_H
#define QCOW2_PIECES_H

#include <stdbool.h>

#include "qimg/types.h"
#include "vec.h"

struct piece {
    struct qimg_range bytes;
    uint64_t covers; /* > 0 */
};

DEFINE_VEC(piece_vec, struct piece)
DEFINE_VEC(range_vec, struct qimg_range)

/* Adds @run, which becomes one with the last range where it follows it. */
MUST_CHECK int range_vec_join(struct range_vec *v, struct qimg_range run);

/* Fills @out, empty so far, in order of the file. Every range ends below 2^64. */
MUST_CHECK int pieces_cut(const struct range_vec *ranges, struct piece_vec *out);

/* Has any piece bytes of @range? */
bool pieces_meet(const struct piece_vec *pieces, struct qimg_range range);

#endif

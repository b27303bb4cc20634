/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a run of the merged map cannot be read.
 */
#ifndef CHAIN_EXPLAIN_H
#define CHAIN_EXPLAIN_H

#include "chain.h"
#include "map.h"

/* @run is BAD, or COMPRESSED and did not unpack. Fills @err with the image's name and what is
 * wrong in it; of the first wrong table entry of each image a note tells, as QEMU does. Returns
 * -EIO. */
int explain_run(struct qimg_image *image, const struct run *run, struct qimg_error *err);

#endif

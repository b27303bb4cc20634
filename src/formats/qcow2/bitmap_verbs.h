/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of persistent bitmaps that somebody asked for.
 */
#ifndef QCOW2_BITMAP_VERBS_H
#define QCOW2_BITMAP_VERBS_H

#include "bitmap_request.h"
#include "qcow2.h"

/* Can a bitmap of a disk of @size bytes be as fine as this? -EFBIG, without a name, if not. */
MUST_CHECK int bitmap_check_space(const struct qcow2 *q, uint64_t size, unsigned granularity_bits,
                                  struct qimg_error *err);

/* format_ops.change_bitmaps */
int qcow2_change_bitmaps(struct image *image, struct bitmap_request *request,
                         struct qimg_error *err);

#endif

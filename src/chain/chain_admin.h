/* SPDX-License-Identifier: Apache-2.0
 *
 * What the public calls that change an image as a whole have in common.
 */
#ifndef CHAIN_CHAIN_ADMIN_H
#define CHAIN_CHAIN_ADMIN_H

#include "admin.h"
#include "chain.h"

/* Refuses images that are not open for writing; ends guest writing. */
MUST_CHECK int chain_admin_begin(struct qimg_image *image, struct qimg_error *err);

/* After a verb, also one that failed: size and map follow the format. */
void chain_admin_end(struct qimg_image *image);

/* A request for @size bytes, with what lies below the image. */
struct resize_request chain_resize_request(struct qimg_image *image, uint64_t size);

/* Refuses sizes that no disk of QEMU's has. */
MUST_CHECK int chain_check_size(uint64_t size, struct qimg_error *err);

#endif

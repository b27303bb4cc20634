/* SPDX-License-Identifier: Apache-2.0
 *
 * The image of a chain that a commit writes into: which one it is, and how the chain falls into
 * two, the overlays above it, which are read, and the base with what lies below it, which is open
 * for writing.
 */
#ifndef CHAIN_COMMIT_BASE_H
#define CHAIN_COMMIT_BASE_H

#include "chain.h"

/* The layer below the top whose file @name is, read as each overlay's own backing name would be;
 * NULL: the top's backing file. -ENOENT, in QEMU's words (@shown: the top's name). */
MUST_CHECK int commit_base_find(const struct qimg_image *image, const char *name, const char *shown,
                                unsigned *layer, struct qimg_error *err);

/* Takes @layer and all below it out of @image and into an image of their own, whose top is opened
 * once more for writing. On failure @image can only be closed. Nothing is in use. */
MUST_CHECK int commit_base_split(struct qimg_image *image, unsigned layer, struct qimg_image **base,
                                 struct qimg_error *err);

#endif

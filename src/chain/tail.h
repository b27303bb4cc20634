/* SPDX-License-Identifier: Apache-2.0
 *
 * The lower part of an open chain as an image of its own, to be read and mapped beside the whole.
 * Its layers are borrowed: nothing is opened, and the whole chain must stay open.
 */
#ifndef CHAIN_TAIL_H
#define CHAIN_TAIL_H

#include "chain.h"

/* From @layer down. -ENOMEM. */
MUST_CHECK int chain_tail_new(const struct qimg_image *whole, unsigned layer,
                              struct qimg_image **out);

/* NULL is fine. */
void chain_tail_free(struct qimg_image *tail);

/* The layer below the top that is the same file as @single's only one, opened in the same way; 0:
 * there is none. */
unsigned chain_tail_find(const struct qimg_image *whole, const struct qimg_image *single);

#endif

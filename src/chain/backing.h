/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHAIN_BACKING_H
#define CHAIN_BACKING_H

#include "chain.h"

/* What qimg_image_set_backing() would fail with, without doing it; 0: it could be done now. */
MUST_CHECK int backing_check(struct qimg_image *image, const char *backing_name,
                             const char *backing_format, struct qimg_error *err);

#endif

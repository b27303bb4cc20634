/* SPDX-License-Identifier: Apache-2.0
 *
 * convert --bitmaps: persistent bitmaps of the source, made again in the target.
 */
#ifndef CHAIN_CONVERT_BITMAPS_H
#define CHAIN_CONVERT_BITMAPS_H

#include "chain.h"
#include "qimg/jobs.h"

/* Can they be copied? 0 where none are asked for. */
MUST_CHECK int convert_check_bitmaps(const struct qimg_convert_options *options,
                                     struct qimg_error *err);

/* Copies them all, together, into @target, which is not being written. */
MUST_CHECK int convert_copy_bitmaps(const struct qimg_convert_options *options,
                                    struct qimg_image *target, struct qimg_error *err);

#endif

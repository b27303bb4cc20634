/* SPDX-License-Identifier: Apache-2.0
 *
 * What convert is asked for, before any file of the target is touched.
 */
#ifndef CHAIN_CONVERT_CHECK_H
#define CHAIN_CONVERT_CHECK_H

#include "convert_target.h"

/* Reads -o, -B and -F into target->create and has_backing, and refuses combinations, with
 * qemu-img's sentences in its order. */
MUST_CHECK int convert_check_target(struct convert_target *target, struct qimg_error *err);

/* The format of the target is known now, whoever named it. */
MUST_CHECK int convert_check_format(const struct convert_target *target,
                                    const struct format_ops *format, struct qimg_error *err);

#endif

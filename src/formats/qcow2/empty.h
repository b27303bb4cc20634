/* SPDX-License-Identifier: Apache-2.0 */
#ifndef QCOW2_EMPTY_H
#define QCOW2_EMPTY_H

#include "admin.h"

/* format_admin_ops.empty. */
int qcow2_empty(struct image *image, struct qimg_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Another size of the disk. See admin.h.
 */
#ifndef QCOW2_RESIZE_H
#define QCOW2_RESIZE_H

#include "admin.h"

int qcow2_resize(struct image *image, const struct resize_request *request, struct qimg_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal snapshots: making, going back to, and deleting them. See admin.h.
 */
#ifndef QCOW2_SNAPSHOT_WRITE_H
#define QCOW2_SNAPSHOT_WRITE_H

#include "admin.h"

int qcow2_snapshot_create(struct image *image, const struct snapshot_request *request,
                          struct qimg_error *err);
int qcow2_snapshot_apply(struct image *image, const struct snapshot_request *request,
                         struct qimg_error *err);
int qcow2_snapshot_delete(struct image *image, const struct snapshot_request *request,
                          struct qimg_error *err);

#endif

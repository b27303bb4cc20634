/* SPDX-License-Identifier: Apache-2.0 */
#ifndef QCOW2_VM_STATE_H
#define QCOW2_VM_STATE_H

#include "admin.h"

int qcow2_vm_state(struct image *image, struct qimg_range state, bool room, uint64_t *guest_off,
                   struct qimg_error *err);

#endif

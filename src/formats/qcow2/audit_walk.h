/* SPDX-License-Identifier: Apache-2.0
 *
 * The two halves of a qcow2 audit: the header by itself, and what it leads to.
 */
#ifndef QCOW2_AUDIT_WALK_H
#define QCOW2_AUDIT_WALK_H

#include "audit_request.h"
#include "qcow2.h"

int qcow2_audit(struct io_file *file, const struct audit_request *request,
                struct audit_facts *facts, struct qimg_error *err);

/* Walks all tables of the open image (info_only). -ENOMEM, or a failed read. */
MUST_CHECK int qcow2_audit_tables(struct qcow2 *q, const struct audit_request *request,
                                  struct audit_facts *facts, struct qimg_error *err);

#endif

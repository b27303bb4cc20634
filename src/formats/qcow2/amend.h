/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing features of an image in place. amend.c decides and puts the steps in order; see admin.h.
 */
#ifndef QCOW2_AMEND_H
#define QCOW2_AMEND_H

#include "admin.h"
#include "shadow.h"

int qcow2_amend(struct image *image, const struct amend_request *request, struct qimg_error *err);

/* --- steps, each of which flips the header once --------------------------------------------- */

/* amend_version.c: to version 3; to version 2, which may have to expand zero clusters. */
MUST_CHECK int qcow2_amend_upgrade(struct qcow2 *q, struct qimg_error *err);
MUST_CHECK int qcow2_amend_downgrade(struct qcow2 *q, const struct amend_request *request,
                                     struct qimg_error *err);

/* Can it be brought to version 2, once it has @refcount_bits and @size? */
MUST_CHECK int qcow2_amend_check_downgrade(struct qcow2 *q, unsigned refcount_bits, uint64_t size,
                                           struct qimg_error *err);

/* amend_refcounts.c: counts of another width. */
MUST_CHECK int qcow2_amend_refcounts(struct qcow2 *q, unsigned order,
                                     const struct amend_request *request, struct qimg_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent bitmaps of an image whose guest data is written. Changes that they would miss are
 * not made: an image that has any is refused.
 */
#include "meta.h"

int qcow2_bitmaps_begin_writing(struct qcow2 *q, struct qimg_error *err)
{
    if (!q->extensions.has_bitmaps)
        return 0;
    return qimg_fail(err, ENOTSUP, "Writing to an image with persistent bitmaps is not supported");
}

void qcow2_bitmaps_record(struct qcow2 *q, struct qimg_range range)
{
    (void)q;
    (void)range;
}

int qcow2_bitmaps_store(struct qcow2 *q, struct qimg_error *err)
{
    (void)q;
    (void)err;
    return 0;
}

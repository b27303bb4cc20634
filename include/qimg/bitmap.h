/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent dirty bitmaps: each has a bit for every so many bytes of the disk that says whether
 * the guest wrote there while the bitmap was enabled. Incremental backups are made from them.
 * qimg_image_info() lists those of an image.
 */
#ifndef QIMG_BITMAP_H
#define QIMG_BITMAP_H

#include "qimg/image.h"

#ifdef __cplusplus
extern "C" {
#endif

enum qimg_bitmap_verb {
    QIMG_BITMAP_ADD,     /* a new one, enabled, nothing set */
    QIMG_BITMAP_REMOVE,  /* works for inconsistent ones too */
    QIMG_BITMAP_CLEAR,   /* nothing set any more */
    QIMG_BITMAP_ENABLE,  /* writes of the guest are recorded from now on */
    QIMG_BITMAP_DISABLE, /* and are not */
    QIMG_BITMAP_MERGE,   /* sets what another bitmap has set; granularities may differ */
};

struct qimg_bitmap_action {
    enum qimg_bitmap_verb verb;
    const char *name;     /* the bitmap that changes */
    uint64_t granularity; /* ADD: bytes for a bit, a power of 2 from 512 to 2 GiB; 0 = the
                           * cluster size, but from 4 KiB to 64 KiB */
    const char *source;   /* MERGE: the other bitmap */
    struct qimg_image *source_image; /* MERGE: the image that has it; NULL = the same image */
};

/* Does all actions in order, together: durable on return 0; after a failure or a crash the image
 * has all of them or none, and every other bitmap as it was. The image is open for writing, and
 * nothing was written to its guest's disk since it was opened or finished.
 * Errors begin with "Operation VERB on bitmap NAME failed: " where one action is to blame:
 * -ENOENT no such bitmap, -EEXIST, -EINVAL (also: inconsistent), -ENOTSUP the format has none;
 * -EBUSY: guest data is being written. */
QIMG_API int qimg_image_change_bitmaps(struct qimg_image *image,
                                       const struct qimg_bitmap_action *actions, size_t count,
                                       struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif

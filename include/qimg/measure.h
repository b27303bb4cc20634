/* SPDX-License-Identifier: Apache-2.0
 *
 * How large an image file would get, before it is made.
 */
#ifndef QIMG_MEASURE_H
#define QIMG_MEASURE_H

#include "qimg/image.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qimg_measure_options {
    struct qimg_image *source; /* what would be converted; NULL: a new image of @size bytes */
    uint64_t size;             /* bytes; counts without a source */
    const char *format;        /* of the file that would be made; NULL = raw */
    const struct qimg_option *options; /* -o */
    size_t option_count;
};

struct qimg_measure_result {
    uint64_t required;        /* bytes of file that suffice for what the source holds now */
    uint64_t fully_allocated; /* and once the guest has written everywhere */
    bool has_bitmaps;         /* source and target can hold persistent bitmaps: */
    uint64_t bitmaps;         /* further bytes for those of the source */
};

/* The numbers are qemu-img's: metadata is counted for the fully allocated image in both, and a
 * backing file in the options has all of the source count as data.
 * -ENOENT, -ENOTSUP: no such format, or one whose size nobody can tell; -EINVAL: the options;
 * -EFBIG: beyond the format's bounds; -EIO: the source's map cannot be read. */
QIMG_API int qimg_measure(const struct qimg_measure_options *options,
                          struct qimg_measure_result *out, struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of format_ops.measure.
 */
#ifndef FORMATS_MEASURE_REQUEST_H
#define FORMATS_MEASURE_REQUEST_H

#include "format.h"
#include "qimg/measure.h"

struct measure_request {
    const struct create_spec *spec; /* as far as it decides the size; spec->size is what -o says */
    uint64_t size;                  /* bytes of disk */
    uint64_t used; /* bytes of the clusters (of spec->cluster_size) that would hold data */
    bool bitmaps;  /* the source can have persistent bitmaps: */
    const struct qimg_bitmap_info *bitmap; /* these */
    size_t bitmap_count;
};

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of format_ops.change_bitmaps.
 */
#ifndef FORMATS_BITMAP_REQUEST_H
#define FORMATS_BITMAP_REQUEST_H

#include <stddef.h>
#include <stdint.h>

struct image;

enum bitmap_verb {
    BITMAP_ADD, /* enabled, and clean */
    BITMAP_REMOVE,
    BITMAP_CLEAR,
    BITMAP_ENABLE,
    BITMAP_DISABLE,
    BITMAP_MERGE, /* sets what another bitmap has set */
};

struct bitmap_step {
    enum bitmap_verb verb;
    const char *name;
    uint64_t granularity;       /* BITMAP_ADD: bytes; 0 = by the cluster size */
    const char *source_name;    /* BITMAP_MERGE */
    const struct image *source; /* BITMAP_MERGE: the image that has it; NULL = this one */
};

struct bitmap_request {
    const struct bitmap_step *steps;
    size_t count;
    const char *shown; /* the image's name, for messages */
    size_t failed;     /* set: the step that could not be done; count where none is to blame */
};

#endif

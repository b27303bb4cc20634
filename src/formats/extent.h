/* SPDX-License-Identifier: Apache-2.0
 *
 * The vocabulary that every format answers in. A format says what *it* knows about a guest
 * range; what it does not mention is UNALLOCATED, as is what it only reserves space for.
 */
#ifndef FORMATS_EXTENT_H
#define FORMATS_EXTENT_H

#include <stdint.h>

#include "qimg/types.h"
#include "vec.h"

enum extent_kind {
    EXTENT_ZERO, /* host_off is QIMG_NO_OFFSET unless space is reserved */
    EXTENT_DATA,
    EXTENT_COMPRESSED, /* always exactly one cluster: guest_off is its start */
    EXTENT_BAD,        /* the table's word for it is wrong; reading it is -EIO, see image_explain */
    EXTENT_RESERVED,   /* UNALLOCATED for every reader, but space waits at host_off */
};

enum codec { CODEC_DEFLATE, CODEC_ZSTD };

struct extent {
    uint64_t guest_off, len;
    uint64_t host_off;   /* in the data file where the image has one, else in its own */
    uint32_t packed_len; /* COMPRESSED: bytes from host_off that the packed cluster lies in */
    uint8_t kind;        /* enum extent_kind */
    uint8_t codec;       /* enum codec */
};

/* Extents in guest order that do not overlap; what lies between them is UNALLOCATED. */
DEFINE_VEC(extent_vec, struct extent)

/* Adds @e, merging it with the last one where kind and host offsets continue. */
MUST_CHECK int extent_vec_add(struct extent_vec *v, struct extent e);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The vocabulary of the whole program: a range of bytes, and an extent, which says what is in a
 * range of the guest's disk. Offsets and lengths are bytes everywhere.
 */
#ifndef QIMG_TYPES_H
#define QIMG_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(QIMG_BUILDING)
#define QIMG_API __attribute__((visibility("default")))
#else
#define QIMG_API
#endif

struct qimg_range {
    uint64_t off, len;
};

#define QIMG_NO_OFFSET UINT64_MAX

enum qimg_extent_kind {
    QIMG_UNALLOCATED, /* no image has it: reads as zeros; host_off as for ZERO */
    QIMG_ZERO,        /* reads as zeros; host_off is set where space is reserved for it */
    QIMG_DATA,        /* the bytes at host_off of the image's (or its data) file */
    QIMG_COMPRESSED,  /* packed_len bytes at host_off inflate to one cluster */
};

/* One run of guest bytes of one kind, from one layer. */
struct qimg_extent {
    uint64_t guest_off, len;
    uint64_t host_off;   /* QIMG_NO_OFFSET where there is none to show */
    uint32_t packed_len; /* QIMG_COMPRESSED: upper bound of the packed bytes */
    uint32_t layer;      /* 0 = the opened image, 1 = its backing file, ... */
    enum qimg_extent_kind kind;
    bool hole; /* DATA whose host bytes are a hole in the file: reads as zeros */
};

#ifdef __cplusplus
}
#endif
#endif

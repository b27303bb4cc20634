/* SPDX-License-Identifier: Apache-2.0
 *
 * Crafts qcow2 images from named fields, right or wrong ones: what is left zero gets the value
 * that a healthy image has. Lays out [header][refcount table][L1][L2s and data in the order in
 * which they are named][snapshots][bitmaps][refcount blocks], counts every cluster, then applies
 * patches. Written without src/formats/qcow2's encoders, so that a test of these has another
 * opinion to compare with. Aborts where there is no memory or a spec makes no sense.
 */
#ifndef SUPPORT_BUILD_QCOW2_H
#define SUPPORT_BUILD_QCOW2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum build_kind {
    BUILD_DATA,        /* a new host cluster filled with fill */
    BUILD_ZERO,        /* zero flag, no host cluster (extended: all zero bits) */
    BUILD_ZERO_ALLOC,  /* zero flag and a host cluster */
    BUILD_COMPRESSED,  /* packed bytes behind the previous ones */
    BUILD_SUBCLUSTERS, /* extended: a host cluster, alloc and zero as given */
    BUILD_WORD,        /* word and bitmap as given */
};

struct build_cluster {
    uint64_t index; /* guest offset / cluster size */
    uint64_t count; /* 0 = 1; so many of the same, DATA on consecutive host clusters */
    enum build_kind kind;
    uint8_t fill;
    bool shared; /* leave COPIED clear */
    const void *packed;
    uint32_t packed_len;
    uint32_t alloc, zero;
    uint64_t word, bitmap;
};

struct build_extension {
    uint32_t type;
    const void *data;
    uint32_t len;
    bool wrong_len;
    uint32_t claimed_len; /* with wrong_len */
};

struct build_snapshot {
    const char *id, *name;
    bool no_extra;                             /* version 2 style: no extra data */
    uint32_t extra_len;                        /* 0 = 24; bytes beyond 24 are 0xee */
    uint64_t vm_state_size, disk_size, icount; /* disk_size 0 = the image's */
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    const struct build_cluster *clusters; /* its own L1 and L2 tables */
    size_t cluster_count;
};

struct build_bitmap {
    const char *name;
    uint8_t granularity_bits; /* 0 = 16 */
    uint32_t flags;
};

/* @width bytes (1, 2, 4, 8) of @value, big-endian, at @off: after all else. */
struct build_patch {
    uint64_t off;
    unsigned width;
    uint64_t value;
};

struct build_qcow2 {
    unsigned version;      /* 0 = 3 */
    unsigned cluster_bits; /* 0 = 16 */
    uint64_t size;
    unsigned refcount_bits;                       /* 0 = 16 */
    bool extended_l2, zstd, data_file;            /* the bits and fields that go with it */
    uint64_t incompatible, compatible, autoclear; /* further bits */
    uint32_t header_length;                       /* 0 = 112, or 72 */
    uint8_t header_fill;                          /* bytes of the header from 112 on */
    uint32_t crypt_method;
    uint32_t l1_extra; /* further, empty entries of L1 */

    const char *backing_name;
    uint64_t backing_off;                     /* 0 = behind the extensions */
    uint32_t backing_len;                     /* 0 = strlen */
    const struct build_extension *extensions; /* in this order; bitmaps' own comes last */
    size_t extension_count;
    bool no_end_marker;

    const struct build_cluster *clusters; /* later ones replace earlier ones */
    size_t cluster_count;
    const struct build_snapshot *snapshots;
    size_t snapshot_count;
    const struct build_bitmap *bitmaps;
    size_t bitmap_count;

    const struct build_patch *patches;
    size_t patch_count;
    bool cut; /* the file is cut or extended to ... */
    uint64_t file_size;
};

struct built {
    uint8_t *bytes;
    size_t len;
    uint64_t l1_off, reftable_off, snapshots_off, bitmap_directory_off;
    uint64_t extensions_end; /* the byte behind the end marker */
};

struct built build_qcow2(const struct build_qcow2 *spec);
void built_release(struct built *built);

/* The image as a new file; aborts where it cannot be written. */
void build_qcow2_file(const struct build_qcow2 *spec, const char *path);

/* Where the entry for guest cluster @index of the active state lies in the file; 0 = no table. */
uint64_t built_l2_entry_off(const struct built *built, const struct build_qcow2 *spec,
                            uint64_t index);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What an image says about itself: everything that `qimg info` prints, as data. All strings are
 * owned by the struct; NULL means "not there". qimg_info_release() frees what hangs below.
 */
#ifndef QIMG_INFO_H
#define QIMG_INFO_H

#include "qimg/error.h"
#include "qimg/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qimg_snapshot_info {
    char *id, *name;
    uint64_t vm_state_size;
    int64_t date_sec;
    uint32_t date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t icount; /* UINT64_MAX = none recorded */
    uint64_t disk_size;
};

struct qimg_bitmap_info {
    char *name;
    uint64_t granularity; /* bytes */
    bool in_use, enabled; /* flags "in-use" and "auto" */
};

/* The header of a LUKS container (qcow2 crypt method 2), as far as it can be read in clear. */
struct qimg_luks_slot {
    bool active;
    uint32_t iters, stripes;
    uint64_t key_offset;
};

struct qimg_luks_info {
    char *cipher_alg, *cipher_mode, *ivgen_alg, *ivgen_hash_alg, *hash_alg, *uuid;
    uint64_t payload_offset;
    uint32_t master_key_iters;
    struct qimg_luks_slot slots[8];
};

enum qimg_encryption { QIMG_ENCRYPTION_NONE, QIMG_ENCRYPTION_AES, QIMG_ENCRYPTION_LUKS };

struct qimg_qcow2_info {
    unsigned version;             /* 2 or 3 */
    const char *compression_type; /* "zlib" or "zstd" */
    bool lazy_refcounts, corrupt, extended_l2;
    unsigned refcount_bits;
    struct qimg_bitmap_info *bitmaps;
    size_t bitmap_count;
    bool has_data_file, data_file_raw;
    char *data_file;
    enum qimg_encryption encryption;
    struct qimg_luks_info *luks; /* NULL unless LUKS and readable */
};

struct qimg_limits { /* 0 = not shown */
    uint32_t request_alignment, min_mem_alignment, opt_mem_alignment, max_iov;
    uint32_t write_zeroes_alignment, discard_alignment;
    uint32_t max_transfer, max_hw_transfer, max_hw_iov;
};

/* One node: an image, or the file below it. */
struct qimg_info {
    char *filename;
    char *format;          /* "qcow2", "raw", and "file" or "host_device" for a file */
    uint64_t virtual_size; /* of a file: its length */
    bool has_actual_size;
    uint64_t actual_size;  /* bytes of storage */
    uint32_t cluster_size; /* 0 = none */
    bool has_dirty_flag, dirty_flag;
    bool encrypted;
    char *backing_filename;        /* as recorded */
    char *full_backing_filename;   /* resolved; NULL where it cannot be */
    char *backing_filename_format; /* as recorded */
    struct qimg_snapshot_info *snapshots;
    size_t snapshot_count;
    struct qimg_qcow2_info *qcow2; /* format-specific data; NULL = none */
    struct qimg_limits limits;
    struct qimg_info *child; /* the node "file" below an image; NULL for a file */
};

/* Frees what @info holds and zeroes it. Takes half-filled ones. */
QIMG_API void qimg_info_release(struct qimg_info *info);

#ifdef __cplusplus
}
#endif
#endif

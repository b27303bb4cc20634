/* SPDX-License-Identifier: Apache-2.0
 *
 * What every image format offers to the chain, and all that the chain knows of a format. One
 * struct image is one open file and what its header said. It never looks below itself, never
 * resolves a name and never opens another file: what a header names (backing file, data file)
 * it reports, and its host decides.
 *
 * Mapping is in two steps, so that the host can load the tables of many images in one batch:
 *   plan:   which bytes of the image file answer for this guest range?     (no I/O, no failure)
 *   decode: what do these bytes say?                                       (no I/O)
 * A format without tables (raw) plans nothing and may ask the file in decode.
 */
#ifndef FORMATS_FORMAT_H
#define FORMATS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "extent.h"
#include "fail.h"
#include "io.h"
#include "qimg/info.h"
#include "qimg/types.h"

struct image;
struct create_spec;

/* --- open images ------------------------------------------------------------------------ */

struct image_open_options {
    bool writable;
    bool info_only; /* only info will be asked: encrypted images open, no data file needed */
};

/* Formats embed it as their first member. Strings are owned by the image. */
struct image {
    const struct format_ops *ops;
    struct io_file *file;      /* owned: closed with the image */
    struct io_file *data_file; /* owned; set by the host after opening; NULL = in file */
    uint64_t size;             /* virtual bytes, a multiple of 512 except where a format differs */
    uint32_t cluster_size;     /* 0 = none */
    uint32_t map_unit;         /* extents begin and end at multiples of this (or at the end) */
    char *backing_name;        /* as recorded; NULL = none */
    char *backing_format;      /* as recorded; NULL = not recorded */
    bool needs_data_file;
    char *data_file_name;      /* as recorded; NULL = not recorded */
    bool encrypted;
};

/* One piece of mapping metadata: @len bytes at @host_off that describe @guest. */
struct table_ref {
    struct qimg_range guest;
    uint64_t host_off;
    uint32_t len;
};

DEFINE_VEC(table_ref_vec, struct table_ref)

struct format_ops {
    const char *name; /* as in "file format: qcow2" */

    /* How sure is it that a file that begins with @head (zero padded to 512) is mine? 0..100. */
    int (*probe)(const uint8_t *head, size_t len);

    /* Takes over @file on success only. Errors carry QEMU's sentence, without the file's name. */
    int (*open)(struct io_file *file, const struct image_open_options *options,
                struct image **out, struct qimg_error *err);

    /* Closes the files too. Takes half-built images. */
    void (*close)(struct image *image);

    /* Serves what follows from the internal snapshot whose id, else whose name, matches.
     * -ENOENT: no such. -ENOTSUP: format has none. */
    int (*select_snapshot)(struct image *image, const char *id, const char *name,
                           struct qimg_error *err);

    /* Adds the format's part (format-specific data, snapshots, cluster size, flags) to @info. */
    int (*describe)(struct image *image, struct qimg_info *info, struct qimg_error *err);

    /* Appends the tables that answer for @want (clipped to the image by the caller) in guest
     * order. Guest ranges that no table covers are UNALLOCATED. Slices are cut to what @want
     * needs, rounded to whole 4 KiB of table. Fails only with -ENOMEM. */
    int (*map_plan)(const struct image *image, struct qimg_range want,
                    struct table_ref_vec *out);

    /* Appends what @table's bytes @raw say about @want (within table->guest). Wrong words become
     * EXTENT_BAD, not a failure: they concern only who reads them. */
    int (*map_decode)(const struct image *image, struct qimg_range want,
                      const struct table_ref *table, const uint8_t *raw,
                      struct extent_vec *out);

    /* For formats without tables (map_plan == NULL): appends what is in @want. */
    int (*map_direct)(const struct image *image, struct qimg_range want,
                      struct extent_vec *out);

    /* Why is the extent at @guest_off BAD (or why did it fail to unpack)? Fills @err with
     * structure, offset and value; returns -EIO. */
    int (*explain)(struct image *image, uint64_t guest_off, struct qimg_error *err);

    /* Should map look for holes inside DATA (QEMU's guess that metadata was preallocated)? */
    bool (*data_may_be_holes)(struct image *image);

    /* Records another backing name and format (NULL = none), durable on return. The image must
     * be writable. -ENOSPC where the header has no room, -ENOTSUP for formats without. */
    int (*set_backing)(struct image *image, const char *name, const char *format,
                       struct qimg_error *err);

    /* Lays out a new image in the empty @file (and @data_file, may be NULL): see create.h. */
    int (*create)(struct io_file *file, struct io_file *data_file,
                  const struct create_spec *spec, struct qimg_error *err);
};

/* All formats this build knows, probe order; ends with NULL. */
extern const struct format_ops *const format_registry[];

/* By name, or NULL. */
const struct format_ops *format_find(const char *name);

/* The format whose probe is surest of @head; raw where none is. An empty file is raw. */
const struct format_ops *format_probe(const uint8_t *head, size_t len);

/* Whole map of one image for one range, with synchronous loads (metadata commands, tests). */
MUST_CHECK int image_map(const struct image *image, struct qimg_range want,
                         struct extent_vec *out, struct qimg_error *err);

void image_close(struct image *image);

/* --- creating --------------------------------------------------------------------------- */

enum preallocation { PREALLOC_OFF, PREALLOC_METADATA, PREALLOC_FALLOC, PREALLOC_FULL };

/* A new image, all defaults resolved and all combinations checked. */
struct create_spec {
    uint64_t size;
    enum preallocation preallocation;
    const char *backing_name, *backing_format; /* NULL = none */
    /* qcow2 only */
    unsigned version; /* 2 or 3 */
    uint32_t cluster_size;
    unsigned refcount_bits;
    bool lazy_refcounts, extended_l2, data_file_raw;
    enum codec compression;
    const char *data_file_name;
};

#endif

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

#include <stdatomic.h>
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
struct check_request;
struct measure_request;
struct qimg_measure_result;
struct qimg_check_result;
struct format_write_ops;
struct format_admin_ops;
struct bitmap_request;
struct audit_request;
struct audit_facts;

/* --- open images ------------------------------------------------------------------------ */

struct image_open_options {
    bool writable;
    bool info_only; /* only info will be asked: encrypted images open, no data file needed */
    bool check;     /* check() will be asked: what it can report, or mend, is tolerated */
    void (*said)(void *user, const char *text); /* gets what opening repairs; NULL = nobody does */
    void *user;
};

/* Formats embed it as their first member. Strings are owned by the image. */
struct image {
    const struct format_ops *ops;
    struct io_file *file;      /* owned: closed with the image */
    struct io_file *data_file; /* owned; set by the host after opening; NULL = in file */
    uint64_t size;             /* virtual bytes, a multiple of 512 except where a format differs */
    uint32_t cluster_size;     /* 0 = none */
    uint32_t map_unit;         /* extents begin and end at multiples of this (or at the end) */
    uint64_t table_span;       /* guest bytes that one mapping table describes; 0 = no tables */
    char *backing_name;        /* as recorded; NULL = none */
    uint64_t backing_name_end; /* where it ends in the file; 0 = none */
    char *backing_format;      /* as recorded; NULL = not recorded */
    bool marks_zeros;          /* zeros can be marked in tables, and take no storage */
    bool needs_data_file;
    char *data_file_name;       /* as recorded; NULL = not recorded */
    const uint8_t *fingerprint; /* what the header keeps of the backing file, for our eyes only
                                 * (chain/fingerprint.h); NULL = nothing. Borrowed from the image,
                                 * until its header changes */
    uint32_t fingerprint_len;
    atomic_bool called_corrupt; /* said once, of the first bad entry */
    bool encrypted;
    const char *warning, *remedy; /* what whoever opens it is to be told; both NULL = nothing */
    bool packs;                   /* packed clusters can be written, ... */
    uint8_t codec;                /* ... by this enum codec */
    bool writing;                 /* write->begin succeeded, write->end was not called yet */
    const struct read_pins *pins; /* set by the host before write->begin; NULL = nobody reads */
};

/* One piece of mapping metadata: @len bytes at @host_off that describe @guest. */
struct table_ref {
    struct qimg_range guest;
    uint64_t host_off;
    uint32_t len;
};

DEFINE_VEC(table_ref_vec, struct table_ref)

/* What an image is to say of its backing file. */
struct backing_seal {
    const char *name, *format;
    const uint8_t *fingerprint; /* NULL = none */
    uint32_t fingerprint_len;
    bool dry_run; /* only see whether there is room; the image may be open for reading */
};

struct format_ops {
    const char *name; /* as in "file format: qcow2" */

    /* How sure is it that a file that begins with @head (zero padded to 512) is mine? 0..100. */
    int (*probe)(const uint8_t *head, size_t len);

    /* Does a file that begins so ask for a data file? Looks at that alone, and decodes nothing.
     * NULL: images of this format have none. */
    bool (*wants_data_file)(const uint8_t *head, size_t len);

    /* Takes over @file on success only. Errors carry QEMU's sentence, without the file's name. */
    int (*open)(struct io_file *file, const struct image_open_options *options, struct image **out,
                struct qimg_error *err);

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
    int (*map_plan)(const struct image *image, struct qimg_range want, struct table_ref_vec *out);

    /* Appends what @table's bytes @raw say about @want (within table->guest). Wrong words become
     * EXTENT_BAD, not a failure: they concern only who reads them. */
    int (*map_decode)(const struct image *image, struct qimg_range want,
                      const struct table_ref *table, const uint8_t *raw, struct extent_vec *out);

    /* For formats without tables (map_plan == NULL): appends what is in @want. */
    int (*map_direct)(const struct image *image, struct qimg_range want, struct extent_vec *out);

    /* Why is the extent at @guest_off BAD (or why did it fail to unpack)? Fills @err, its code
     * EIO, with structure, offset and value. Returns -EBADMSG where a table's own words are
     * wrong, else -EIO. */
    int (*explain)(struct image *image, uint64_t guest_off, struct qimg_error *err);

    /* Should map look for holes inside DATA (QEMU's guess that metadata was preallocated)? */
    bool (*data_may_be_holes)(struct image *image);

    /* Records another backing name and format (NULL = none), durable on return. The image must
     * be writable. -ENOSPC where the header has no room, -ENOTSUP for formats without. */
    int (*set_backing)(struct image *image, const char *name, const char *format,
                       struct qimg_error *err);

    /* Records name, format and fingerprint together, in one write that a disk does whole or not
     * at all; -ENOSPC where that cannot be, or where QEMU would have no room to write such a
     * header. Else as set_backing, which drops the fingerprint where name or format become others.
     * NULL: the format keeps no fingerprints. */
    int (*seal)(struct image *image, const struct backing_seal *seal, struct qimg_error *err);

    /* Could set_backing() do that? Changes nothing; same errors. NULL where set_backing is. */
    int (*backing_fits)(struct image *image, const char *name, const char *format,
                        struct qimg_error *err);

    /* Bytes of the image file at most, once guest writes have taken @clusters further clusters that
     * lie under @tables mapping tables (see image->table_span). NULL: it does not grow. */
    int (*grown_size)(struct image *image, uint64_t clusters, uint64_t tables, uint64_t *size);

    /* Changes persistent bitmaps: see bitmap_request.h. Durable on return, all or nothing. The
     * image is writable, and image->writing is false. NULL: the format has none. */
    int (*change_bitmaps)(struct image *image, struct bitmap_request *request,
                          struct qimg_error *err);

    /* Looks for what is wrong, and mends it as @request asks (then the image is writable, and was
     * opened for check): see qimg/check.h. NULL: the format has no check. */
    int (*check)(struct image *image, const struct check_request *request,
                 struct qimg_check_result *result, struct qimg_error *err);

    /* Tells all facts of a stranger's @file: see audit_request.h. The file stays the caller's.
     * Fails only where reading does, or memory runs out. NULL: the format has nothing to tell. */
    int (*audit)(struct io_file *file, const struct audit_request *request,
                 struct audit_facts *facts, struct qimg_error *err);

    /* Lays out a new image in the empty @file (and @data_file, may be NULL), so that a crash leaves
     * none or a whole one; durable once the caller has synced both. */
    int (*create)(struct io_file *file, struct io_file *data_file, const struct create_spec *spec,
                  struct qimg_error *err);

    /* How large the file of an image would get: see measure_request.h. NULL: nobody can tell. */
    int (*measure)(const struct measure_request *request, struct qimg_measure_result *out,
                   struct qimg_error *err);

    const struct format_write_ops *write; /* NULL: the format is read only */
    const struct format_admin_ops *admin; /* admin.h; NULL: nothing of it */
};

/* All formats this build knows, probe order; ends with NULL. */
extern const struct format_ops *const format_registry[];

/* By name, or NULL. */
const struct format_ops *format_find(const char *name);

/* The format whose probe is surest of @head; raw where none is. An empty file is raw. */
const struct format_ops *format_probe(const uint8_t *head, size_t len);

/* Whole map of one image for one range, with synchronous loads (metadata commands, tests). */
MUST_CHECK int image_map(const struct image *image, struct qimg_range want, struct extent_vec *out,
                         struct qimg_error *err);

void image_close(struct image *image);

/* --- writing ---------------------------------------------------------------------------- */

/* Who may still be reading the image file through offsets that the host looked up earlier. A
 * cluster that no table points at any more is used again, or punched, only when its release is
 * durable and every read that may have its offset has ended. Called under the host's lock. */
struct read_pins {
    void *user;
    /* A mark between the reads that have begun and those that will. The host's map has been
     * spliced for every change that was made so far. */
    uint64_t (*stamp)(void *user);
    /* Have all reads ended that had begun before @stamp was made? */
    bool (*passed)(void *user, uint64_t stamp);
};

/* Where bytes beside the guest's own come from. */
enum write_fill {
    WRITE_FILL_NONE,  /* leave them alone: what is there is right (or reads as zeros already) */
    WRITE_FILL_ZEROS, /* zeros */
    WRITE_FILL_OLD,   /* what the guest reads there now, through the whole chain; zeros beyond
                       * the end of the image and of shorter backing files */
};

struct write_edge {
    uint64_t len; /* bytes */
    enum write_fill fill;
};

/* Where one piece of a guest write goes. Made by write_begin() or packed_begin(), the caller's
 * memory, not moved until write_commit() or write_abort(), exactly one of which follows.
 *
 *                head.len      guest.len      tail.len
 *              [ head fill | the guest's bytes | tail fill ]
 *   host bytes  ^            ^ host_off
 *
 * All three parts lie one behind the other, in image->data_file where there is one, else in
 * image->file; the host may write them as one request. The guest offsets that they stand for are
 * consecutive too; the tail may run past image->size (zeros there). */
struct write_plan {
    struct qimg_range guest; /* the first bytes of what was asked for; len > 0 */
    uint64_t host_off;       /* of guest.off; of a packed cluster: of its first packed byte */
    struct write_edge head, tail;
    bool in_place; /* the map does not change: head.len and tail.len are 0 */
    /* Not in place: once committed the guest range [head, tail) is DATA there, cut at
     * image->size; of the clusters at both ends more may change (a packed cluster is unpacked
     * as a whole, reserved zeros move): align `linked` to clusters before splicing. */
    struct qimg_range linked;

    /* The format's own. */
    struct write_plan *next, **link;
    struct qimg_range clusters; /* guest clusters that nobody else may change meanwhile */
    uint64_t host_cluster;
    uint32_t packed_len;
    uint8_t how;
};

enum write_zero_flags {
    WRITE_MAY_UNMAP = 1 << 0, /* storage of the range may be given up */
};

/* What became of the first bytes of a range to be zeroed. */
struct write_zeroed {
    uint64_t len; /* > 0 */
    bool as_data; /* nothing happened yet: write zeros there as guest data (write_begin; where
                   * the plan is in place, IO_ZERO of its host bytes does it) */
};

/* Changing an open, writable image. All functions of one image, `map` too, are called under one
 * lock, the host's, which it also holds while it splices its own map after a change; guest data
 * itself moves outside the lock, between write_begin() and write_commit(). They may read and write
 * metadata of the image file synchronously.
 *
 * Nothing is durable before flush() or end() says so; a crash before leaves old or new content,
 * sector by sector, and an image without corruption. After a failed metadata write or sync every
 * further call fails with the same error, and end() reports it. Other failures (-ENOSPC of an
 * allocation, a bad table entry) concern only their call.
 *
 * Ranges lie within image->size, len > 0, any alignment. Functions that take a range do its first
 * part and say how much that was; the caller goes on behind it. */
struct format_write_ops {
    /* Once, before all others; image->data_file is set where one is needed. Refuses what cannot
     * be written. Nothing changes on disk yet, but for persistent bitmaps, which are marked in
     * use. */
    int (*begin)(struct image *image, struct qimg_error *err);

    /* Plans a write of the first bytes of @want. -EAGAIN: another plan under way holds the
     * clusters; ask again when one was committed or aborted. */
    int (*write_begin)(struct image *image, struct qimg_range want, struct write_plan *plan,
                       struct qimg_error *err);

    /* Plans a write of @packed_len bytes that unpack to the whole cluster at @guest_off (the
     * codec is the image's: see image->packs). Head and tail are empty. -EIO where the cluster has
     * space already (as QEMU), -ENOTSUP where the image or format has no packed clusters, -EAGAIN
     * as above. NULL where the format has none. */
    int (*packed_begin)(struct image *image, uint64_t guest_off, uint32_t packed_len,
                        struct write_plan *plan, struct qimg_error *err);

    /* The plan's bytes have been written (not: synced): links them. The guest sees them from now
     * on. On failure the plan is aborted, after some of its clusters may have been linked. */
    int (*write_commit)(struct image *image, struct write_plan *plan, struct qimg_error *err);

    /* The bytes could not be written: gives their space back. Guest content is unchanged, but for
     * a plan in place. */
    void (*write_abort)(struct image *image, struct write_plan *plan);

    /* Makes the first bytes of @want read as zeros, by metadata alone if that can be. Where it
     * cannot tell that the rest of a cluster reads as zeros (it lies in a backing file), it asks
     * for data; a host that knows widens @want to the whole cluster. @flags: enum
     * write_zero_flags. -EAGAIN as above. */
    int (*zero)(struct image *image, struct qimg_range want, unsigned flags,
                struct write_zeroed *out, struct qimg_error *err);

    /* The content of @want is of no use any more. Gives up what QEMU would (whole clusters, which
     * then read as zeros; parts of clusters stay). *done > 0: bytes dealt with. */
    int (*discard)(struct image *image, struct qimg_range want, uint64_t *done,
                   struct qimg_error *err);

    /* As image_map(), but as all changes so far have made it, flushed or not. While image->writing
     * the two steps map_plan and map_decode must not be used: they see the file. */
    int (*map)(struct image *image, struct qimg_range want, struct extent_vec *out,
               struct qimg_error *err);

    /* Is there nothing in @want, as far as can be told without reading tables? NULL: the
     * format has none. */
    bool (*bare)(struct image *image, struct qimg_range want);

    /* Everything that was committed before is durable on return. */
    int (*flush)(struct image *image, struct qimg_error *err);

    /* The end of writing, with no plan and no read under way: flushes, gives released space back,
     * stores bitmaps. Must be called before close (which drops what was not flushed). */
    int (*end)(struct image *image, struct qimg_error *err);
};

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

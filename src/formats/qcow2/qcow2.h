/* SPDX-License-Identifier: Apache-2.0
 *
 * An open qcow2 image and what its files offer each other. Private to this folder and its tests.
 *
 * Invariants of struct qcow2 once qcow2_open() has returned it:
 *   (1) header passed qcow2_header_check(): every field in it is within its bounds, and the
 *       refcount table, the L1 table and the snapshot table begin inside the file.
 *   (2) image.size is header.size rounded down to 512, and l1_count entries are enough for it.
 *   (3) l1[0 .. l1_loaded) are host-order words as they stand on disk; entries at and beyond
 *       l1_loaded are zero: the file ends before them. Nothing is loaded under info_only.
 *   (4) extensions.items[] are in file order, all types, with their bytes in extensions.bytes;
 *       what is decoded of them was checked.
 *   (5) geometry.file_size is the length of image.file when it was opened; packed clusters end
 *       there, and L2 tables begin before it.
 */
#ifndef QCOW2_QCOW2_H
#define QCOW2_QCOW2_H

#include "bits.h"
#include "bytes.h"
#include "count_cell.h"
#include "disk.h"
#include "entry.h"
#include "format.h"
#include "vec.h"

/* --- extensions --------------------------------------------------------------------------- */

struct qcow2_extension {
    uint32_t type;
    uint32_t len;
    const uint8_t *data; /* borrowed */
};

DEFINE_VEC(qcow2_extension_vec, struct qcow2_extension)

/* All of them, and what we understand of them. Of a type that occurs twice the last one counts. */
struct qcow2_extensions {
    uint8_t *bytes;                  /* owned: what items[].data points into */
    struct qcow2_extension_vec list; /* file order, the end marker not included */
    char *backing_format;            /* NULL = none */
    char *data_file;                 /* NULL = none */
    const uint8_t *feature_names;    /* NULL = none; in bytes */
    uint32_t feature_names_len;
    const uint8_t *fingerprint; /* NULL = none; in bytes */
    uint32_t fingerprint_len;
    bool has_bitmaps;       /* present, and the autoclear bit vouches for it */
    bool has_stale_bitmaps; /* present without its autoclear bit */
    struct qcow2_bitmaps_ext bitmaps;
    bool has_crypto;
    struct qcow2_crypto_ext crypto;
};

/* --- snapshots and bitmaps ---------------------------------------------------------------- */

struct qcow2_snapshot {
    uint64_t l1_off;
    uint32_t l1_count;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t vm_state_size;
    uint64_t disk_size;
    uint64_t icount; /* UINT64_MAX = none */
    char *text;      /* owned: id, NUL, name, NUL; NULL where both are empty */
    const char *id, *name;
};

DEFINE_VEC(qcow2_snapshot_vec, struct qcow2_snapshot)

struct qcow2_bitmap {
    uint64_t table_off;
    uint32_t table_count;
    uint32_t flags;
    uint8_t granularity_bits;
    char *name;               /* owned */
    struct bitmap_bits *bits; /* owned; NULL = nobody asked for them, see bitmap_bits.h */
    bool recording;           /* marked in use by us: guest writes go into bits */
};

DEFINE_VEC(qcow2_bitmap_vec, struct qcow2_bitmap)

/* --- the image ------------------------------------------------------------------------------ */

struct qcow2 {
    struct image image;
    bool writable, info_only;
    bool checking; /* opened for check: the header may lie about refcounts and snapshots */
    struct qcow2_header header;
    uint8_t *unknown_header; /* owned: header bytes from 112 to header_length; NULL = none */
    struct qcow2_geometry geometry;
    struct qcow2_extensions extensions;
    uint64_t *l1; /* owned */
    uint32_t l1_loaded;
    uint64_t l1_off; /* where l1 was read: the header's, or a snapshot's */
    struct qcow2_snapshot_vec snapshots;
    uint64_t snapshots_len; /* bytes of their table */
    struct qcow2_bitmap_vec bitmaps;
    struct meta *meta; /* owned: what writing needs, see meta.h; NULL = not writing */
    int may_be_holes;  /* data_may_be_holes' answer: -1 = not asked yet */
};

static inline struct qcow2 *qcow2_of(struct image *image)
{
    return (struct qcow2 *)image;
}

static inline const struct qcow2 *qcow2_of_const(const struct image *image)
{
    return (const struct qcow2 *)image;
}

static inline uint64_t qcow2_cluster_size(const struct qcow2 *q)
{
    return UINT64_C(1) << q->header.cluster_bits;
}

/* Bytes of the disk: while a VM state is shown behind it, image.size is larger. */
static inline uint64_t qcow2_disk_size(const struct qcow2 *q)
{
    return align_down(q->header.size, 512);
}

static inline unsigned qcow2_unknown_header_len(const struct qcow2_header *h)
{
    return h->header_length > QCOW2_V3_HEADER_LENGTH ? h->header_length - QCOW2_V3_HEADER_LENGTH
                                                     : 0;
}

/* --- header.c ------------------------------------------------------------------------------- */

/* Decodes the header at the start of @buf (@len bytes, of a file that may be shorter: the rest
 * is zeros) and checks what does not concern other structures, in QEMU's order. */
MUST_CHECK int qcow2_header_decode(const uint8_t *buf, size_t len, struct qcow2_header *out,
                                   struct qimg_error *err);

/* Feature bits that depend on each other, and the places of the tables; to be called once
 * unknown incompatible bits have been refused. @file_size: tables must begin before it. */
MUST_CHECK int qcow2_header_check(const struct qcow2_header *header, bool writable,
                                  uint64_t file_size, struct qimg_error *err);

/* Writes header->header_length bytes; @unknown holds those from 112 on (NULL where there are
 * none). Returns 0, or -ENOSPC where @w has less room. */
MUST_CHECK int qcow2_header_encode(const struct qcow2_header *header, const uint8_t *unknown,
                                   struct writer *w);

/* QEMU's two refusals for a table's place: "NAME too large", "NAME offset invalid". */
struct qcow2_table_claim {
    const char *name;
    uint64_t off, count;
    uint32_t entry_len;
    uint64_t max_bytes;
};

MUST_CHECK int qcow2_table_check(const struct qcow2_table_claim *claim, unsigned cluster_bits,
                                 struct qimg_error *err);

/* What the header says of its snapshot table, each entry as short as can be. */
struct qcow2_table_claim qcow2_snapshots_claim(const struct qcow2_header *header);

/* Does @table, of len > 0, begin inside the file? */
MUST_CHECK int qcow2_table_begins_inside(const char *name, struct qimg_range table,
                                         uint64_t file_size, struct qimg_error *err);

/* --- extensions.c --------------------------------------------------------------------------- */

/* Decodes the extensions in @area, which is bytes [header_length, end of area) of the file.
 * Fills @out, which the caller releases even on failure. */
MUST_CHECK int qcow2_extensions_decode(const struct qcow2_header *header, struct reader area,
                                       struct qcow2_extensions *out, struct qimg_error *err);

/* Is the end of the extension area certain from these bytes alone? (Then what follows need not
 * be read.) */
bool qcow2_extensions_end_within(struct reader area);

/* Writes @count extensions in order, padded, then the end marker. -ENOSPC: no room. */
MUST_CHECK int qcow2_extensions_encode(const struct qcow2_extension *list, size_t count,
                                       struct writer *w);

/* Bytes that qcow2_extensions_encode() takes, end marker included. */
size_t qcow2_extensions_encoded_len(const struct qcow2_extension *list, size_t count);

void qcow2_extensions_release(struct qcow2_extensions *extensions);

/* --- features.c ----------------------------------------------------------------------------- */

/* Refuses bits that we do not know, by the names that the image gives them. */
MUST_CHECK int qcow2_features_refuse_unknown(uint64_t incompatible, const uint8_t *names,
                                             size_t names_len, struct qimg_error *err);

/* The feature name table that we write, all of it: *len bytes of a static. Rows are ordered so
 * that any prefix (a multiple of 48 bytes) is a good table too. */
const uint8_t *qcow2_feature_names(uint32_t *len);

/* --- map.c ---------------------------------------------------------------------------------- */

int qcow2_map_plan(const struct image *image, struct qimg_range want, struct table_ref_vec *out);
int qcow2_map_decode(const struct image *image, struct qimg_range want,
                     const struct table_ref *table, const uint8_t *raw, struct extent_vec *out);

/* Replaces q->l1 by the table at @off with @count entries. */
MUST_CHECK int qcow2_l1_load(struct qcow2 *q, uint64_t off, uint32_t count, struct qimg_error *err);

/* --- explain.c ------------------------------------------------------------------------------ */

int qcow2_explain(struct image *image, uint64_t guest_off, struct qimg_error *err);

/* --- snapshot.c ----------------------------------------------------------------------------- */

MUST_CHECK int qcow2_snapshots_load(struct qcow2 *q, struct qimg_error *err);
void qcow2_snapshots_release(struct qcow2_snapshot_vec *snapshots);
/* Could the snapshot's L1 table lie where it says? */
MUST_CHECK int qcow2_snapshot_l1_check(const struct qcow2 *q, const struct qcow2_snapshot *s,
                                       struct qimg_error *err);
int qcow2_select_snapshot(struct image *image, const char *id, const char *name,
                          struct qimg_error *err);

/* --- bitmap.c ------------------------------------------------------------------------------- */

MUST_CHECK int qcow2_bitmaps_load(struct qcow2 *q, struct qimg_error *err);
void qcow2_bitmaps_release(struct qcow2_bitmap_vec *bitmaps);

/* --- luks.c --------------------------------------------------------------------------------- */

/* Reads what a LUKS1 header at extensions.crypto says in clear. *out stays NULL where the image
 * has none. */
MUST_CHECK int qcow2_luks_describe(const struct qcow2 *q, struct qimg_luks_info **out,
                                   struct qimg_error *err);

/* NULL is fine. */
void qcow2_luks_free(struct qimg_luks_info *info);

/* --- refcount.c ----------------------------------------------------------------------------- */

bool qcow2_data_may_be_holes(struct image *image);

/* --- describe.c ----------------------------------------------------------------------------- */

int qcow2_describe(struct image *image, struct qimg_info *info, struct qimg_error *err);

/* --- create.c, backing.c, growth.c ---------------------------------------------------------- */

int qcow2_create(struct io_file *file, struct io_file *data_file, const struct create_spec *spec,
                 struct qimg_error *err);
int qcow2_set_backing(struct image *image, const char *name, const char *format,
                      struct qimg_error *err);
int qcow2_seal(struct image *image, const struct backing_seal *seal, struct qimg_error *err);
int qcow2_grown_size(struct image *image, uint64_t clusters, uint64_t tables, uint64_t *size);
int qcow2_backing_fits(struct image *image, const char *name, const char *format,
                       struct qimg_error *err);

/* --- measure.c ------------------------------------------------------------------------------ */

int qcow2_measure(const struct measure_request *request, struct qimg_measure_result *out,
                  struct qimg_error *err);

/* --- check.c -------------------------------------------------------------------------------- */

int qcow2_check(struct image *image, const struct check_request *request,
                struct qimg_check_result *result, struct qimg_error *err);

/* Mends all that can be; findings go to @options->said. */
MUST_CHECK int qcow2_repair_dirty(struct qcow2 *q, const struct image_open_options *options,
                                  struct qimg_error *err);

/* --- open.c --------------------------------------------------------------------------------- */

extern const struct format_ops qcow2_ops;

#endif

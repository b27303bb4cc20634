/* SPDX-License-Identifier: Apache-2.0
 *
 * The metadata of an image that is being written: cached pages of the image file, reference
 * counts, allocation, mapping tables, and the one place that knows in which order all of this
 * reaches the disk. Callers change memory only; no caller can get the order wrong.
 *
 * Epochs. meta_flush() writes what changed in classes, with a barrier (a sync of the data file,
 * then of the image file) between non-empty ones:
 *   (1) guest data already completed, new tables (meta_new_bytes), new refcount blocks, raised
 *       counts; also counts lowered for links whose removal an earlier flush made durable
 *   (2) refcount table entries; where the table moved, a header sector that says so and nothing
 *       else
 *   (3) L1 and L2 links
 *   (4) the header sector
 *   then the barrier that makes it all durable, and after it
 *   (6) reuse and punching of what (1) lowered.
 * (5), the lowering of counts for links that this flush removed, is (1) of the next flush: so
 * it costs no barrier of its own. meta_settle() flushes until nothing waits.
 *
 * Rules for callers:
 *   - raise a count (clusters_alloc, clusters_ref) before making a link in memory; make the link
 *     before lowering (clusters_unref). Then a flush may come at any moment.
 *   - a pointer into a page lasts until the next call of any function of this header.
 *   - all calls for one image are made under one lock (format.h: the host's).
 *   - clusters that no durable structure points at may be written at once (meta_new_bytes, guest
 *     data); everything else goes through meta_edit_page().
 *
 * A failed write or sync of metadata is final: meta_failed() is that error from then on, nothing
 * further is written, not even the header.
 */
#ifndef QCOW2_META_H
#define QCOW2_META_H

#include "qcow2.h"

/* --- barriers ------------------------------------------------------------------------------- */

/* Every place where one write must be durable before another is sent. One row a site; the tests
 * drop each in turn and must notice. */
#define META_SITES(X) \
    X(COUNTS_BEFORE_TABLE, "refcount blocks before the table entries that point at them") \
    X(COUNTS_BEFORE_LINKS, "data, tables and raised counts before L1 and L2 links") \
    X(LINKS_BEFORE_HEADER, "tables, links and what lies behind the header sector, before it") \
    X(FLUSHED, "everything before flush returns, and before counts are lowered or space reused") \
    X(CORRUPT_BIT, "the corrupt bit before the failing request returns")

enum meta_site {
#define META_SITE_ENUM(name, why) META_##name,
    META_SITES(META_SITE_ENUM)
#undef META_SITE_ENUM
        META_SITE_COUNT
};

extern const char *const meta_site_names[META_SITE_COUNT];

/* For tests only: sites whose sync is left out, and sites reached. Bits by enum meta_site. */
extern unsigned meta_test_dropped, meta_test_reached;

/* Makes all that was written before durable: the data file's bytes, then the image file's. */
MUST_CHECK int meta_barrier(struct qcow2 *q, enum meta_site site);

/* --- life ------------------------------------------------------------------------------------- */

/* Loads what writing needs (all of L1, the refcount table) and learns where metadata lies. */
MUST_CHECK int meta_open(struct qcow2 *q, struct qimg_error *err);

/* Drops everything that was not flushed. NULL q->meta is fine. */
void meta_close(struct qcow2 *q);

/* 0, or the final error. */
int meta_failed(const struct qcow2 *q);

/* One epoch, see above. Durable on return 0. */
MUST_CHECK int meta_flush(struct qcow2 *q, struct qimg_error *err);

/* Flushes until all released clusters are free on disk too, but for those that reads pin. */
MUST_CHECK int meta_settle(struct qcow2 *q, struct qimg_error *err);

/* At the beginning of an operation: flushes where too much is dirty. */
MUST_CHECK int meta_make_room(struct qcow2 *q, struct qimg_error *err);

/* --- pages ---------------------------------------------------------------------------------- */

/* Class of a change. A page that is dirty already keeps the lower of both. */
enum meta_class {
    META_NEW = 1,      /* tables that nothing durable points at; refcounts raised */
    META_REFTABLE = 2, /* refcount table entries */
    META_LINKS = 3,    /* L1 and L2 */
};

/* What a metadata cluster is, for overlap checks. Bits. */
enum meta_kind {
    META_KIND_HEADER = 1 << 0,
    META_KIND_L1 = 1 << 1,
    META_KIND_L2 = 1 << 2,
    META_KIND_REFBLOCK = 1 << 3,
    META_KIND_REFTABLE = 1 << 4,
    META_KIND_SNAPSHOTS = 1 << 5,
    META_KIND_INACTIVE_L1 = 1 << 6,
    META_KIND_BITMAPS = 1 << 7, /* the directory */
};

/* Bytes of the image file at @host_off (any; the pointer is to just that byte), valid up to
 * the end of its page, which is qcow2's smaller of 4 KiB and a cluster. */
MUST_CHECK int meta_read_page(struct qcow2 *q, uint64_t host_off, const uint8_t **out);

/* The same, to be changed by the caller right away. @kind: what the structure is. -EIO, and the
 * image is marked corrupt, where the cluster is also something else. */
MUST_CHECK int meta_edit_page(struct qcow2 *q, uint64_t host_off, enum meta_class class,
                              enum meta_kind kind, uint8_t **out);

/* Writes content of clusters that nothing durable points at, at once; class (1). */
MUST_CHECK int meta_new_bytes(struct qcow2 *q, uint64_t host_off, const void *buf, size_t len);

/* Reads @len bytes as they stand in memory: cached pages, else the file. */
MUST_CHECK int meta_read_bytes(struct qcow2 *q, uint64_t host_off, void *buf, size_t len);

/* q->header changed: sector 0 is written at (4), its first bytes encoded from q->header then. */
void header_changed(struct qcow2 *q);

/* The same, with further bytes of sector 0 (from the end of the header fields on) as in @sector:
 * for extensions that change in the same flip. */
void header_changed_with(struct qcow2 *q, const uint8_t sector[QCOW2_SECTOR]);

/* Somebody else, behind a flush, made sector 0 say what q->header says. */
void meta_header_written(struct qcow2 *q);

/* --- counts and clusters -------------------------------------------------------------------- */

/* A run of whole clusters, as bytes of the image file. */
static inline struct qimg_range clusters_of(const struct qcow2 *q, struct qimg_range bytes)
{
    const uint64_t cs = qcow2_cluster_size(q);
    const uint64_t begin = align_down(bytes.off, cs);

    return (struct qimg_range){ begin, align_up(bytes.off + bytes.len, cs) - begin };
}

/* @count consecutive free clusters; their counts are 1 from now on. Grows refcount blocks and
 * table. -ENOSPC past the end of a device, -EFBIG past what the format can say. */
MUST_CHECK int clusters_alloc(struct qcow2 *q, uint64_t count, uint64_t *host_off);

/* The same for bytes that the caller writes all at once, before a link: the file may end with them,
 * inside the last cluster, as QEMU's does behind bitmaps. */
MUST_CHECK int clusters_alloc_loose(struct qcow2 *q, uint64_t count, uint64_t *host_off);

/* As clusters_alloc(), but takes the first free run, of at least 1 and at most @max clusters. */
MUST_CHECK int clusters_alloc_upto(struct qcow2 *q, uint64_t max, uint64_t *host_off,
                                   uint64_t *count);

/* Exactly the cluster at @host_off, if it is free: 1; else 0. */
MUST_CHECK int clusters_alloc_at(struct qcow2 *q, uint64_t host_off);

/* Takes back an allocation that no table, in memory or on disk, ever pointed at. */
void clusters_cancel(struct qcow2 *q, struct qimg_range clusters);

/* One more reference to each of these clusters. -EINVAL where a count would not fit its width. */
MUST_CHECK int clusters_ref(struct qcow2 *q, struct qimg_range clusters);

enum release { RELEASE_KEEP, RELEASE_PUNCH /* give storage back to the file system */ };

/* One reference less, once the removal of the link (already made in memory) is durable. @kinds:
 * what the clusters may be (0: nothing but guest data). -EIO where they are other metadata, which
 * would be free then: see overlap_check(). -ENOMEM: counts stay too high, a leak. */
MUST_CHECK int clusters_unref(struct qcow2 *q, struct qimg_range clusters, unsigned kinds,
                              enum release how);

/* Does the last allocation (asked for right behind it) read as zeros from @host_off on, because it
 * lies beyond the former end of the file? */
bool clusters_fresh(const struct qcow2 *q, uint64_t host_off);

/* --- mapping tables ------------------------------------------------------------------------- */

/* The L2 entry for @guest_off; all zeros where there is no table. */
MUST_CHECK int l2_entry_get(struct qcow2 *q, uint64_t guest_off, struct qcow2_l2_entry *out);

/* Makes sure that the L2 table for @guest_off exists and is ours alone (grows L1, allocates, copies
 * a shared one), so that l2_entry_set() there needs no space. */
MUST_CHECK int l2_table_prepare(struct qcow2 *q, uint64_t guest_off);

/* Prepares, then replaces the entry. Counts are the caller's business. */
MUST_CHECK int l2_entry_set(struct qcow2 *q, uint64_t guest_off, struct qcow2_l2_entry entry);

/* Makes L1 at least @count entries long (new place, header change; old one released). */
MUST_CHECK int l1_grow(struct qcow2 *q, uint64_t count);

/* Drops one reference to what @entry points at (data, reserved zeros, packed sectors). Without
 * memory that is a leak, and no error. */
MUST_CHECK int l2_entry_unref(struct qcow2 *q, struct qcow2_l2_entry entry, enum release how);

/* --- overlap -------------------------------------------------------------------------------- */

/* Notes that these clusters are (or are no more) metadata of @kind. */
MUST_CHECK int overlap_note(struct qcow2 *q, struct qimg_range clusters, enum meta_kind kind);
void overlap_forget(struct qcow2 *q, struct qimg_range clusters);

/* 0, or -EIO where a byte of @bytes is metadata other than @kind (0: any): the image is marked
 * corrupt, and refuses everything from then on. Call before each write of guest data. */
MUST_CHECK int overlap_check(struct qcow2 *q, struct qimg_range bytes, unsigned kind);

/* Sets the corrupt bit on disk (version 3) and makes the image refuse everything further.
 * Returns -EIO; @why: "Preventing invalid write on metadata (overlaps with ...)". */
int meta_mark_corrupt(struct qcow2 *q, const char *why);

/* QEMU's "Marking image as corrupt: ..." line of the event, or NULL. */
const char *meta_corruption(const struct qcow2 *q);

/* --- persistent bitmaps (bitmap_write.c) ---------------------------------------------------- */

/* First guest write: marks them in use, durable on return. */
MUST_CHECK int qcow2_bitmaps_begin_writing(struct qcow2 *q, struct qimg_error *err);

/* The guest changed @range: into all enabled bitmaps, in memory. */
void qcow2_bitmaps_record(struct qcow2 *q, struct qimg_range range);

/* Before meta_close, after a flush: writes them and takes the in-use marks away. */
MUST_CHECK int qcow2_bitmaps_store(struct qcow2 *q, struct qimg_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * struct meta, for the files of the write engine among themselves: pages (meta_page.c), epochs
 * (meta.c), counts (refcount_write.c), allocation (alloc.c), releases (release.c), overlap.c,
 * tables (l2_write.c), and the guest's side (write.c, zero.c, packed_write.c, write_ops.c).
 *
 * Invariants:
 *   (1) pages[]: a page is in the hash, and in exactly one of the lists clean (most recently used
 *       first) and dirty.
 *   (2) reftable[i] is what the table says in memory; the pages of the table on disk follow.
 *   (3) counts in pages never lack a reference that some link in memory or on disk makes: what was
 *       released and waits is in released[], and still counted.
 *   (4) disk_header is the header as last written.
 *   (5) nobody has written at or behind fresh_off since the file was opened, and it ended there.
 */
#ifndef QCOW2_META_INTERNAL_H
#define QCOW2_META_INTERNAL_H

#include "blanks.h"
#include "meta.h"
#include "pieces.h"

/* Memory for clean pages, and for dirty ones before a flush. */
#define META_BUDGET (8 * MiB)

struct page {
    uint64_t off;
    struct page *hash_next, *prev, *next;
    uint8_t class; /* enum meta_class, 0 = clean */
    uint8_t *bytes;
};

struct page_list {
    struct page *first, *last;
    size_t count;
};

/* Clusters that lost a reference. */
struct released {
    uint64_t cluster, count;
    uint64_t stamp; /* of the flush that made the removal of the link durable */
    bool durable;   /* it is */
    bool punch;
};

DEFINE_VEC(released_vec, struct released)

/* What the clusters of one aligned group are: bits of enum meta_kind for each; see overlap.c. */
#define OVERLAP_GROUP 16

struct overlap_group {
    uint64_t number; /* of the group, from 1; 0 = free */
    uint8_t kinds[OVERLAP_GROUP];
};

struct overlap_map {
    struct overlap_group *slots; /* owned */
    unsigned slot_bits;          /* log2 of their number */
    size_t taken;
    uint64_t secret;
    struct piece_vec inactive; /* L1 tables of snapshots */
    uint64_t *past_end;        /* owned: where L2 tables are said to be behind the file's end */
    size_t past_end_count;
};

enum write_how {
    WRITE_IN_PLACE, /* the entry stays */
    WRITE_RELINK,   /* the host cluster stays, the entry changes */
    WRITE_ALLOC,    /* new host clusters */
    WRITE_PACKED,
};

struct meta {
    int failed;           /* final */
    char corruption[200]; /* "" = none */

    uint32_t page_size;
    struct page **buckets;
    size_t bucket_count;
    struct page_list clean, dirty;

    uint64_t *reftable;
    uint64_t reftable_count;
    unsigned block_bits; /* log2 of the counts in a block */
    bool reftable_moved;

    struct qcow2_header disk_header;
    bool header_dirty, has_sector;
    uint8_t sector[QCOW2_SECTOR];

    uint64_t free_hint;             /* clusters before it are taken */
    uint64_t fresh_off, fresh_last; /* now, and before the last allocation */
    uint64_t taken_end, covered;    /* of allocations; how much of it the file is known to have */
    uint64_t host_end;              /* no cluster can end behind it */
    bool is_device;
    uint64_t packed_next; /* where packed bytes may go on inside a cluster; 0 = nowhere */
    struct released_vec released;

    struct overlap_map overlaps;
    struct write_plan *plans;     /* under way */
    struct io_queue *queue;       /* made when first needed */
    struct blanks blanks;         /* of tables, in the file */
    bool unsynced, data_unsynced; /* something was written since the last sync */
};

/* The final error. */
int meta_fail(struct qcow2 *q, int rc);

/* --- meta_page.c --- */

int pages_open(struct qcow2 *q);
void pages_close(struct meta *m);

/* Has any page of these bytes, which may differ from the file's then? */
bool pages_any(const struct meta *m, struct qimg_range bytes);

/* Drops all pages of these bytes, dirty or not. */
void pages_forget(struct qcow2 *q, struct qimg_range bytes);

/* Writes all dirty pages of @class; they are clean then. */
int pages_write(struct qcow2 *q, enum meta_class class);
bool pages_dirty(const struct meta *m, enum meta_class class);

/* --- overlap.c --- */

/* Learns where the metadata of the image lies, from its tables in memory. */
MUST_CHECK int overlap_open(struct qcow2 *q);
void overlap_close(struct meta *m);

/* --- refcount_write.c --- */

static inline uint64_t refcount_max(const struct qcow2 *q)
{
    return UINT64_MAX >> (64 - (1u << q->header.refcount_order));
}

/* The count in memory, releases not taken off. */
int refcount_raw(struct qcow2 *q, uint64_t cluster, uint64_t *count);

/* Sees to it that the blocks for [cluster, +count) exist. 0: they did. 1: some had to be made,
 * which takes free clusters: the caller searches again. */
int refblocks_ensure(struct qcow2 *q, uint64_t cluster, uint64_t count);

bool refblocks_exist(const struct qcow2 *q, uint64_t cluster, uint64_t count);

/* Makes blocks for [cluster, +count), all of them free, in its first clusters; *blocks: how many
 * those are. The caller counts them. The table is long enough. */
int refblocks_place(struct qcow2 *q, uint64_t cluster, uint64_t count, uint64_t *blocks);

/* Takes the first @blocks of them back: they could not be counted. */
void refblocks_unplace(struct qcow2 *q, uint64_t cluster, uint64_t count, uint64_t blocks);

/* Sees to it that the table can describe clusters up to number @end. 0: it could. 1: it had to be
 * made longer: the caller searches again. */
int reftable_reach(struct qcow2 *q, uint64_t end);

/* Adds 1 to each count; all or nothing. Blocks exist. */
int refcounts_raise(struct qcow2 *q, uint64_t cluster, uint64_t count);

/* Takes 1 off; *left: what it is now. Stays at 0 where it was 0. */
int refcount_lower(struct qcow2 *q, uint64_t cluster, uint64_t *left);

/* The first cluster number at or after @from whose count is (not) 0, at most @end. */
int refcount_find(struct qcow2 *q, uint64_t from, uint64_t end, bool used, uint64_t *out);

/* --- alloc.c --- */

/* Bookkeeping for clusters [cluster, +count), which are free now. */
void alloc_freed(struct qcow2 *q, uint64_t cluster, uint64_t count);

/* Bookkeeping for clusters that were just taken. */
void alloc_taken(struct qcow2 *q, uint64_t cluster, uint64_t count);

/* Makes the file as long as what was allocated: nothing may point past its end, and what nobody
 * wrote there reads as zeros. */
int alloc_cover(struct qcow2 *q);

/* -ENOSPC or -EFBIG where clusters up to @end (a number) cannot be. */
int alloc_check_end(const struct qcow2 *q, uint64_t end);

/* Makes new clusters read as zeros, if they do not yet. @fresh: they did when allocated. */
int alloc_clear(struct qcow2 *q, uint64_t host_off, uint64_t len, bool fresh);

/* --- release.c --- */

/* Lowers counts and punches, as far as that is due. */
int release_due(struct qcow2 *q);

/* After the last barrier of a flush. @stamp: made before it. */
void release_flushed(struct qcow2 *q, uint64_t stamp);

/* --- write.c --- */

/* One guest cluster as its entry says. */
struct cluster_view {
    uint64_t guest_off; /* of the cluster */
    struct qcow2_l2_entry entry;
    struct qcow2_cluster cluster;
    bool copied; /* its host cluster may be written in place */
};

/* -EIO where the entry makes no sense. */
int view_cluster(struct qcow2 *q, uint64_t guest_off, struct cluster_view *out);

/* Guest bytes from @clusters.off on that no plan under way forbids to change (@map_only: whose
 * place no plan changes). */
uint64_t plans_free_until(const struct qcow2 *q, struct qimg_range clusters, bool map_only);

void plan_add(struct qcow2 *q, struct write_plan *plan);

static inline bool has_backing(const struct qcow2 *q)
{
    return q->image.backing_name != NULL;
}

/* Refuses all after a final error. */
int write_enter(struct qcow2 *q, struct qimg_error *err);

/* Fills @err where the callee left only a code. */
int write_result(struct qcow2 *q, int rc, const char *what, struct qimg_error *err);

int qcow2_write_begin(struct image *image, struct qimg_range want, struct write_plan *plan,
                      struct qimg_error *err);
int qcow2_write_commit(struct image *image, struct write_plan *plan, struct qimg_error *err);
void qcow2_write_abort(struct image *image, struct write_plan *plan);
int qcow2_packed_begin(struct image *image, uint64_t guest_off, uint32_t packed_len,
                       struct write_plan *plan, struct qimg_error *err);
int qcow2_zero(struct image *image, struct qimg_range want, unsigned flags,
               struct write_zeroed *out, struct qimg_error *err);
int qcow2_discard(struct image *image, struct qimg_range want, uint64_t *done,
                  struct qimg_error *err);

extern const struct format_write_ops qcow2_write_ops;

#endif

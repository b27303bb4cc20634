/* SPDX-License-Identifier: Apache-2.0
 *
 * A new state of an image, built beside the old one and made the image's by one write of the
 * header sector: for verbs that change many pointers at once (snapshots, resize, amend).
 *
 *     shadow_begin()     loads the refcount table
 *     shadow_alloc/put   new tables, in clusters that the old state does not count
 *     shadow_ref/unref   what the new state counts more or less than the old one
 *     s.header = ...     what the header will say
 *     shadow_commit()    new refcount blocks and table; sync; the header sector; sync; and only
 *                        then truncation and punching of what the new state does not count
 *     shadow_end()       releases it; before the flip, gives back what the file grew by
 *
 * Invariants:
 *   (1) Before the flip no byte of a cluster is written that the old state counts. New clusters
 *       lie behind everything that is counted and behind the end of the file; only where a device
 *       has no room there (or where told so) in clusters inside that the old state does not count.
 *       In none of them the old state has a structure.
 *   (2) The new counts tell the truth about the new state: the old tables are not counted, so a
 *       crash after the flip leaks nothing, and before it the half-built shadow lies where the old
 *       state counts nothing.
 *   (3) A cluster that the new state releases is not used for the new state.
 *   (4) Memory: SHADOW_BUDGET of refcount blocks, a table of one entry a block, a write buffer;
 *       where clusters inside are looked for, all counts of the old state too.
 *
 * A cluster of shadow_alloc() is counted once, by and by; shadow_count() sees all of it.
 */
#ifndef QCOW2_SHADOW_H
#define QCOW2_SHADOW_H

#include "admin.h"
#include "blanks.h"
#include "checked.h"
#include "pieces.h"
#include "qcow2.h"

#define SHADOW_BUDGET (16 * MiB)

/* --- counts (shadow_counts.c) --------------------------------------------------------------- */

struct shadow_block {
    uint64_t off;   /* where its counts stand; 0 = nowhere, they are all 0 */
    uint8_t *bytes; /* NULL = not in memory */
    bool changed;   /* counts differ from the old state's */
    bool placed;    /* off is in the shadow */
    bool dirty;     /* bytes are newer than what stands at off */
};

/* A refcount structure as it will be; starts as that of the header it was opened with. */
struct shadow_counts {
    struct io_file *file;
    unsigned cluster_bits, order, block_bits; /* log2 of the counts in a block */
    struct shadow_block *blocks;
    size_t count, room;
    size_t loaded, hand, budget; /* blocks in memory; where eviction goes on; blocks at most */
    /* A new place for a block that stood at @old_off (0 = nowhere). */
    int (*place)(void *user, uint64_t old_off, uint64_t *host_off);
    void *user;
};

/* -EUCLEAN: the refcount table names a block that cannot be. */
MUST_CHECK int shadow_counts_load(struct shadow_counts *c, const struct qcow2 *q);
/* An empty structure of another width. */
void shadow_counts_init(struct shadow_counts *c, const struct qcow2 *q, unsigned order);
void shadow_counts_release(struct shadow_counts *c);

MUST_CHECK int shadow_counts_get(struct shadow_counts *c, uint64_t cluster, uint64_t *out);
MUST_CHECK int shadow_counts_set(struct shadow_counts *c, uint64_t cluster, uint64_t value);

enum shadow_change {
    SHADOW_LESS,
    SHADOW_MORE, /* for a cluster that is counted */
    SHADOW_NEW,  /* more, for a cluster that may not be counted yet */
};

struct shadow_delta {
    enum shadow_change change;
    uint64_t times;
};

/* Changes @n counts from @first on. -EINVAL: one would not fit its width; -EBADMSG: one is too low
 * for the use that is made of the cluster. *zeroed: how many became 0. */
MUST_CHECK int shadow_counts_add(struct shadow_counts *c, uint64_t first, uint64_t n,
                                 struct shadow_delta delta, uint64_t *zeroed);

/* Is nothing counted in block @i? @blanks: what was learned of the old state's other blocks. */
MUST_CHECK int shadow_counts_none_in(struct shadow_counts *c, size_t i, struct blanks *blanks,
                                     bool *none);

/* One past the last cluster that is counted. */
MUST_CHECK int shadow_counts_end(struct shadow_counts *c, uint64_t *out);

/* Gives @b a place of its own in the shadow; a block that leaves memory does so by itself. */
MUST_CHECK int shadow_counts_place(struct shadow_counts *c, struct shadow_block *b);

/* Writes the dirty blocks, all of which are placed. */
MUST_CHECK int shadow_counts_flush(struct shadow_counts *c);

/* The place() of counts that a shadow will have: @user is the shadow. */
MUST_CHECK int shadow_place_block(void *user, uint64_t old_off, uint64_t *host_off);

/* --- structures (shadow_guard.c) ------------------------------------------------------------ */

struct shadow;

/* Fills s->kept: where the old state has structures, whatever its counts say, as far as they end
 * behind byte @from. Nothing was changed yet. */
MUST_CHECK int shadow_guard_old(struct shadow *s, uint64_t from);

/* -EBADMSG where the new state would leave a structure of its own uncounted, so that its clusters
 * would be punched or used again: the old counts were too low, or two structures share a cluster.
 */
MUST_CHECK int shadow_guard_released(struct shadow *s);

/* --- the shadow ----------------------------------------------------------------------------- */

enum shadow_where {
    SHADOW_BEHIND, /* (1): behind everything */
    SHADOW_INSIDE, /* from cluster 1 on, where the old state counts nothing */
};

struct shadow {
    struct qcow2 *q;
    struct shadow_counts counts;
    struct shadow_counts old; /* and what was taken inside; loaded when that is first asked for */
    struct piece_vec kept;    /* structures of the old state, counted or not, that may be met */
    size_t passed;            /* of them: they lie before next */
    struct qcow2_header header;
    const uint8_t *sector; /* replaces all of sector 0 behind the header's fields; NULL = kept */
    enum shadow_where where;
    uint64_t next;              /* cluster behind all that are counted or taken */
    uint64_t inside;            /* the first one that may be free before them */
    uint64_t file_size;         /* when it began */
    uint64_t counted_end;       /* clusters that the old state counts end here */
    uint64_t host_end;          /* clusters: the device's, or what an entry can name */
    struct range_vec taken;     /* bytes: allocated and not counted yet */
    struct range_vec left;      /* bytes: old places of blocks, still counted */
    struct range_vec released;  /* bytes whose counts became 0 */
    bool released_more;         /* and others, not noted */
    struct range_vec unwritten; /* bytes of taken that shall read as zeros and are not written */
    size_t counted;             /* of taken */
    uint64_t written_end;       /* byte behind the last one written by put */
    uint8_t *buffer;            /* collects neighbouring writes */
    struct qimg_range buffered;
    uint64_t first;             /* byte from which on clusters were allocated */
    bool in_place;              /* shadow_finish() leaves what was built where it is */
    bool grown;                 /* the file may be longer than file_size */
    bool flipped;               /* the header was written, or may have been */
    struct blanks blanks;       /* of tables of the old state */
    admin_progress_fn progress; /* NULL = nobody asks to stop */
    void *progress_user;
    uint64_t walked, to_walk; /* words of L1 tables */
    /* A structure that is to lie last, at the end of the file. */
    const void *last;
    size_t last_len;
    uint64_t *last_off; /* filled in before the header is encoded */
};

MUST_CHECK int shadow_begin(struct shadow *s, struct qcow2 *q, enum shadow_where where);
void shadow_end(struct shadow *s);

/* Tells @progress of further L1 words to be walked, and stops with -ECANCELED when asked to. */
void shadow_tell(struct shadow *s, admin_progress_fn progress, void *user, uint64_t to_walk);
MUST_CHECK int shadow_progress(struct shadow *s);

/* --- space (shadow_space.c) ----------------------------------------------------------------- */

/* @count consecutive clusters. -ENOSPC where a device has no such room. */
MUST_CHECK int shadow_alloc(struct shadow *s, uint64_t count, uint64_t *host_off);

/* The same for clusters that shall read as zeros, which need not be written then. */
MUST_CHECK int shadow_alloc_zeros(struct shadow *s, uint64_t count, uint64_t *host_off);

/* The first run of @count clusters behind everything, tables that are said to be behind the end of
 * the file included. @passed: how many of s->kept lie before it. */
uint64_t shadow_find_behind(const struct shadow *s, uint64_t count, size_t *passed);

/* --- building ------------------------------------------------------------------------------- */

/* Writes into clusters of shadow_alloc(). */
MUST_CHECK int shadow_put(struct shadow *s, uint64_t host_off, const void *buf, size_t len);

/* One reference more or less to each cluster that @bytes touches, all counted by the old state.
 * -EINVAL: a count would not fit its width; -EBADMSG: one is in use, and not counted. */
MUST_CHECK int shadow_unref(struct shadow *s, struct qimg_range bytes);

/* The same, @times of them. */
MUST_CHECK int shadow_ref_times(struct shadow *s, struct qimg_range bytes, uint64_t times);
MUST_CHECK int shadow_unref_times(struct shadow *s, struct qimg_range bytes, uint64_t times);

/* @times further references to a cluster of shadow_alloc(). */
MUST_CHECK int shadow_share(struct shadow *s, uint64_t host_off, uint64_t times);

/* How often the new state refers to the cluster at @host_off, once for all of shadow_alloc(). */
MUST_CHECK int shadow_count(struct shadow *s, uint64_t host_off, uint64_t *out);

/* See above. On failure the image is as it was unless s->flipped; then its state is one of both,
 * and nothing more may be written. The image in memory is not changed: see qcow2_reload(). */
MUST_CHECK int shadow_commit(struct shadow *s);

/* Leaves @clusters free before the shadow, for what shadow_gather() will move there. */
void shadow_leave_gap(struct shadow *s, uint64_t clusters);

/* The end of a verb: releases the shadow, brings the image in memory up to date where it flipped,
 * and says what went wrong where @err does not yet: "@what: strerror", or that alone where @what is
 * NULL. -EUCLEAN (an entry that cannot be) is said as -EIO, with advice. A small shadow is gathered
 * then. @err was cleared when the verb began. */
MUST_CHECK int shadow_finish(struct shadow *s, int rc, const char *what, struct qimg_error *err);

/* Moves tables that lie at or behind @floor into free clusters before it, by a shadow of their own,
 * so that images do not grow with every verb (shadow_gather.c). The image in memory is up to date
 * before and after. A failure leaves the tables where they are: not an error, but for one after the
 * flip. */
MUST_CHECK int shadow_gather(struct qcow2 *q, uint64_t floor, struct qimg_error *err);

/* Writes sector 0 as @header says, durably: a change that needs no shadow. */
MUST_CHECK int qcow2_flip_header(struct qcow2 *q, const struct qcow2_header *header,
                                 const uint8_t *sector);

/* Reads header, extensions, L1 and snapshots again, after a flip. */
MUST_CHECK int qcow2_reload(struct qcow2 *q, struct qimg_error *err);

#endif

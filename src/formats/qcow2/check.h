/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of check over an image, and what its parts offer each other. The order of everything
 * is QEMU's, so that the same sentences come in the same order:
 *   snapshot table; header, L1, L2, snapshots' L1 and L2, snapshot table, refcount table, crypto
 *   header, bitmaps, refcount blocks; comparison with the counts on disk; COPIED flags.
 *
 * What the metadata that is there costs is all that it may cost, however many tables share it. So a
 * check goes in phases, enum check_phase: it looks at everything once, in the order of the file,
 * silently, and each table counts as often as it is linked. Where that met nothing to be told, all
 * is known. Else the tables are gone through in QEMU's order, but only what is loud is visited,
 * each time that it is linked.
 *
 * Invariants:
 *   (1) mem[n] is how often cluster n is referred to by what was looked at; mem.length is the
 * number of clusters of the file, at most one more where the last one is cut. (2) disk[n] is what
 * the refcount blocks say about cluster n, or will say once what is staged in the mender is
 * written. Clusters whose block cannot be read have 0 there (block_state tells). (3) Repair never
 * lowers a count before the links are right and durable, never links what is not durably counted,
 * and switches to rebuilt structures by one write of the header's sector (repair.c).
 */
#ifndef QCOW2_CHECK_H
#define QCOW2_CHECK_H

#include <assert.h>
#include <inttypes.h>

#include "check_census.h"
#include "check_request.h"
#include "counts.h"
#include "io.h"
#include "mender.h"
#include "pieces.h"
#include "problems.h"
#include "qcow2.h"

enum problem {
#define PROBLEM_ENUM(name, id, severity, structure, text, mend) PROBLEM_##name,
    PROBLEMS(PROBLEM_ENUM)
#undef PROBLEM_ENUM
};

#define PROBLEM_TEXT(name, id, severity, structure, text, mend) \
    __attribute__((unused)) static const char problem_text_##name[] = text;
PROBLEMS(PROBLEM_TEXT)
#undef PROBLEM_TEXT

/* A snapshot as check needs it: also where its table entry is broken. */
struct check_snapshot {
    uint64_t l1_off;
    uint32_t l1_count;
    uint32_t extra_len; /* as it stands */
    uint64_t disk_size, vm_state_size;
    uint8_t *entry; /* owned: as it stands, but extra data is cut to kept_extra */
    uint32_t kept_extra, id_len, name_len;
};

DEFINE_VEC(check_snapshot_vec, struct check_snapshot)

struct found {
    enum problem problem;
    bool repaired;
    enum qimg_check_severity severity;
    char *text; /* owned */
    uint64_t host_off;
    struct qimg_range guest;
};

DEFINE_VEC(found_vec, struct found)

/* What is known of a refcount table entry. Bits. */
enum block_state {
    BLOCK_UNALIGNED = 1 << 0,
    BLOCK_FAILED = 1 << 1, /* cannot be read */
    BLOCK_RAISED = 1 << 2, /* disk holds counts for it that are to be written */
    BLOCK_LOWERED = 1 << 3,
};

enum check_phase {
    CHECK_LOOKING,  /* each reference counts in mem, without limit; what is wrong is only heard */
    CHECK_WEIGHING, /* each reference is asked which hot cluster it leads to */
    CHECK_TELLING,  /* what is wrong is told and mended; of counts, only those of hot clusters go up
                     */
    CHECK_COUNTING, /* each reference counts in mem and is told where it does not fit */
};

/* A cluster that more refer to than its count can say. */
struct hot_cluster {
    uint64_t cluster;
    uint64_t total; /* references, refcount blocks not counted */
    uint64_t count; /* so far, while it is told of them */
};

/* A table that leads to one, and has nothing else to tell. */
struct hot_table {
    uint64_t off;
    uint64_t silent; /* visits at which no count can overflow yet */
    uint64_t left;   /* of these, still to come */
};

DEFINE_VEC(hot_cluster_vec, struct hot_cluster)
DEFINE_VEC(hot_table_vec, struct hot_table)
DEFINE_VEC(page_vec, uint64_t)

#define CHECK_HOLES 64u

struct check {
    struct qcow2 *q;
    const struct check_request *request;
    struct qimg_check_result *res; /* what is being counted into */
    bool fix_leaks, fix_errors;
    bool mend_flags; /* COPIED */
    bool rebuild;    /* refcounts cannot be mended in place */
    bool two_in_one; /* nor these: a block is something else too, which one bit cannot count */
    bool signaled;   /* QEMU tells of the first unaligned block only */
    uint64_t file_size;
    uint64_t refcount_max;

    struct counts mem, disk;
    uint64_t *reftable; /* owned; words as they stand */
    uint32_t reftable_count;
    uint8_t *block_state; /* owned; bits of enum block_state for each entry of reftable */
    uint64_t suspects;    /* COPIED flags that seem wrong */
    bool disk_changed;    /* by repair */

    struct check_snapshot_vec snapshots;
    uint64_t snapshots_off, snapshots_len;
    uint32_t snapshot_count, snapshots_cut;

    enum check_phase phase;
    uint64_t weight;   /* looking: how often what is looked at counts */
    uint32_t active;   /* of that, for the active state */
    uint64_t heard;    /* by the last look: problems */
    uint64_t heaviest; /* weighing: the greatest total met */
    struct census census;
    struct io_extent holes[CHECK_HOLES]; /* seen last, by place */
    struct page_vec loud_pages;          /* of L1 tables, in order; in units of CHECK_PAGE */
    bool loud_bitmaps;
    struct qimg_range unread; /* of L1 or bitmap tables: could not be read ... */
    int unread_rc;            /* ... because of this */
    struct hot_cluster_vec hot;
    struct hot_table_vec hot_tables;
    uint64_t walked, to_walk; /* L2 tables, for progress */
    struct mender mender;
    uint64_t mends, l2_mends;      /* entries replaced while tables are walked; in L2 tables */
    struct counts before;          /* mem before anything was mended, refcount blocks included */
    bool knows_metadata;           /* what follows is filled: where there are ... */
    struct piece_vec l1_pieces;    /* ... L1 tables, */
    struct piece_vec cut_pieces;   /* ... those of them that pass the end of the file, */
    struct piece_vec count_pieces; /* ... refcounts */
    uint64_t asked_cluster[2];     /* by repair_kind: cluster + 1 that was asked about last ... */
    bool asked_answer[2];          /* ... and whether it may be written */
    uint64_t l1_off;               /* of the L1 table that is being walked */
    bool extended;                 /* the file was made longer: disk must be loaded again */
    struct io_queue *queue;
    struct found_vec found; /* kept back until explained */
    struct wanted *wanted;  /* check_explain.c's, sorted */
    size_t wanted_count;
    bool silent;        /* what is found again is not told again */
    uint64_t one_block; /* refcount block in one_block_bytes; UINT64_MAX = none */
    uint8_t *one_block_bytes;
};

/* --- check.c: telling ------------------------------------------------------------------------- */

/* Where a problem is. */
struct place {
    uint64_t host_off;       /* QIMG_NO_OFFSET = nowhere */
    struct qimg_range guest; /* len 0 = none, or not known yet */
};

#define NOWHERE ((struct place){ .host_off = QIMG_NO_OFFSET })
#define AT(off) ((struct place){ .host_off = (off) })

void check_report(struct check *c, enum problem problem, struct place place, bool repaired,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);

#define REPORT(c, problem, place, repaired, ...) \
    check_report(c, PROBLEM_##problem, place, repaired, problem_text_##problem, ##__VA_ARGS__)

/* "Repairing" or "ERROR" */
static inline const char *check_verb(bool repaired)
{
    return repaired ? "Repairing" : "ERROR";
}

static inline uint64_t check_cluster_of(const struct check *c, uint64_t host_off)
{
    return host_off >> c->q->header.cluster_bits;
}

/* --- check_look.c: what refers to which cluster --------------------------------------------- */

/* Looks at everything that the header leads to but the refcount blocks: fills mem, and what
 * check_tell() goes by. */
MUST_CHECK int check_look(struct check *c);

/* Is there anything to be told at this entry of an L1 table? Of tables that were looked at. */
bool check_is_loud(const struct check *c, uint64_t word);

/* Is its L1 table one that is walked? */
bool check_walks_snapshot(const struct check *c, const struct check_snapshot *s);

#define CHECK_L1_RESERVED UINT64_C(0x7f000000000001ff)
#define CHECK_PAGE        (4 * KiB)

/* --- check_hot.c: counts that do not fit ------------------------------------------------------ */

/* @cluster is referred to more often than its count can say. */
MUST_CHECK int check_hot_add(struct check *c, uint64_t cluster);

/* After all was looked at: which tables lead there, and when that is to be told first. */
MUST_CHECK int check_hot_weigh(struct check *c);

/* Weighing and telling: a reference to each of @n clusters, as often as weight says. */
void check_hot_refer(struct check *c, uint64_t first, uint64_t n, struct place place);

bool check_is_hot(const struct check *c, uint64_t first, uint64_t n);

/* A visit to a hot table in its turn: how often it counts then, 0 = nothing is to be done. */
uint64_t check_hot_visit(struct check *c, uint64_t table_off);

/* mem holds what counts can say. */
MUST_CHECK int check_hot_clip(struct check *c);

/* --- check_tables.c: telling ---------------------------------------------------------------- */

/* Tells, and mends, in QEMU's order, what check_look() heard. */
MUST_CHECK int check_tell(struct check *c);

/* One more reference to each cluster that @bytes touch (looking: as many as weight says). */
MUST_CHECK int check_refer(struct check *c, struct qimg_range bytes, struct place place);

/* The same for clusters that lie inside the file. */
MUST_CHECK int check_refer_clusters(struct check *c, uint64_t first, uint64_t n,
                                    struct place place);

/* Does a reference to @bytes lead past the end, by more than the rest of a cut last cluster? */
bool check_is_past_end(const struct check *c, struct qimg_range bytes);

/* May the file be made so long, to mend that? */
bool check_may_extend(const struct check *c, struct qimg_range bytes);

/* Makes the file hold @bytes, in a repair: what lies past the end read as zeros and still does.
 * -EINVAL and -EFBIG: that place is none for anything. */
MUST_CHECK int check_extend(struct check *c, struct qimg_range bytes);

bool check_bitmap_word_is_sound(const struct check *c, uint64_t word);

/* Gives found[] their guest ranges: what of the active state lies in clusters that they name. */
MUST_CHECK int check_explain(struct check *c);

/* --- check_walk.c: tables, read ahead ------------------------------------------------------- */

/* What is done with the words of a table. */
struct word_walk {
    int (*each)(struct check *c, void *arg, uint64_t off, uint64_t word);
    int (*unread)(struct check *c, void *arg, struct qimg_range bytes, int rc); /* ends it */
    void *arg;
};

/* All words but zeros of the table at @bytes, as far as the file goes. */
MUST_CHECK int check_each_word(struct check *c, struct qimg_range bytes,
                               const struct word_walk *walk);

struct walked_table {
    uint64_t l1_index, l2_off;
    uint64_t weight; /* > 0, as wants() said */
    uint8_t *bytes;  /* one cluster */
    bool active;
};

/* Visits the L2 tables of the words that are added, in order, reading ahead. @before, where there
 * is one, is called for each word in its turn; tables for which @wants is 0 are not visited. */
struct table_walk {
    struct check *check;
    bool active;
    uint64_t l1_off;
    uint64_t (*wants)(struct check *c, uint64_t l2_off);
    int (*before)(struct check *c, uint64_t l1_index, uint64_t word, bool active); /* 1: skip */
    int (*visit)(struct check *c, struct walked_table *table);
    /* It cannot be read. */
    int (*failed)(struct check *c, const struct walked_table *table, int rc);

    /* check_walk.c's own */
    struct walk_slot *slots;
    unsigned count;
    uint64_t sent, seen;
};

MUST_CHECK int table_walk_add(struct table_walk *w, uint64_t l1_index, uint64_t word);

/* Visits what is left. */
MUST_CHECK int table_walk_end(struct table_walk *w);

void table_walk_release(struct table_walk *w);

/* All words of the active L1 table that lead anywhere; releases @w. */
MUST_CHECK int check_walk_active(struct check *c, struct table_walk *w);

/* --- check_entries.c: one L2 table ---------------------------------------------------------- */

int check_l2_table(struct check *c, struct walked_table *table);

/* --- check_refcounts.c: what the disk says -------------------------------------------------- */

/* Loads the refcount table and all blocks into disk. */
MUST_CHECK int check_load_counts(struct check *c);

/* Refers to the blocks, and looks at the table. */
MUST_CHECK int check_blocks(struct check *c);

/* Compares mem and disk; with @fix, what may be mended is set in disk, for repair_counts() to
 * write.
 * @highest: the last cluster in use. */
MUST_CHECK int check_compare(struct check *c, bool fix, uint64_t *highest);

/* What the disk counts for a cluster, also beyond the file. -EIO: its block cannot be read. */
MUST_CHECK int check_disk_count(struct check *c, uint64_t cluster, uint64_t *count);

static inline uint64_t check_counts_of_block(const struct check *c)
{
    return qcow2_cluster_size(c->q) * 8 >> c->q->header.refcount_order;
}

/* --- check_copied.c ------------------------------------------------------------------------- */

MUST_CHECK int check_copied(struct check *c);

/* --- check_snapshots.c ---------------------------------------------------------------------- */

/* Reads the table, tolerating under fix_errors what can be cut off. */
MUST_CHECK int check_read_snapshots(struct check *c);

/* The table written anew: *len bytes, malloc'ed. */
MUST_CHECK int check_encode_snapshots(const struct check *c, uint8_t **out, uint64_t *len);

void check_snapshots_release(struct check_snapshot_vec *snapshots);

/* --- repair.c ------------------------------------------------------------------------------- */

enum repair_kind { REPAIR_L1, REPAIR_L2 };

/* Where other metadata lies is looked up again when it is asked for next. */
void repair_forget_metadata(struct check *c);

/* May the table in the cluster at @off be written: is it nothing but a table of that kind? (Else
 * the write would change the guest's data, or other metadata.) */
MUST_CHECK bool repair_may_write(struct check *c, uint64_t off, enum repair_kind kind);

/* Replaces the L2 entry at @entry_off (len 8 or 16). */
MUST_CHECK int repair_entry(struct check *c, uint64_t entry_off, const void *bytes, size_t len,
                            enum repair_kind kind);

/* Writes counts of disk[] that went up (@raised) or down since they were loaded. */
MUST_CHECK int repair_counts(struct check *c, bool raised);

/* New refcount blocks and a table for mem, in free space; and, with @snapshots, a new snapshot
 * table. One header write flips to them. */
MUST_CHECK int repair_rebuild(struct check *c, bool snapshots, struct qimg_error *err);

/* Changes bytes of the header's sector: one write, durable on return. */
MUST_CHECK int repair_header(struct check *c, unsigned off, const void *bytes, size_t len);

/* Clears the dirty and the corrupt bit. */
MUST_CHECK int repair_mark_clean(struct check *c);

#endif

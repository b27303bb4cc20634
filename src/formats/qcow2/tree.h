/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables below an L1 table, as verbs that build a shadow walk them: loading them, what their
 * entries refer to, and the COPIED bits that the new counts ask for.
 */
#ifndef QCOW2_TREE_H
#define QCOW2_TREE_H

#include "shadow.h"

/* An L1 table in host order; words past the end of the file are 0. */
struct tree_l1 {
    uint64_t *words; /* owned */
    uint64_t count;
    uint64_t off;
};

/* @count is within the header's limits; @off was checked. */
MUST_CHECK int tree_l1_load(const struct qcow2 *q, uint64_t off, uint64_t count,
                            struct tree_l1 *out);

/* That of a snapshot, which nobody has checked yet. */
MUST_CHECK int tree_l1_load_snapshot(const struct qcow2 *q, const struct qcow2_snapshot *s,
                                     struct tree_l1 *out);

void tree_l1_release(struct tree_l1 *l1);

/* The whole table into new clusters. */
MUST_CHECK int tree_l1_put(struct shadow *s, const uint64_t *words, uint64_t count,
                           uint64_t *host_off);

/* Makes @words the active L1 table, and drops the old one. */
MUST_CHECK int tree_l1_replace(struct shadow *s, const uint64_t *words, uint64_t count);

/* The L2 table of an L1 word: 1 and its offset, 0 where there is none, -EUCLEAN where it
 * cannot be. */
MUST_CHECK int tree_l2_of(const struct qcow2 *q, uint64_t word, uint64_t *l2_off);

/* Reads one: a cluster. Returns 0, with nothing in @l2, where it is known to be all zeros, else 1.
 */
MUST_CHECK int tree_l2_read(struct shadow *s, uint64_t l2_off, uint8_t *l2);

/* Entries [first, end) of an L2 table. */
struct tree_part {
    uint64_t first, end;
};

struct tree_part tree_all(const struct qcow2 *q);

struct qcow2_l2_entry tree_entry_get(const struct qcow2 *q, const uint8_t *l2, uint64_t index);

/* Bytes of the image file that an entry refers to; len 0 where none. -EUCLEAN: it cannot be. */
MUST_CHECK int tree_entry_range(const struct qcow2 *q, struct qcow2_l2_entry e,
                                struct qimg_range *out);

/* @times references more or less to all that these entries refer to. */
MUST_CHECK int tree_ref(struct shadow *s, const uint8_t *l2, struct tree_part part, uint64_t times);
MUST_CHECK int tree_unref(struct shadow *s, const uint8_t *l2, struct tree_part part,
                          uint64_t times);

/* --- whole trees (tree_each.c) --------------------------------------------------------------- */

/* An L2 table, for all of an L1 table's links to it. */
struct tree_table {
    uint64_t off, links;
    uint64_t word; /* what L1 says of it, the first time; what it shall say, every time */
    uint8_t *l2;   /* room for its bytes: the visitor reads them */
};

typedef int (*tree_visit_fn)(struct shadow *s, struct tree_table *table);

/* Visits each table that @words link once, in order of the first links. Returns whether words
 * changed; -EUCLEAN where one is wrong, -ECANCELED, or what a visitor failed with. */
MUST_CHECK int tree_each_table(struct shadow *s, uint64_t *words, uint64_t count,
                               tree_visit_fn visit);

/* Takes off the references of @words to all that hangs below them: L2 tables, and what these refer
 * to. The words stay. */
MUST_CHECK int tree_drop(struct shadow *s, uint64_t *words, uint64_t count);

/* --- COPIED ---------------------------------------------------------------------------------- */

/* Clears the bit everywhere. Returns whether there was one. */
bool tree_clear_copied(const struct qcow2 *q, uint8_t *l2);

/* Sets and clears it as the new counts are: 1 where something changed, else 0. */
MUST_CHECK int tree_fix_copied(struct shadow *s, uint8_t *l2);

/* --- editing entries, table by table -------------------------------------------------------------
 *
 * Tables of one L1, in any order; each that changes moves to a new place, alone, and the L1 word
 * with it. Counts of what entries refer to are the caller's business. */
struct tree_edit {
    struct shadow *s;
    struct tree_l1 *l1;
    bool l1_changed;
    uint8_t *l2;    /* owned: the table in hand */
    uint64_t index; /* of the table in hand */
    uint64_t off;   /* where it stands; 0 = it is new */
    bool in_hand, changed;
};

MUST_CHECK int tree_edit_begin(struct tree_edit *e, struct shadow *s, struct tree_l1 *l1);

/* Takes table @index in hand (all zeros where there is none), after storing the last one. */
MUST_CHECK int tree_edit_table(struct tree_edit *e, uint64_t index);

/* Takes the table for @guest_off in hand; *entry: its position. */
MUST_CHECK int tree_edit_at(struct tree_edit *e, uint64_t guest_off, uint64_t *entry);

/* Replaces an entry of the table in hand. */
void tree_edit_put(struct tree_edit *e, uint64_t entry, struct qcow2_l2_entry word);

/* Stores the table in hand. */
MUST_CHECK int tree_edit_store(struct tree_edit *e);

void tree_edit_release(struct tree_edit *e);

#endif

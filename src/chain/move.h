/* SPDX-License-Identifier: Apache-2.0
 *
 * A move in all its steps, as the journal has it.
 */
#ifndef CHAIN_MOVE_H
#define CHAIN_MOVE_H

#include "context.h"
#include "qimg/move.h"
#include "repoint.h"
#include "vec.h"

/* One source. */
struct move_rename {
    char *from, *to; /* absolute */
    uint64_t device, inode;
    bool directory;
};

/* One image that is written to. */
struct move_change {
    char *from, *to;        /* where it was, and where it will be */
    struct repoint repoint; /* path is not used; names may be the same: then only renew */
    bool renew;             /* its fingerprint held, and what it describes is written to */
};

DEFINE_VEC(move_rename_vec, struct move_rename)
DEFINE_VEC(move_change_vec, struct move_change)

struct move {
    struct move_rename_vec renames;
    struct move_change_vec changes;
    char *journal; /* its name: in the directory that the files go to */
};

void move_release(struct move *move);

/* --- move_plan.c --- */

/* Fills @move, empty so far; released by the caller, also after a failure. */
MUST_CHECK int move_plan(struct qimg_context *context, const struct qimg_move_options *options,
                         struct move *move, struct qimg_error *err);

/* The journal's name for moves to @destination: a directory, or the new name of a single file. */
MUST_CHECK int move_journal_of(struct qimg_context *context, const char *destination,
                               char **journal, struct qimg_error *err);

/* --- move_journal.c --- */

/* The journal's name for files that go to @directory. NULL: no memory. */
char *move_journal_name(const char *directory);

/* Keeps other moves to the directory of @journal away until *lock, a descriptor, is closed. -EBUSY:
 * there is one. */
MUST_CHECK int move_lock(const char *journal, int *lock, struct qimg_error *err);

/* Writes it, durable on return. -EEXIST: there is one already. */
MUST_CHECK int move_journal_write(struct qimg_context *context, const struct move *move,
                                  struct qimg_error *err);

/* Reads the journal called @name. 1; 0: there is none, or one whose writing was interrupted, before
 * anything else was done. */
MUST_CHECK int move_journal_read(const char *name, struct move *out, struct qimg_error *err);

MUST_CHECK int move_journal_remove(struct qimg_context *context, const char *name,
                                   struct qimg_error *err);

/* --- move_run.c --- */

/* Does all steps that are not done yet. */
MUST_CHECK int move_run(struct qimg_context *context, const struct move *move,
                        struct qimg_error *err);

/* Undoes all steps that are done. */
MUST_CHECK int move_undo(struct qimg_context *context, const struct move *move,
                         struct qimg_error *err);

#endif

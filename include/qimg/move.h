/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving image files and whole directories of them, so that every chain still holds: the files
 * are renamed, and what images record of them is rewritten, all of it or nothing. A crash on the
 * way leaves a journal in the destination's directory; the same call again, or
 * qimg_move_complete(), goes on from there.
 */
#ifndef QIMG_MOVE_H
#define QIMG_MOVE_H

#include "qimg/chain.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qimg_move_options {
    const char *const *sources; /* files and directories */
    size_t source_count;
    const char *destination; /* a directory that is there, or (of one source) its new name */
    /* Directories whose images may name the sources; searched to the bottom, without following
     * symbolic links. What lies in moved directories is searched anyway. NULL-terminated or NULL.
     */
    const char *const *dependants;
};

struct qimg_move_rename {
    char *from, *to; /* absolute */
};

struct qimg_move_change {
    char *image;               /* absolute, where it is now */
    char *old_name, *new_name; /* of its backing file */
    char *format;              /* recorded; stays */
};

struct qimg_move_plan {
    struct qimg_move_rename *renames;
    size_t rename_count;
    struct qimg_move_change *changes;
    size_t change_count;
    void *own; /* the library's */
};

/* Looks and writes nothing. -EEXIST, -ENOENT, -EXDEV (another file system), -ENOTSUP: an image
 * names a file in a way that cannot be rewritten (json:, an external data file). */
QIMG_API int qimg_move_plan(struct qimg_context *context, const struct qimg_move_options *options,
                            struct qimg_move_plan *out, struct qimg_error *err);

/* Does it. A failure undoes what was done; where even that fails the journal stays, and the error's
 * hint says so. Owner, mode, access lists and labels of all files stay: no file is copied. */
QIMG_API int qimg_move_apply(struct qimg_context *context, const struct qimg_move_plan *plan,
                             struct qimg_error *err);

/* Completes what an interrupted move to @destination left. Returns 1 if there was one, else 0. */
QIMG_API int qimg_move_complete(struct qimg_context *context, const char *destination,
                                struct qimg_error *err);

QIMG_API void qimg_move_plan_release(struct qimg_move_plan *plan);

#ifdef __cplusplus
}
#endif
#endif

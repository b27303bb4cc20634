/* SPDX-License-Identifier: Apache-2.0
 *
 * Mending the names in a chain: formats that are not recorded, files that were moved, names that
 * are to be relative or absolute. First a plan, which changes nothing and says what is certain and
 * what somebody must decide; then, if nothing is left open, its application.
 */
#ifndef QIMG_FIX_H
#define QIMG_FIX_H

#include "qimg/chain.h"

#ifdef __cplusplus
extern "C" {
#endif

enum qimg_fix_names {
    QIMG_FIX_NAMES_KEEP, /* relative ones stay relative, absolute ones absolute */
    QIMG_FIX_NAMES_RELATIVE,
    QIMG_FIX_NAMES_ABSOLUTE,
};

/* What the user decides about image @index of the chain (1 = below the top). */
struct qimg_fix_choice {
    size_t index;
    const char *value; /* a format's name; or a path */
};

struct qimg_fix_options {
    const char *format; /* of the top image; NULL = by its content */
    bool set_formats;   /* record formats that are certain: raw where the content is no image's, the
                         * content's where that image names no further file */
    const struct qimg_fix_choice *formats; /* and these whatever the content */
    size_t format_count;
    const char *const *relocate; /* look for missing files below these directories, by the last
                                  * part of their names; NULL-terminated, NULL = do not */
    const struct qimg_fix_choice *picks; /* where missing files are */
    size_t pick_count;
    enum qimg_fix_names names;
};

/* A file that bears the name of a missing one. */
struct qimg_fix_candidate {
    char *path; /* absolute */
    bool fits, taken;
    char *evidence;    /* what speaks for it and against it */
    bool proven;       /* it is what the overlay's fingerprint describes */
    uint64_t equal;    /* sectors that the overlay copied up and that are the same there ... */
    uint64_t compared; /* ... of those that were compared */
};

/* One image whose record is to be changed, or would have to be. */
struct qimg_fix_step {
    size_t level;                /* of that image; what it names is image level + 1 */
    bool data_file;              /* it is about the image's data file: told, never changed */
    char *image;                 /* absolute */
    char *old_name, *old_format; /* as recorded; format NULL = none */
    char *new_name, *new_format; /* NULL, both: undecided */
    char *problem; /* of undecided ones: what is open, and the option that decides it */
    struct qimg_fix_candidate *candidates; /* where a file is missing */
    size_t candidate_count;
};

struct qimg_fix_plan {
    struct qimg_fix_step *steps; /* top first */
    size_t count;
    size_t changes, undecided; /* of them */
    void *own;                 /* the library's */
};

/* Fails only where @name itself cannot be read (as its chain tells), or with -ENOMEM, -EINVAL (a
 * choice for an image that is not there, or of an unknown format). */
QIMG_API int qimg_fix_plan(struct qimg_context *context, const char *name,
                           const struct qimg_fix_options *options, struct qimg_fix_plan *out,
                           struct qimg_error *err);

/* Makes the changes, the deepest image first. All or none: what fails on the way is undone.
 * -EINVAL: something is undecided. -ESTALE: an image was changed since the plan was made. */
QIMG_API int qimg_fix_apply(struct qimg_context *context, const struct qimg_fix_plan *plan,
                            struct qimg_error *err);

QIMG_API void qimg_fix_plan_release(struct qimg_fix_plan *plan);

#ifdef __cplusplus
}
#endif
#endif

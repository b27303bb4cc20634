/* SPDX-License-Identifier: Apache-2.0
 *
 * Rewriting what one image records of its backing file, where the file that is meant stays the
 * same: what fix and mv are made of. Header only, by the format's own crash-safe write; owner,
 * mode, ACL and label stay, the inode does. A fingerprint follows the name.
 */
#ifndef CHAIN_REPOINT_H
#define CHAIN_REPOINT_H

#include <stdbool.h>

#include "context.h"

struct repoint {
    char *path;                  /* of the image, absolute */
    char *format;                /* of the image itself */
    char *old_name, *old_format; /* recorded now; format NULL = none */
    char *new_name, *new_format;
};

void repoint_release(struct repoint *r);

/* Durable on return 0; also 0 where it was done already. -ESTALE: it records something else. */
MUST_CHECK int repoint_do(struct qimg_context *context, const struct repoint *r,
                          struct qimg_error *err);
MUST_CHECK int repoint_undo(struct qimg_context *context, const struct repoint *r,
                            struct qimg_error *err);

/* Is the backing file of the image at @path what its fingerprint says? 1; 0: it is not, or there
 * is none, or nobody can tell. */
bool repoint_is_sealed(struct qimg_context *context, const char *path, const char *format);

/* Its backing file was re-pointed itself, which changed its time: renews that in the record. */
MUST_CHECK int repoint_renew_seal(struct qimg_context *context, const char *path,
                                  const char *format, struct qimg_error *err);

/* --- names --- */

/* The name by which the image at @holder records the file at @target, both absolute paths: relative
 * to the image's directory, where that is asked for and leads to the same file, else @target. NULL:
 * no memory. */
char *repoint_name(const char *holder, const char *target, bool relative);

/* An absolute path without "." and empty parts, and without ".." where it leads to the same file
 * so. NULL: no memory. */
char *repoint_clean(const char *path);

/* An absolute path without "." and "..", as text alone. NULL: no memory. */
char *repoint_collapse(const char *path);

/* The same as text alone: whether it leads there is not looked at (it may not be there yet). */
char *repoint_relative(const char *holder, const char *target);

#endif

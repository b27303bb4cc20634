/* SPDX-License-Identifier: Apache-2.0
 *
 * Another backing file for an image, without its guest noticing: rebase onto any other chain, and
 * stream, which leaves out images of its own chain, or all of them.
 *
 * Both first copy into the image what it would not find below any more, make that durable, and
 * only then change the name in its header. So the guest reads the same whatever dies in between,
 * and a run that was broken off can be run again: what it copied is not copied twice. Internal
 * snapshots of the image are not looked at; they read through the new chain afterwards, which a
 * note of level WARNING says, but not under QIMG_POLICY_QEMU.
 *
 * The image is open for writing with its whole chain, and nothing else is done with it meanwhile.
 * After success it goes on reading through the old chain, to the same effect, until it is closed.
 */
#ifndef QIMG_REBASE_H
#define QIMG_REBASE_H

#include "qimg/image.h"
#include "qimg/jobs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a disk divides, in bytes; the first three add up to its size. */
struct qimg_pull_result {
    uint64_t own;    /* allocated in the image already: not looked at */
    uint64_t proved; /* the same below by the maps alone: never read */
    uint64_t looked; /* read, and compared or copied */
    uint64_t read;   /* bytes read from files for that */
    uint64_t copied; /* bytes stored in the image */
    uint64_t zeroed; /* and such that only had to be marked as zeros: under QIMG_POLICY_QEMU, a
                      * rebase marks those alone that lie past the end of the old backing file */
};

/* What a call would do, and what it can come to at most. */
struct qimg_pull_plan {
    uint64_t own, proved, looked; /* as above */
    uint64_t read_old, read_new;  /* bytes to be read, of either chain */
    uint64_t copy_max, zero_max;  /* if everything that is read differs */
    uint64_t file_size, file_max; /* bytes: the image's file now, and at most afterwards */
    char *backing_name;           /* to be recorded; NULL = none */
    char *backing_format;
};

/* Frees what @plan holds and zeroes it. */
QIMG_API void qimg_pull_plan_release(struct qimg_pull_plan *plan);

struct qimg_pull_options {
    bool compress;       /* what is copied */
    uint64_t rate_limit; /* bytes of disk a second; 0 = none */
    qimg_progress_fn progress;
    void *user;
};

/* --- rebase --------------------------------------------------------------------------------- */

struct qimg_rebase_options {
    const char *backing_name; /* as it will be recorded: relative to the image; NULL, "" = none */
    const char *backing_format;
    enum qimg_cache backing_cache;
    bool force_share; /* open the new chain although others may write to it */
    struct qimg_pull_options pull;
};

/* Gives @image another backing file. What differs between the old chain and the new is copied;
 * what their maps prove equal (the same bytes of the same file, or zeros in both) is not read.
 * Past the end of a shorter backing file are zeros, and stay so.
 * Errors beside those of reading and writing: -EINVAL (no backing format), -ENOSPC (the header has
 * no room for the name), -ENOTSUP (the format has none, or no compression), -ELOOP (@image itself
 * is part of the new chain), -ECANCELED; then the old name is still there. @out is filled also
 * on failure. */
QIMG_API int qimg_rebase(struct qimg_image *image, const struct qimg_rebase_options *options,
                         struct qimg_pull_result *out, struct qimg_error *err);

/* The same, but nothing is changed; the image may be open for reading only. */
QIMG_API int qimg_rebase_plan(struct qimg_image *image, const struct qimg_rebase_options *options,
                              struct qimg_pull_plan *out, struct qimg_error *err);

/* --- stream --------------------------------------------------------------------------------- */

struct qimg_stream_options {
    /* The image of the chain that stays below, by the name that the image above it has for it, or
     * from the current directory. NULL: none stays, and @image needs no other one afterwards. */
    const char *base;
    struct qimg_pull_options pull;
};

/* Copies into @image what it finds in the images between itself and the base; afterwards its
 * backing file is the base, by the name and format that the image above the base records (as a
 * full path where that lies in another directory). Where there is nothing between, nothing is
 * done. Errors as qimg_rebase(), and -ENOENT: no image of the chain is meant by @base. */
QIMG_API int qimg_stream(struct qimg_image *image, const struct qimg_stream_options *options,
                         struct qimg_pull_result *out, struct qimg_error *err);

/* The same, but nothing is changed; the image may be open for reading only. */
QIMG_API int qimg_stream_plan(struct qimg_image *image, const struct qimg_stream_options *options,
                              struct qimg_pull_plan *out, struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif

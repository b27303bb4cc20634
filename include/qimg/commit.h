/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing what an overlay holds into an image below it.
 */
#ifndef QIMG_COMMIT_H
#define QIMG_COMMIT_H

#include "qimg/jobs.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qimg_commit_options {
    const char *name;              /* the overlay; opened, with its chain, by the job itself */
    struct qimg_open_options open; /* format, cache and image_opts count */
    const char *base;    /* into this image of the chain: a name as its overlay could record it;
                          * NULL = into the backing file, and the overlay is emptied afterwards */
    bool keep_overlay;   /* do not empty it */
    uint64_t rate_limit; /* bytes per second; 0 = none */

    /* Directories, NULL-terminated, that are searched with all below them for further images whose
     * backing file is the base, or one between it and the overlay: what they read would change.
     * Relative names count from the current directory. NULL = nothing is searched. */
    const char *const *dependants;
    bool break_dependants; /* go on although there are some */
    /* Called with each, before anything is changed; may be NULL. @backing: what it depends on. */
    void (*dependant)(void *user, const char *name, const char *backing);

    qimg_progress_fn progress; /* may be NULL */
    void *user;
};

struct qimg_commit_result {
    uint64_t copied, zeroed; /* bytes of the disk */
    bool emptied;            /* the overlay holds nothing any more */
    unsigned dependants;     /* how many were found */
};

/* Makes the base read as the overlay does, and as large where it was smaller. The overlay is
 * emptied only once the base is durable, by one write of its header; whatever happens before leaves
 * it as it was, the base sound, with each sector old or new, and what the overlay reads as the same
 * at every moment. So a job that failed, was stopped or was killed can be run again.
 * Images between the base and the overlay are of no use afterwards: their base has changed.
 * Progress is told of 0 bytes when the chain is open, before anything is written.
 * -ENOENT: no such base, no backing file; -EBUSY: there are dependants; -EAGAIN: somebody else has
 * one of the images open; -ECANCELED; else what the operating system said. */
QIMG_API int qimg_commit(struct qimg_context *context, const struct qimg_commit_options *options,
                         struct qimg_commit_result *result, struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking an image's structures, and mending them.
 */
#ifndef QIMG_CHECK_H
#define QIMG_CHECK_H

#include "qimg/image.h"
#include "qimg/jobs.h"

#ifdef __cplusplus
extern "C" {
#endif

enum qimg_check_fix {
    QIMG_CHECK_FIX_NONE,
    QIMG_CHECK_FIX_LEAKS, /* lowers counts that are too high; mends COPIED flags if nothing else
                             is wrong */
    QIMG_CHECK_FIX_ALL,
};

enum qimg_check_severity {
    QIMG_CHECK_LEAK,       /* space that nothing uses; harmless */
    QIMG_CHECK_CORRUPTION, /* data may be wrong, or the next write may damage it */
    QIMG_CHECK_ERROR,      /* the check itself could not do something */
    QIMG_CHECK_NOTE,       /* what is being done */
};

/* One thing found. Strings live as long as the call. */
struct qimg_check_finding {
    const char *id; /* "refcount-too-low"; stable */
    enum qimg_check_severity severity;
    bool repaired;           /* mended in this run */
    const char *text;        /* QEMU's sentence where it has one; may hold bytes from the image, and
                                newlines of its own */
    bool by_program;         /* QEMU prints its own name before this one */
    const char *structure;   /* "refcount block", "L2 table", ... */
    const char *mend;        /* how it is mended, or why it is not */
    uint64_t host_off;       /* where in the image file; QIMG_NO_OFFSET = nowhere */
    struct qimg_range guest; /* what of the guest's disk is in danger; len 0 = nothing */
};

struct qimg_check_options {
    enum qimg_check_fix fix; /* else than NONE: the image must be open for writing */
    /* Before anything is overwritten, its old bytes and the file's old length are made durable in
     * this new file; it must not be there. NULL = none. No file is made if nothing is mended. */
    const char *undo_name;
    bool explain; /* find the guest ranges too (walks the tables once more) */
    void (*finding)(void *user, const struct qimg_check_finding *finding); /* NULL = not told */
    qimg_progress_fn progress; /* NULL = not told. Counts tables; a repair that has begun goes on */
    void *user;                /* of both */
};

struct qimg_check_result {
    uint64_t check_errors, corruptions, leaks;
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    uint64_t image_end_offset; /* bytes */
    uint64_t count_bytes;      /* memory that the counts took */
};

/* Checks the top image alone. What is wrong is in @result, and the call returns 0; it fails where
 * the check itself cannot go on (-ENOTSUP: the format has no check). Even then @result is filled as
 * far as the check got. */
QIMG_API int qimg_image_check(struct qimg_image *image, const struct qimg_check_options *options,
                              struct qimg_check_result *result, struct qimg_error *err);

/* Puts image file @name back, byte for byte, as it was before the repair that wrote @undo_name.
 * Refuses (-EBADMSG) where the undo file is damaged or the image was changed since. */
QIMG_API int qimg_check_undo(struct qimg_context *context, const char *undo_name, const char *name,
                             struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What each command has the library do, in the current directory, on the images of library_tree:
 * for programs that make something fail under it.
 */
#ifndef CRASH_LIBRARY_JOB_H
#define CRASH_LIBRARY_JOB_H

#include "qimg/image.h"

#define LIBRARY_JOB_NAMES 4

struct library_job {
    const char *command; /* as the .def files of tools/ have it: "rebase", "chain fix" */
    int (*run)(struct qimg_context *context, struct qimg_error *err);
    /* Images that it changes or makes, and such as lie on them. */
    const char *images[LIBRARY_JOB_NAMES];
    /* Completes what a failure may leave for another run; NULL = there is no such thing. */
    void (*recover)(struct qimg_context *context);
    bool moves;   /* of its images, the first becomes the second */
    bool suspect; /* once went wrong at a point: every one is tried each time */
};

/* Each list ends with command NULL. */
extern const struct library_job image_jobs[], copy_jobs[], chain_jobs[];

/* A fixture's specification. */
extern const char library_tree[];

/* Opens, runs @on, closes. */
int library_with(struct qimg_context *context, const char *name, bool writable,
                 int (*on)(struct qimg_image *image, struct qimg_error *err),
                 struct qimg_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The file that convert writes: opened or made, locked as QEMU locks it, and brought to a whole
 * or an empty end. Keeps true: a new regular file gets its final length last, so that no half
 * file looks whole; what fails is unlinked only if it was made here; an older file keeps its
 * inode and ends empty; a device is touched only where guest data goes.
 */
#ifndef CHAIN_CONVERT_TARGET_H
#define CHAIN_CONVERT_TARGET_H

#include "context.h"
#include "format.h"
#include "qimg/jobs.h"

struct convert_target {
    struct qimg_context *context;
    struct io_file *file;
    char *path;
    const char *format;
    enum preallocation preallocation;
    bool fresh;      /* not -n: the content from before is gone */
    bool reads_zero; /* what is not written reads as zeros */
    bool durable;    /* synced before success */
    uint64_t size;   /* bytes that the conversion fills */
};

/* Opens, or makes and empties, the target for @size bytes. */
MUST_CHECK int convert_target_open(struct qimg_context *context,
                                   const struct qimg_convert_options *options, uint64_t size,
                                   struct convert_target *out, struct qimg_error *err);

/* Everything is written: length, reserved space, durability. */
MUST_CHECK int convert_target_complete(struct convert_target *target, struct qimg_error *err);

/* Closes the file. @failed: undoes what a failed conversion left. Takes an empty target. */
void convert_target_close(struct convert_target *target, bool failed);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What convert writes into: a new raw file, a new image, or what is there (-n); opened or made,
 * locked as QEMU locks it, and brought to a whole or an empty end. Keeps true:
 * (1) no half file looks whole: a new raw file gets its final length last, and of a new image the
 *     header sector is held back (io.h) until everything else is there; so nothing in between
 *     needs to be durable.
 * (2) what fails is unlinked only if it was made here; an older file keeps its inode and ends
 *     empty; a device, and what -n names, is touched only where data goes.
 */
#ifndef CHAIN_CONVERT_TARGET_H
#define CHAIN_CONVERT_TARGET_H

#include "create_options.h"
#include "new_file.h"
#include "qimg/jobs.h"

struct convert_target {
    const struct qimg_convert_options *asked;
    struct qimg_context *context;
    struct create_options create; /* of what is new */
    struct create_spec spec;
    struct new_file main, data;
    struct qimg_image *image; /* NULL: a new raw file */
    struct io_file *file;     /* bytes of a raw target; NULL: its format writes */
    bool fresh;               /* not -n: the content from before is gone */
    bool has_backing;         /* ... shows where nothing is written */
    uint64_t backing_end;     /* and reads as zeros from here on; UINT64_MAX = unknown */
    bool reads_zero;          /* what is not written reads as zeros */
    bool durable;             /* synced before success */
    uint64_t size;            /* bytes that the conversion fills */
};

/* Opens, or makes and empties, the target for @size bytes. What cannot go together is refused
 * before anything is touched, in qemu-img's order. */
MUST_CHECK int convert_target_open(struct qimg_context *context,
                                   const struct qimg_convert_options *options, uint64_t size,
                                   struct convert_target *out, struct qimg_error *err);

/* All guest data is written: the image ends its writing. It can still be changed. */
MUST_CHECK int convert_target_finish(struct convert_target *target, struct qimg_error *err);

/* Nothing more comes: length, reserved space, the header, durability. */
MUST_CHECK int convert_target_complete(struct convert_target *target, struct qimg_error *err);

/* Closes the files. @failed: undoes what a failed conversion left. Takes an empty target. */
void convert_target_close(struct convert_target *target, bool failed);

#endif

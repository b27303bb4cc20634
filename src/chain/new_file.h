/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that a command makes: create's and convert's. Keeps true: what was there is emptied only
 * when asked, and keeps its inode; what fails is unlinked if it was made here, else it ends empty;
 * a device is left as it is.
 */
#ifndef CHAIN_NEW_FILE_H
#define CHAIN_NEW_FILE_H

#include "chain.h"

struct new_file {
    struct qimg_context *context;
    const char *name; /* as shown */
    char *path;       /* owned */
    struct io_file *file;
    bool made;    /* by new_file_open() */
    bool emptied; /* what was there is gone */
};

/* Finds new->path: where new->name leads, as QEMU does, so that json: is no name of a new file. */
MUST_CHECK int new_file_place(struct new_file *new, struct qimg_error *err);

/* Opens new->path, or makes it. */
MUST_CHECK int new_file_open(struct new_file *new, const struct io_open_options *how,
                             struct qimg_error *err);

/* Takes the locks of whoever makes an image. */
MUST_CHECK int new_file_lock(struct new_file *new, struct qimg_error *err);

MUST_CHECK int new_file_empty(struct new_file *new, struct qimg_error *err);

/* Makes it durable, as far as it is open here, and its name, if it was made here. */
MUST_CHECK int new_file_keep(struct new_file *new, struct qimg_error *err);

/* It failed: unlinked or emptied, with a note where that fails too. Also where new->file was taken
 * by an image that is closed by now. */
void new_file_discard(struct new_file *new);

void new_file_release(struct new_file *new);

/* Where the recorded name @name of a data file of image @image_name leads: a literal file name,
 * never json:, never a protocol; relative to the image's directory, under QEMU's policy to the
 * current one. */
MUST_CHECK int new_file_place_data(struct new_file *data, const char *image_name, const char *name,
                                   struct qimg_error *err);

/* Is @file one of those that @image consists of? By identity, not by name. @image may be NULL. */
bool new_file_is_in(const struct io_file *file, const struct qimg_image *image);

/* Is @new one of the files that are read through @backing, opened or not? Emptying it would lose
 * the backing. */
bool new_file_is_below(const struct new_file *new, const struct qimg_image *backing);

#endif

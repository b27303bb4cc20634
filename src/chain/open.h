/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening one image of a chain: what the top, its backing files and `info --backing-chain` share.
 */
#ifndef CHAIN_OPEN_H
#define CHAIN_OPEN_H

#include "chain.h"
#include "gate.h"
#include "resolve.h"

/* What an opener does with a file; with the kind of the file this decides its locks. */
enum lock_use {
    LOCK_INFO,
    LOCK_READ,
    LOCK_SOURCE,
    LOCK_WRITE,
    LOCK_RESIZE,
    LOCK_INFO_FORCED,
    LOCK_FORCED
};
enum lock_kind { LOCK_FORMAT, LOCK_RAW, LOCK_DATA_FILE };

/* The use that @options ask for. */
enum lock_use lock_use_of(const struct qimg_open_options *options);

/* Takes the locks that QEMU would take. @name is for the sentence. */
MUST_CHECK int lock_file(struct io_file *file, enum lock_kind kind, enum lock_use use,
                         const char *name, struct qimg_error *err);

/* qimg_image_open() without the questions of gate.verify. */
MUST_CHECK int chain_open_unverified(struct qimg_context *context, const char *name,
                                     const struct qimg_open_options *options,
                                     struct qimg_image **out, struct qimg_error *err);

/* One image to be opened: where, how, and on whose word. */
struct open_request {
    const struct location *place;
    const char *format;                      /* NULL = probe */
    const struct qimg_open_options *options; /* writable, info_only, cache, share count */
    const struct gate_request *reference;    /* NULL: the user named it */
    const struct image *never;               /* whose files must not be opened again; may be NULL */
    struct io_file *file; /* open already, and taken over in any case; NULL = open it */
};

/* Opens the image at @request->place: file, probe, locks, format. Neither what it names. Errors
 * are without the "Could not open 'NAME': " that the caller's name belongs in. */
MUST_CHECK int open_layer(struct qimg_context *context, const struct open_request *request,
                          struct layer *out, struct qimg_error *err);

/* Do @size bytes (0: all to the end) from @off on lie in @file? Fills @st. */
MUST_CHECK int window_fits(struct io_file *file, uint64_t off, uint64_t size, struct io_stat *st,
                           struct qimg_error *err);

/* Opens the data file of @layer, if it needs one: the one that the user named for @place, else
 * the recorded one after asking the gate. */
MUST_CHECK int open_data_file(struct qimg_context *context, struct layer *layer,
                              const struct location *place, const struct qimg_open_options *options,
                              struct qimg_error *err);

/* Opens the file of @layer, and its data file, once more, for writing this time; the old openings
 * end, with their locks, before new ones are taken. On failure the layer may be left without an
 * image, and the chain can only be closed. Nothing of it may be in use. */
MUST_CHECK int layer_reopen_writable(struct qimg_context *context, struct layer *layer,
                                     const struct qimg_open_options *options,
                                     struct qimg_error *err);

void layer_release(struct layer *layer);

/* Takes over what it needs of place: the reference of the next image down. Returns 1 and fills
 * @place and @format (may be NULL: probe) when there is a next image and the gate agrees, 0 at
 * the end of the chain. @format points into @holder or @above. */
struct next_image {
    struct location place;
    const char *format;
    struct gate_request reference;
    bool by_user; /* named by the user's own options, not by the image */
};

MUST_CHECK int next_of(struct qimg_context *context, const struct layer *holder,
                       const struct location *above, unsigned depth, struct next_image *out,
                       struct qimg_error *err);

/* Opens what @overlay would open if it recorded @name as its backing file, and the chain below:
 * another chain beside its own. The user named it, so the gate is asked only about what lies
 * further below. -ELOOP where @overlay itself is part of it. Errors as qimg_image_open()'s, but
 * without the "Could not open 'NAME': ". */
MUST_CHECK int chain_open_beside(struct qimg_image *overlay, const char *name,
                                 const struct qimg_open_options *options, struct qimg_image **out,
                                 struct qimg_error *err);

/* Removes the "Could not open 'NAME': " with which errors of qimg_image_open() begin. */
void chain_strip_open(struct qimg_error *err, const char *name);

/* As qimg_image_open(), of a file that is open already: @file is the top image's, and taken over in
 * any case. */
MUST_CHECK int chain_open_file(struct qimg_context *context, const char *name,
                               const struct qimg_open_options *options, struct io_file *file,
                               struct qimg_image **out, struct qimg_error *err);

/* Files of a chain by identity, to find loops whatever they are called. */
struct file_id {
    uint64_t device, inode;
};

DEFINE_VEC(file_id_vec, struct file_id)

/* Adds @file; -ELOOP if it is in already, -ENOMEM. */
MUST_CHECK int file_ids_add(struct file_id_vec *ids, const struct io_file *file);

#endif

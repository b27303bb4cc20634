/* SPDX-License-Identifier: Apache-2.0
 *
 * An image and its backing chain: open, look, read, make, re-point.
 *
 * Errors: every call that can fail returns a negative errno and fills @err with the sentence
 * that qemu-img prints for the condition where it has one (tools print it behind their name).
 */
#ifndef QIMG_IMAGE_H
#define QIMG_IMAGE_H

#include "qimg/context.h"
#include "qimg/info.h"
#include "qimg/options.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qimg_image;

/* Opens @name and, unless told otherwise, the chain below it. @options NULL = all defaults.
 * @name may be a path, "file:path" or "json:{...}". */
QIMG_API int qimg_image_open(struct qimg_context *context, const char *name,
                             const struct qimg_open_options *options, struct qimg_image **out,
                             struct qimg_error *err);

/* NULL is fine. Queues on it must be freed before. */
QIMG_API void qimg_image_close(struct qimg_image *image);

QIMG_API uint64_t qimg_image_size(const struct qimg_image *image);      /* bytes */
QIMG_API unsigned qimg_image_depth(const struct qimg_image *image);     /* layers, >= 1 */
QIMG_API const char *qimg_image_format(const struct qimg_image *image); /* of the top layer */

/* The name of the file that layer @layer's DATA extents point into: its external data file where
 * it has one, else the image itself. Owned by the image. */
QIMG_API const char *qimg_image_file(const struct qimg_image *image, unsigned layer);

/* What may be asked of an open image by "key=value,...": -1 = nothing was said, else 0 or 1. */
struct qimg_reopen {
    int read_only, direct, no_flush;
    bool moves_window;        /* of raw: its offset= or size= was said */
    struct qimg_range window; /* bytes of the file, length 0: to its end; what was not said is as
                               * it is now */
};

/* Could @options be given to the image anew, as qemu-io's reopen -o does? @given: the options that
 * it was opened with, NULL = none. -EINVAL, in QEMU's words, where one cannot change while an image
 * is open, or has a value that QEMU refuses. Changes nothing. */
QIMG_API int qimg_image_check_reopen(const struct qimg_image *image, const char *given,
                                     const char *options, struct qimg_reopen *out,
                                     struct qimg_error *err);

/* What `info` prints for the opened image. @info is zeroed first and filled on success. */
QIMG_API int qimg_image_info(struct qimg_image *image, struct qimg_info *info,
                             struct qimg_error *err);

/* The same for each image of the chain, top first, opening one image at a time and following
 * the recorded backing names (`info --backing-chain`). @visit returns 0 to go on.
 * Nothing is visited before the whole chain could be walked. */
QIMG_API int qimg_chain_info(struct qimg_context *context, const char *name,
                             const struct qimg_open_options *options, bool whole_chain,
                             int (*visit)(void *user, const struct qimg_info *info), void *user,
                             struct qimg_error *err);

/* Maps guest bytes of the whole chain to extents: in order, without gaps, each of one kind and
 * layer; neighbours that continue each other are merged.
 * @want      guest bytes, any alignment; the part past the virtual size is not reported
 * @out       filled with at most @out_max extents
 * Returns the number filled, 0 where @want lies past the end, else -EIO, -EINVAL (@out_max 0).
 * What no layer has is QIMG_UNALLOCATED in the last layer.
 * @holes: also look for holes inside DATA where QEMU does (extent.hole).
 * Safe from several threads. */
QIMG_API int qimg_image_map(struct qimg_image *image, struct qimg_range want, bool holes,
                            struct qimg_extent *out, size_t out_max, struct qimg_error *err);

/* Reads guest bytes through the chain. Past the virtual size: -EINVAL. Safe from several
 * threads. */
QIMG_API int qimg_image_read(struct qimg_image *image, uint64_t off, void *buf, size_t len,
                             struct qimg_error *err);

#define QIMG_CACHED_UNKNOWN UINT64_MAX

/* Has the operating system's page cache forget all files of the chain, so that they are read from
 * storage again. What the library keeps of them itself, it keeps: open the image anew for that.
 * @cached: bytes that stayed in the page cache all the same, because others use them or the file
 * system has no other place for them; QIMG_CACHED_UNKNOWN where the kernel does not tell.
 * Nothing of the image is being written meanwhile. Returns 0, or what the operating system said
 * of a file that could not be synced. */
QIMG_API int qimg_image_uncache(struct qimg_image *image, uint64_t *cached, struct qimg_error *err);

/* --- many reads at once ------------------------------------------------------------------ */

struct qimg_queue;

struct qimg_completion {
    void *tag;
    int result; /* 0 or -errno */
};

/* A queue for reads of @image, at most @depth under way; used by one thread at a time. */
QIMG_API int qimg_queue_new(struct qimg_image *image, unsigned depth, struct qimg_queue **out,
                            struct qimg_error *err);

/* How it does its work: "io_uring" or "threads". */
QIMG_API const char *qimg_queue_engine(const struct qimg_queue *queue);

/* Waits for what is under way. NULL is fine. */
QIMG_API void qimg_queue_free(struct qimg_queue *queue);

/* Stages a read. It is sent with those beside it, in few calls: when the queue is full, some are
 * gathered (cache modes none and directsync), or by qimg_queue_wait(). @buf must stay until its
 * completion. Returns 0, -EAGAIN (@depth reads are under way: wait first), -ENOMEM. */
QIMG_API int qimg_queue_read(struct qimg_queue *queue, uint64_t off, void *buf, size_t len,
                             void *tag);

/* Sends what is staged, waits for at least @min completions (fewer if fewer are under way),
 * fills at most @max. Returns how many. */
QIMG_API int qimg_queue_wait(struct qimg_queue *queue, struct qimg_completion *out, unsigned max,
                             unsigned min);

/* --- making and re-pointing --------------------------------------------------------------- */

struct qimg_create_options {
    const char *format;       /* NULL = raw */
    const char *backing_name; /* NULL = none (may also come from options) */
    const char *backing_format;
    bool backing_unchecked;   /* -u: the backing file is not opened; needs a size */
    bool sync;                /* durable on return, and its name */
    bool fingerprint;         /* record what the backing file is now (fingerprint.h) ... */
    bool fingerprint_content; /* ... with a digest of its content; implies the former */
    bool has_size;
    uint64_t size;                     /* bytes */
    const struct qimg_option *options; /* from -o, in order */
    size_t option_count;
    /* Told what will be done, in qemu-img's words ("Formatting 'a', fmt=..."), after the options
     * were parsed and before the file is touched. May be NULL. */
    void (*announce)(void *user, const char *text);
    void *user;
};

/* Makes an image: on success whole, on failure gone if this call made it. A crash meanwhile, or
 * after it where sync was not asked for, leaves a whole image or one without a header. */
QIMG_API int qimg_create(struct qimg_context *context, const char *name,
                         const struct qimg_create_options *options, struct qimg_error *err);

/* The options that create takes for a format, as rows for `-o help`; ends with a NULL name. */
struct qimg_option_help {
    const char *name, *type, *help;
};

/* NULL: no such format. */
QIMG_API const struct qimg_option_help *qimg_create_help(const char *format);

/* Does create take these options for @format, each by itself? Combinations are not looked at.
 * -EINVAL, -ERANGE; -ENOENT, -ENOTSUP: no images of this format are made. */
QIMG_API int qimg_create_check(const char *format, const struct qimg_option *options, size_t count,
                               struct qimg_error *err);

/* Writes another backing name and format into the header without looking at any content
 * (rebase -u). @backing_name NULL = none. Durable on return; a crash leaves the old or the new
 * name. The image must be open for writing. */
QIMG_API int qimg_image_set_backing(struct qimg_image *image, const char *backing_name,
                                    const char *backing_format, struct qimg_error *err);

/* The names of all formats, sorted, NULL-terminated. */
QIMG_API const char *const *qimg_formats(void);

/* Does QEMU know a format or protocol @name, so that an image may record it as the format of its
 * backing file, whether or not this library can open it? */
QIMG_API bool qimg_format_known(const char *name);

/* Does the image in the file @path ask for an external data file? Looks at a single bit of its
 * header, and needs no context: for a program that gives up rights before it opens the image. True
 * also where it cannot be told. */
QIMG_API bool qimg_may_have_data_file(const char *path);

#ifdef __cplusplus
}
#endif
#endif

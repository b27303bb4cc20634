/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing an image as a whole: internal snapshots, its size, its features. The image is open for
 * writing and nothing is being written to it meanwhile. Every call is durable when it returns 0;
 * a crash on the way leaves the old state or the new one, never a mixture.
 *
 * Errors carry QEMU's sentences as qemu-img prints them.
 */
#ifndef QIMG_ADMIN_H
#define QIMG_ADMIN_H

#include "qimg/image.h"
#include "qimg/jobs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- internal snapshots (qimg_image_info() lists them) --------------------------------------- */

/* They go through all mapping tables. @options NULL: nobody is told how far. */
struct qimg_snapshot_options {
    qimg_progress_fn progress; /* may be NULL */
    void *user;
};

/* Keeps the state of the disk under @name (cut after 255 bytes; several may have the same name).
 * -EINVAL where a refcount would not fit its width, -ENOTSUP where the format has no snapshots. */
QIMG_API int qimg_snapshot_create(struct qimg_image *image, const char *name,
                                  const struct qimg_snapshot_options *options,
                                  struct qimg_error *err);

/* Goes back to the snapshot whose id, else whose name, is @id_or_name; also to its size. */
QIMG_API int qimg_snapshot_apply(struct qimg_image *image, const char *id_or_name,
                                 const struct qimg_snapshot_options *options,
                                 struct qimg_error *err);

/* Deletes the first snapshot called @name. */
QIMG_API int qimg_snapshot_delete(struct qimg_image *image, const char *name,
                                  const struct qimg_snapshot_options *options,
                                  struct qimg_error *err);

/* --- the state of a virtual machine -----------------------------------------------------------
 *
 * Bytes @off to @off + @len of the state that is not a snapshot's yet; it lies behind the disk, in
 * qcow2 alone. Nothing else is done with the image meanwhile. What was never written is zeros, or
 * what a longer backing file has there. -ENOTSUP; -EIO and -EFBIG behind what an image can hold. */
QIMG_API int qimg_vm_state_read(struct qimg_image *image, uint64_t off, void *buf, size_t len,
                                struct qimg_error *err);
QIMG_API int qimg_vm_state_write(struct qimg_image *image, uint64_t off, const void *buf,
                                 size_t len, struct qimg_error *err);

/* --- size ----------------------------------------------------------------------------------- */

enum qimg_preallocation {
    QIMG_PREALLOC_OFF,
    QIMG_PREALLOC_METADATA,
    QIMG_PREALLOC_FALLOC,
    QIMG_PREALLOC_FULL,
};

/* "off", "metadata", "falloc", "full". Returns 0 or -EINVAL. */
QIMG_API int qimg_preallocation_parse(const char *name, enum qimg_preallocation *out);

struct qimg_resize_options {
    uint64_t size;                         /* bytes; of qcow2 images a multiple of 512 */
    bool shrink;                           /* content past the new end may be lost */
    enum qimg_preallocation preallocation; /* of what is added */
    qimg_progress_fn progress; /* told of what is preallocated by writing it, or of tables that are
                                * cut off; may be NULL */
    void *user;
};

/* What is added reads as zeros, whatever lies below. -EAGAIN: somebody relies on the size. */
QIMG_API int qimg_image_resize(struct qimg_image *image, const struct qimg_resize_options *options,
                               struct qimg_error *err);

/* --- features ------------------------------------------------------------------------------- */

struct qimg_amend_options {
    const struct qimg_option *options; /* from -o, in order */
    size_t option_count;
    qimg_progress_fn progress; /* may be NULL */
    void *user;
};

QIMG_API int qimg_image_amend(struct qimg_image *image, const struct qimg_amend_options *options,
                              struct qimg_error *err);

/* The options that amend takes for a format, as qimg_create_help(). NULL: it can amend nothing. */
QIMG_API const struct qimg_option_help *qimg_amend_help(const char *format);

#ifdef __cplusplus
}
#endif
#endif

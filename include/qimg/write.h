/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing the guest's disk of an image that was opened writable. Backing files are never
 * changed.
 *
 * What is durable: a change is there for readers when its call returns (or its completion is
 * reaped), and on disk when a later flush, or qimg_image_finish(), has returned 0; under cache
 * modes writethrough and directsync already with the call itself. A crash before leaves the old
 * or the new content of each sector, and an image without corruption.
 *
 * Errors of all calls:
 *   -EINVAL  the range passes the end of the disk, or is not aligned where it must be
 *   -EACCES  the image is open for reading only
 *   -EPERM   bytes 0..511 of an image that was guessed to be raw would make it look like
 *            something else
 *   -ENOTSUP the format can't
 *   -ENOSPC  no room for more; the image is as it was, and still in use
 *   -EIO     and others: what the operating system said. A failure to write mapping metadata, or
 *            to sync, is final: all further changes fail with it, and the image on disk stays as
 *            the last good flush left it
 *   -ENOMEM
 *
 * Threads: all calls are safe from several threads on one image; a queue belongs to one thread
 * at a time. Changes of the same bytes by several threads leave one of them, sector by sector. A
 * call may wait for a change of the same cluster that is under way in a queue: a thread that has
 * some under way in its own queue waits for those before it uses another one, or a call without
 * queue.
 */
#ifndef QIMG_WRITE_H
#define QIMG_WRITE_H

#include "qimg/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes @len bytes, any alignment. */
QIMG_API int qimg_image_write(struct qimg_image *image, uint64_t off, const void *buf, size_t len,
                              struct qimg_error *err);

enum qimg_zero_flags {
    QIMG_ZERO_MAY_UNMAP = 1 << 0,   /* storage may be given up */
    QIMG_ZERO_NO_FALLBACK = 1 << 1, /* -ENOTSUP rather than writing zeros as data; what could be
                                     * done without before that point stays done */
};

/* Makes the range read as zeros, by metadata where that can be. @flags: enum qimg_zero_flags. */
QIMG_API int qimg_image_write_zeroes(struct qimg_image *image, uint64_t off, uint64_t len,
                                     unsigned flags, struct qimg_error *err);

/* The range is of no use any more: whole clusters of it are given up as far as the format can,
 * and read as zeros or as what lies below, as under QEMU; the rest stays as it is. */
QIMG_API int qimg_image_discard(struct qimg_image *image, uint64_t off, uint64_t len,
                                struct qimg_error *err);

/* Writes one cluster compressed (uncompressed where it does not get smaller). @off is a multiple
 * of the cluster size, @len is the cluster size or reaches the end of the disk. -EIO where the
 * cluster has space of its own already, -ENOTSUP where the format has no compression. */
QIMG_API int qimg_image_write_compressed(struct qimg_image *image, uint64_t off, const void *buf,
                                         size_t len, struct qimg_error *err);

/* Makes everything that completed before durable. */
QIMG_API int qimg_image_flush(struct qimg_image *image, struct qimg_error *err);

/* Ends writing: flushes, gives back what was released, stores bitmaps. All queues of the image
 * are empty, no call is under way. qimg_image_close() does the same where it was not done, but
 * cannot tell of failures. 0 for images that were not written. */
QIMG_API int qimg_image_finish(struct qimg_image *image, struct qimg_error *err);

/* --- many at once ---------------------------------------------------------------------------
 *
 * On the queues of image.h, beside reads: the same rules, and the results above as
 * qimg_completion.result. Buffers must stay, unchanged, until their completion. Requests under
 * way at the same time have no order among each other; a flush covers what was reaped before it
 * was queued. Return 0 or -EAGAIN (the queue is full: wait first). */

QIMG_API int qimg_queue_write(struct qimg_queue *queue, uint64_t off, const void *buf, size_t len,
                              void *tag);
QIMG_API int qimg_queue_write_zeroes(struct qimg_queue *queue, uint64_t off, uint64_t len,
                                     unsigned flags, void *tag);
QIMG_API int qimg_queue_discard(struct qimg_queue *queue, uint64_t off, uint64_t len, void *tag);
QIMG_API int qimg_queue_flush(struct qimg_queue *queue, void *tag);

#ifdef __cplusplus
}
#endif
#endif

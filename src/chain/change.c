/* SPDX-License-Identifier: Apache-2.0
 *
 * The public ways to change one thing at a time, from any thread: a request of write.h on a
 * borrowed queue, waited for.
 */
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "chain.h"
#include "checked.h"
#include "cleanup.h"
#include "codec.h"
#include "qimg/write.h"
#include "write.h"
#include "writing.h"

static void change_done(struct chain_write *write)
{
    *(bool *)write->user = true;
}

static int check_range(const struct qimg_image *image, struct qimg_range range, const char *what,
                       struct qimg_error *err)
{
    if (image->options.info_only)
        return qimg_fail(err, EINVAL, "the image was opened for its description only");
    if (!range_within(range, image->size))
        return qimg_fail(err, EINVAL, "%s of %llu bytes at %llu passes the end of the disk (%llu)",
                         what, (unsigned long long)range.len, (unsigned long long)range.off,
                         (unsigned long long)image->size);
    return 0;
}

/* Refuses what can never be written, whatever the range. */
static int check_writable(struct qimg_image *image, struct qimg_error *err)
{
    chain_lock(image);
    const int rc = chain_writing_begin(image, err);
    chain_unlock(image);
    return rc;
}

static int change(struct chain_write write, struct qimg_error *err)
{
    struct io_queue *queue = NULL;
    struct qimg_image *image = write.image;
    bool done = false;
    TRY(check_writable(image, err));
    const int rc = context_borrow_queue(image->context, &queue);
    if (rc < 0)
        return context_fail_queue(image->context, rc, err);
    struct write_lane lane = { .queue = queue };
    write.lane = &lane;
    write.complete = change_done;
    write.user = &done;
    write.err = err;
    chain_write_start(&write);
    while (!done) {
        if (lane.parked) {
            write_lane_wait(&lane);
            continue;
        }
        io_queue_run(queue, 1);
        write_lane_retry(&lane);
    }
    context_return_queue(image->context, queue);
    return write.result;
}

int qimg_image_write(struct qimg_image *image, uint64_t off, const void *buf, size_t len,
                     struct qimg_error *err)
{
    const struct qimg_range range = { off, len };
    TRY(check_range(image, range, "write", err));
    return change(
        (struct chain_write){
            .image = image, .kind = CHAIN_WRITE_BYTES, .range = range, .buf = buf },
        err);
}

int qimg_image_write_zeroes(struct qimg_image *image, uint64_t off, uint64_t len, unsigned flags,
                            struct qimg_error *err)
{
    const struct qimg_range range = { off, len };
    TRY(check_range(image, range, "zeroing", err));
    return change((struct chain_write){ .image = image,
                                        .kind = CHAIN_WRITE_ZEROES,
                                        .range = range,
                                        .may_unmap = flags & QIMG_ZERO_MAY_UNMAP,
                                        .no_fallback = flags & QIMG_ZERO_NO_FALLBACK },
                  err);
}

int qimg_image_discard(struct qimg_image *image, uint64_t off, uint64_t len, struct qimg_error *err)
{
    const struct qimg_range range = { off, len };
    TRY(check_range(image, range, "discard", err));
    return change((struct chain_write){ .image = image, .kind = CHAIN_DISCARD, .range = range },
                  err);
}

/* --- compressed ----------------------------------------------------------------------------- */

static int check_cluster(const struct qimg_image *image, struct qimg_range range,
                         struct qimg_error *err)
{
    const struct image *top = image->layers[0].image;
    TRY(check_range(image, range, "compressed write", err));
    if (!top->packs || !top->ops->write || !top->ops->write->packed_begin)
        return qimg_fail(err, ENOTSUP, "Compression not supported for this file format");
    const bool to_end = range.len > 0 && range_end(range) == image->size;
    if (!is_aligned(range.off, top->cluster_size) ||
        !(range.len == top->cluster_size || (to_end && range.len < top->cluster_size)))
        return qimg_fail(err, EINVAL, "compressed writes take one whole cluster (%u bytes)",
                         top->cluster_size);
    return 0;
}

int qimg_image_write_compressed(struct qimg_image *image, uint64_t off, const void *buf, size_t len,
                                struct qimg_error *err)
{
    const struct image *top = image->layers[0].image;
    const struct qimg_range range = { off, len };
    TRY(check_writable(image, err));
    TRY(check_cluster(image, range, err));
    AUTO_FREE uint8_t *packed = malloc(top->cluster_size);
    AUTO_FREE uint8_t *padded = len < top->cluster_size ? calloc(1, top->cluster_size) : NULL;
    if (!packed || (len < top->cluster_size && !padded))
        return qimg_fail_memory(err);
    if (padded)
        memcpy(padded, buf, len);
    const ssize_t packed_len = codec_pack(top->codec, padded ? padded : buf, top->cluster_size,
                                          packed, top->cluster_size - 1);
    if (packed_len == -ENOSPC)
        return qimg_image_write(image, off, buf, len, err);
    if (packed_len < 0)
        return qimg_fail_memory(err);
    return change((struct chain_write){ .image = image,
                                        .kind = CHAIN_WRITE_PACKED,
                                        .range = range,
                                        .buf = packed,
                                        .packed_len = (uint32_t)packed_len },
                  err);
}

/* --- the end -------------------------------------------------------------------------------- */

int qimg_image_flush(struct qimg_image *image, struct qimg_error *err)
{
    return chain_flush(image, err);
}

int qimg_image_finish(struct qimg_image *image, struct qimg_error *err)
{
    return chain_writing_end(image, err);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing raw images: the guest's bytes go where they are. Nothing is planned or linked, so that
 * there is nothing to lose in a crash but what was not flushed. Zeros and discards are the file
 * system's. The file never gets longer than the disk that the guest sees; its last, partial
 * sector is filled up when something is written there.
 */
#include <assert.h>

#include "bits.h"
#include "checked.h"
#include "raw.h"

/* Zeroing may take the file system long, and the host's lock is held. */
#define ZERO_AT_ONCE (256 * MiB)

static int raw_begin(struct image *image, struct qimg_error *err)
{
    (void)image, (void)err;
    return 0;
}

/* A hole becomes data, so that the map changes; whether there is one is not asked. */
static int raw_write_begin(struct image *image, struct qimg_range want, struct write_plan *plan,
                           struct qimg_error *err)
{
    (void)err;
    assert(range_within(want, image->size) && want.len > 0);
    *plan = (struct write_plan){ .guest = want, .host_off = want.off, .linked = want };
    return 0;
}

static int raw_write_commit(struct image *image, struct write_plan *plan, struct qimg_error *err)
{
    (void)image, (void)plan, (void)err;
    return 0;
}

static void raw_write_abort(struct image *image, struct write_plan *plan)
{
    (void)image, (void)plan;
}

static int raw_zero(struct image *image, struct qimg_range want, unsigned flags,
                    struct write_zeroed *out, struct qimg_error *err)
{
    const struct qimg_range part = { want.off, min_u64(want.len, ZERO_AT_ONCE) };
    const int rc = io_zero(image->file, part, flags & WRITE_MAY_UNMAP);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not write zeros at offset %llu",
                               (unsigned long long)want.off);
    *out = (struct write_zeroed){ .len = part.len };
    return 0;
}

/* A hint: where the file system has no holes, everything stays. */
static int raw_discard(struct image *image, struct qimg_range want, uint64_t *done,
                       struct qimg_error *err)
{
    const struct qimg_range part = { want.off, min_u64(want.len, ZERO_AT_ONCE) };
    const int rc = io_punch(image->file, part);
    if (rc < 0 && rc != -ENOTSUP)
        return qimg_fail_errno(err, -rc, "Could not discard at offset %llu",
                               (unsigned long long)want.off);
    *done = part.len;
    return 0;
}

static int raw_map(struct image *image, struct qimg_range want, struct extent_vec *out,
                   struct qimg_error *err)
{
    const int rc = image->ops->map_direct(image, want, out);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not map image") : 0;
}

static int raw_flush(struct image *image, struct qimg_error *err)
{
    const int rc = io_sync(image->file);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not flush") : 0;
}

const struct format_write_ops raw_write_ops = {
    .begin = raw_begin,
    .write_begin = raw_write_begin,
    .write_commit = raw_write_commit,
    .write_abort = raw_write_abort,
    .zero = raw_zero,
    .discard = raw_discard,
    .map = raw_map,
    .flush = raw_flush,
    .end = raw_flush,
};

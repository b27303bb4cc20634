/* SPDX-License-Identifier: Apache-2.0
 *
 * Another length of a raw image, with storage for what is new where asked for. The length is set
 * last where storage is made, so that a failure leaves the old one.
 */
#include <string.h>

#include "admin.h"
#include "bits.h"

static const char *mode_name(enum preallocation mode)
{
    static const char *const names[] = { "off", "metadata", "falloc", "full" };

    return names[mode];
}

static int resize_device(const struct image *image, const struct resize_request *r, uint64_t size,
                         struct qimg_error *err)
{
    (void)image;
    if (r->preallocation != PREALLOC_OFF)
        return qimg_fail(err, ENOTSUP, "Preallocation mode '%s' unsupported for this device",
                         mode_name(r->preallocation));
    if (r->size != size)
        return qimg_fail(err, ENOTSUP, "Cannot resize device files");
    return 0;
}

/* Gives storage to [from, size), or undoes what it did. */
static int preallocate(struct io_file *file, const struct resize_request *r, uint64_t from,
                       struct qimg_error *err)
{
    const bool full = r->preallocation == PREALLOC_FULL;

    if (r->preallocation == PREALLOC_METADATA)
        return qimg_fail(err, ENOTSUP, "Unsupported preallocation mode: metadata");
    if (r->size < from)
        return qimg_fail(err, EINVAL, "Cannot use preallocation for shrinking files");
    if (r->size == from)
        return 0;
    const struct qimg_range added = { from, r->size - from };
    const int rc = full ? admin_write_zeros(file, added, r) : io_allocate(file, added);
    if (rc < 0) {
        (void)!io_truncate(file, from);
        return qimg_fail_errno(err, -rc, "%s",
                               full ? "Could not write zeros for preallocation"
                                    : "Could not preallocate data");
    }
    return 0;
}

static int raw_resize(struct image *image, const struct resize_request *r, struct qimg_error *err)
{
    struct io_stat st;
    int rc = io_stat(image->file, &st);

    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not get image size");
    if (image->file->is_device)
        return resize_device(image, r, st.size, err);
    if (r->preallocation != PREALLOC_OFF)
        TRY(preallocate(image->file, r, st.size, err));
    else
        rc = io_truncate(image->file, r->size);
    if (rc == 0)
        rc = io_sync(image->file);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Failed to resize file");
    image->size = align_up(r->size, 512);
    return 0;
}

const struct format_admin_ops raw_admin_ops = { .resize = raw_resize };

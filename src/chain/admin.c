/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots and size of an open image: the public calls, and what a format needs from its chain
 * for them. Features are in amend.c.
 */
#include "admin.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "bits.h"
#include "chain_admin.h"
#include "map.h"
#include "open.h"
#include "qimg/admin.h"
#include "writing.h"

/* QEMU's longest disk: beyond, sizes cannot be aligned to its greatest unit any more. */
#define MAX_DISK (INT64_MAX & ~((INT64_C(1) << 30) - 1))

/* --- around every verb ---------------------------------------------------------------------- */

int chain_admin_begin(struct qimg_image *image, struct qimg_error *err)
{
    if (!image->options.writable)
        return qimg_fail(err, EACCES, "Block node is read-only");
    if (image->snapshot_selected)
        return qimg_fail(err, EACCES, "an internal snapshot cannot be written");
    return chain_writing_end(image, err);
}

void chain_admin_end(struct qimg_image *image)
{
    chain_lock(image);
    image->size = image->layers[0].image->size;
    chain_map_forget(image->map);
    chain_unlock(image);
}

static const struct format_admin_ops *admin_of(const struct qimg_image *image)
{
    return image->layers[0].image->ops->admin;
}

/* --- snapshots ------------------------------------------------------------------------------ */

static struct snapshot_request snapshot_request(const char *name,
                                                const struct qimg_snapshot_options *options)
{
    return (struct snapshot_request){ .name = name,
                                      .progress = options ? options->progress : NULL,
                                      .user = options ? options->user : NULL };
}

int qimg_snapshot_create(struct qimg_image *image, const char *name,
                         const struct qimg_snapshot_options *options, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    struct snapshot_request request = snapshot_request(name, options);
    struct timespec now;
    int rc = chain_admin_begin(image, err);

    (void)clock_gettime(CLOCK_REALTIME, &now);
    request.date_sec = (uint32_t)now.tv_sec;
    request.date_nsec = (uint32_t)(now.tv_nsec / 1000 * 1000);
    if (rc == 0 && (!admin_of(image) || !admin_of(image)->snapshot_create))
        rc = qimg_fail(err, ENOTSUP, "%s", strerror(ENOTSUP));
    if (rc == 0)
        rc = admin_of(image)->snapshot_create(top, &request, err);
    chain_admin_end(image);
    return rc < 0 ? qimg_within(err, "Could not create snapshot '%s'", name) : 0;
}

int qimg_snapshot_apply(struct qimg_image *image, const char *id_or_name,
                        const struct qimg_snapshot_options *options, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    const struct snapshot_request request = snapshot_request(id_or_name, options);
    int rc = chain_admin_begin(image, err);

    if (rc == 0 && (!admin_of(image) || !admin_of(image)->snapshot_apply))
        rc = qimg_fail(err, ENOTSUP, "Block driver does not support internal snapshots");
    if (rc == 0)
        rc = admin_of(image)->snapshot_apply(top, &request, err);
    chain_admin_end(image);
    return rc < 0 ? qimg_within(err, "Could not apply snapshot '%s'", id_or_name) : 0;
}

int qimg_snapshot_delete(struct qimg_image *image, const char *name,
                         const struct qimg_snapshot_options *options, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    const struct snapshot_request request = snapshot_request(name, options);
    int rc = chain_admin_begin(image, err);

    if (rc == 0 && (!admin_of(image) || !admin_of(image)->snapshot_delete))
        rc = qimg_fail(err, ENOENT, "snapshot not found");
    if (rc == 0)
        rc = admin_of(image)->snapshot_delete(top, &request, err);
    chain_admin_end(image);
    return rc < 0 ? qimg_within(err, "Could not delete snapshot '%s'", name) : 0;
}

/* --- size ----------------------------------------------------------------------------------- */

int qimg_preallocation_parse(const char *name, enum qimg_preallocation *out)
{
    static const char *const names[] = { "off", "metadata", "falloc", "full" };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum qimg_preallocation)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* The whole chain, where only its beginning was opened. Nothing was written to the image yet. */
static int read_whole(struct qimg_image *image, struct qimg_range guest, void *buf,
                      struct qimg_error *err)
{
    const struct layer *top = &image->layers[0];
    const struct qimg_open_options how = { .format = top->image->ops->name,
                                           .share = QIMG_SHARE_FORCE };
    struct qimg_image *whole;

    TRY(chain_open_unverified(image->context, top->name, &how, &whole, err));
    const int rc = qimg_image_read(whole, guest.off, buf, guest.len, err);
    qimg_image_close(whole);
    return rc;
}

static int read_guest(void *user, struct qimg_range guest, void *buf, struct qimg_error *err)
{
    struct qimg_image *image = user;
    const struct image *last = image->layers[image->layer_count - 1].image;

    if (image->options.next_only && last->backing_name && *last->backing_name)
        return read_whole(image, guest, buf, err);
    return qimg_image_read(image, guest.off, buf, guest.len, err);
}

struct resize_request chain_resize_request(struct qimg_image *image, uint64_t size)
{
    return (struct resize_request){
        .size = size,
        .backing_size = image->layer_count > 1 ? image->layers[1].image->size : 0,
        .read = read_guest,
        .user = image,
    };
}

int chain_check_size(uint64_t size, struct qimg_error *err)
{
    if (size <= (uint64_t)MAX_DISK)
        return 0;
    return qimg_fail(err, EIO, "offset(%" PRIu64 ") exceeds maximum(%" PRId64 ")", size, MAX_DISK);
}

static int check_resize(const struct qimg_image *image, const struct qimg_resize_options *options,
                        struct qimg_error *err)
{
    if (options->size <= image->size && options->preallocation != QIMG_PREALLOC_OFF)
        return qimg_fail(err, EINVAL, "Preallocation can only be used for growing images");
    if (options->size < image->size && !options->shrink)
        return qimg_fail(err, EINVAL, "Use the --shrink option to perform a shrink operation.");
    if (image->layers[0].windowed)
        return qimg_fail(err, ENOTSUP, "Cannot resize fixed-size raw disks");
    return chain_check_size(options->size, err);
}

/* Who writes a raw image may have others write to it too, but nobody may rely on its size then. */
static int lock_size(struct qimg_image *image, enum lock_use use, struct qimg_error *err)
{
    const struct layer *top = &image->layers[0];

    if (strcmp(top->image->ops->name, "raw") != 0)
        return 0;
    return lock_file(top->image->file, LOCK_RAW, use, top->path, err);
}

int qimg_image_resize(struct qimg_image *image, const struct qimg_resize_options *options,
                      struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    const struct format_admin_ops *admin = admin_of(image);

    TRY(chain_admin_begin(image, err));
    TRY(check_resize(image, options, err));
    if (!admin || !admin->resize)
        return qimg_fail(err, ENOTSUP, "Image format driver does not support resize");
    TRY(lock_size(image, LOCK_RESIZE, err));
    struct resize_request request = chain_resize_request(image, options->size);
    request.preallocation = (enum preallocation)options->preallocation;
    request.progress = options->progress;
    request.progress_user = options->user;
    const int rc = admin->resize(top, &request, err);
    chain_admin_end(image);
    struct qimg_error ignored;
    (void)!lock_size(image, LOCK_WRITE, &ignored); /* dropping locks never fails */
    return rc;
}

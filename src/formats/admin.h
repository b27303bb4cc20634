/* SPDX-License-Identifier: Apache-2.0
 *
 * What a format offers beyond reading and writing guest data: internal snapshots, resizing,
 * changing features in place. Each verb is durable when it returns 0; a crash on the way leaves
 * the old state or the new one. Errors are QEMU's sentences, without those that its commands put
 * in front ("Could not create snapshot 's': ").
 *
 * The image is writable and nothing is being written to it (image->writing is false). After a
 * verb that succeeded, image->size and what describe and map say are as the file says; extents
 * that were looked up before are void. After one that failed, too, unless it says -EIO after the
 * switch: then the image must be closed.
 */
#ifndef FORMATS_ADMIN_H
#define FORMATS_ADMIN_H

#include "format.h"

/* 0, or non-zero to stop: -ECANCELED then, and the image is as it was. */
typedef int (*admin_progress_fn)(void *user, uint64_t done, uint64_t total);

struct snapshot_request {
    const char *name;             /* to apply: the id, else the name */
    uint32_t date_sec, date_nsec; /* to create */
    admin_progress_fn progress;   /* may be NULL */
    void *user;
};

struct resize_request {
    uint64_t size; /* new virtual size */
    enum preallocation preallocation;
    /* What lies below the image: bytes that its backing chain has, and how to read them (through
     * the image, as the guest sees them now). */
    uint64_t backing_size;
    int (*read)(void *user, struct qimg_range guest, void *buf, struct qimg_error *err);
    void *user;
    admin_progress_fn progress; /* may be NULL */
    void *progress_user;
};

/* Storage for [range) of @file by writing zeros, told as progress. Returns 0, -ECANCELED or what
 * writing failed with. */
MUST_CHECK int admin_write_zeros(struct io_file *file, struct qimg_range range,
                                 const struct resize_request *request);

/* Features to be changed; what is not given stays. */
struct amend_request {
    unsigned version;       /* 0 = stays */
    unsigned refcount_bits; /* 0 = stays */
    bool set_lazy_refcounts, lazy_refcounts;
    const char *data_file; /* new name; "" = none; NULL = stays */
    bool set_data_file_raw, data_file_raw;
    bool set_size;
    struct resize_request resize;
    admin_progress_fn progress; /* may be NULL */
    void *user;
};

struct format_admin_ops {
    /* -EINVAL: a refcount would overflow. -EFBIG: too many. -ENOTSUP. */
    int (*snapshot_create)(struct image *image, const struct snapshot_request *request,
                           struct qimg_error *err);

    /* By id, else by name. -ENOENT. */
    int (*snapshot_apply)(struct image *image, const struct snapshot_request *request,
                          struct qimg_error *err);

    /* By name alone. -ENOENT. */
    int (*snapshot_delete)(struct image *image, const struct snapshot_request *request,
                           struct qimg_error *err);

    /* Forgets all that was written: the disk shows what lies below. Size, snapshots and bitmaps
     * stay. */
    int (*empty)(struct image *image, struct qimg_error *err);

    int (*resize)(struct image *image, const struct resize_request *request,
                  struct qimg_error *err);

    int (*amend)(struct image *image, const struct amend_request *request, struct qimg_error *err);

    /* Shows bytes @state of the VM's state as guest bytes from *guest_off on: image->size becomes
     * larger. The host puts it back when it has read or written them. @room: they are to be
     * written. -EIO and -EFBIG: there is no such place. */
    int (*vm_state)(struct image *image, struct qimg_range state, bool room, uint64_t *guest_off,
                    struct qimg_error *err);
};

extern const struct format_admin_ops qcow2_admin_ops, raw_admin_ops;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a reader sees of a disk's image: the guest's bytes, and as text all else that must not
 * change by accident.
 */
#ifndef CRASH_VIEW_H
#define CRASH_VIEW_H

#include "disk.h"
#include "fail.h"
#include "format.h"
#include "str.h"

struct backing {
    const uint8_t *bytes;
    uint64_t len;
};

struct view {
    uint8_t *bytes; /* owned */
    uint64_t size;
    uint64_t stale_features; /* autoclear bits that we do not know */
    struct str text;         /* the backing file's name, snapshots and hashes of their contents */
};

/* The image in @file, over a disk's bytes; @data: the data file that it may name. */
int view_open(const struct disk_file *file, const struct disk_file *data, bool check,
              struct image **out, struct qimg_error *err);
void view_close(struct image *image);

/* Opens the image and reads all of it. @with_header: the text tells of version, features and
 * bitmaps too.
 * Release it even after a failure. */
int view_take(struct view *view, const struct disk *disk, struct backing backing, bool with_header,
              struct qimg_error *err);

/* The same as @engine has it now. */
int view_engine(struct view *view, struct io_engine *engine, struct backing backing,
                bool with_header, struct qimg_error *err);

void view_release(struct view *view);

/* The first byte that has changed since @old and that a bitmap which claims to be complete does
 * not have, or -1; -2 where a bitmap cannot be read. */
int64_t view_unrecorded(const struct view *view, const struct disk *disk, const uint8_t *old,
                        uint64_t old_size);

/* Our own check of the image. Returns 0, or -EBADMSG with what it says first. */
int view_check(const struct disk *disk, bool leaks_allowed, struct qimg_error *err);

#endif

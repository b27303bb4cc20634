/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing what an image says of its persistent bitmaps, beside what it says now:
 *
 *     TRY(bitmap_edit_begin(&edit, q, err));   a copy of the list
 *     ... edit.list: add, remove, change; a bitmap with bits gets a new table and new data
 *     TRY(bitmap_edit_store(&edit, &space, err));   tables, data, directory in new clusters
 *     TRY(bitmap_edit_publish(&edit, err));    the header's extension, in memory; or a header of
 *                                              the caller's, by bitmap_edit_plan_head()
 *     TRY(bitmap_edit_drop(&edit, &space));    what it replaces
 *     bitmap_edit_adopt(&edit);                the open image has the new list
 *     bitmap_edit_release(&edit);
 *
 * Clusters come from and go to a struct bitmap_space: the metadata cache's, or a shadow's.
 */
#ifndef QCOW2_BITMAP_STORE_H
#define QCOW2_BITMAP_STORE_H

#include "bitmap_bits.h"
#include "head.h"

DEFINE_VEC(cluster_run_vec, struct qimg_range)

/* Where new structures go. All return 0 or a negative errno. */
struct bitmap_space {
    void *user;
    /* @count consecutive clusters that nothing refers to, counted once. */
    int (*alloc)(void *user, uint64_t count, uint64_t *host_off);
    /* Writes into them. */
    int (*write)(void *user, uint64_t host_off, const void *buf, size_t len);
    /* Whole clusters that what is published will not refer to any more. */
    int (*drop)(void *user, struct qimg_range clusters);
};

/* Clusters of the image's metadata cache (meta.h). */
struct bitmap_space bitmap_space_of_meta(struct qcow2 *q);

/* Clusters of a shadow (shadow.h). */
struct shadow;
struct bitmap_space bitmap_space_of_shadow(struct shadow *s);

struct bitmap_edit {
    struct qcow2 *q;
    struct qcow2_bitmap_vec list;       /* as it shall be; owned */
    struct qcow2_bitmaps_ext directory; /* of store: where the list stands; count 0 = none */
    struct cluster_run_vec dropped;     /* what it does not need any more */
};

MUST_CHECK int bitmap_edit_begin(struct bitmap_edit *edit, struct qcow2 *q, struct qimg_error *err);

/* Position in the list, or -1. */
ssize_t bitmap_edit_find(const struct bitmap_edit *edit, const char *name);

/* list.items[i].bits is there afterwards; refuses bitmaps that were left in use. */
MUST_CHECK int bitmap_edit_load(struct bitmap_edit *edit, size_t i, struct qimg_error *err);

/* Takes an item out of the list; its clusters are dropped. */
MUST_CHECK int bitmap_edit_remove(struct bitmap_edit *edit, size_t i, struct qimg_error *err);

/* Writes what is new of item @i, whose bits were loaded, into clusters of @space, and drops the
 * bits from memory: for who changes many. bitmap_edit_store() has the rest to do. */
MUST_CHECK int bitmap_edit_store_one(struct bitmap_edit *edit, size_t i,
                                     const struct bitmap_space *space);

/* Writes all that is new into clusters of @space. A failure changes nothing; whoever gives the
 * space takes it back. */
MUST_CHECK int bitmap_edit_store(struct bitmap_edit *edit, const struct bitmap_space *space,
                                 struct qimg_error *err);

/* The head of the file that tells of edit->directory. */
MUST_CHECK int bitmap_edit_plan_head(const struct bitmap_edit *edit, struct qcow2_head *head,
                                     struct qimg_error *err);

/* Makes the header sector tell of it, in memory: the next meta_flush() does it. Where sector 0
 * cannot hold the extension, everything else is made durable here first. */
MUST_CHECK int bitmap_edit_publish(struct bitmap_edit *edit, struct qimg_error *err);

/* Gives back what the new list does not need; to be called once the header that says so cannot
 * fail any more but by failing for good. On failure the rest leaks. */
MUST_CHECK int bitmap_edit_drop(const struct bitmap_edit *edit, const struct bitmap_space *space);

/* The image's list becomes the edit's. Cannot fail. */
void bitmap_edit_adopt(struct bitmap_edit *edit);

void bitmap_edit_release(struct bitmap_edit *edit);

/* "Bitmap 'x' is inconsistent and cannot be used", with QEMU's hint. */
int bitmap_refuse_inconsistent(const struct qcow2_bitmap *b, struct qimg_error *err);

#endif

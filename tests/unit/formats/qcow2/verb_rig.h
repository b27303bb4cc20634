/* SPDX-License-Identifier: Apache-2.0
 *
 * Images on the simulator for tests of verbs that change an image as a whole, and the promise that
 * each of them keeps: wherever the power goes or an operation fails, the image is consistent and
 * holds the old state or the new one.
 */
#ifndef UNIT_VERB_RIG_H
#define UNIT_VERB_RIG_H

#include "admin.h"
#include "io_sim.h"
#include "qcow2.h"

struct verb_layout {
    const char *title;
    unsigned version, refcount_bits;
    uint32_t cluster_size;
    uint64_t size;
    bool extended_l2, backing, data_file;
};

extern const struct verb_layout verb_layouts[];
extern const size_t verb_layout_count;

/* What lies below images whose layout says so: VERB_BACKING_LEN bytes of 0xba. */
#define VERB_BACKING_LEN (160 * 1024)

/* A verb with its arguments. */
typedef int (*verb_fn)(struct image *image, struct qimg_error *err);

/* A durable image of @layout in "disk" with clusters of every kind that it may have. */
struct io_engine *verb_image(const struct verb_layout *layout);

/* Runs @verb on "disk" of @engine, which is not cut. Returns what it said. */
int verb_run(struct io_engine *engine, verb_fn verb, struct qimg_error *err);

/* Size, active content and every snapshot with its content, as text and hash; malloc'ed. */
char *verb_state(struct io_engine *engine);

/* Asserts that "disk" is consistent; without leaks too unless @leaks. */
void verb_expect_sound(struct io_engine *engine, const char *title, bool leaks);

/* The promise, at every operation of @verb: power cuts that lose, keep, tear and mix what was not
 * durable; then EIO and ENOSPC, once and for good. Returns how many states were looked at. */
unsigned verb_expect_atomic(struct io_engine *start, verb_fn verb, const char *title);

/* Verbs in common use. */
int verb_snapshot_one(struct image *image, struct qimg_error *err); /* -c one */
int verb_apply_one(struct image *image, struct qimg_error *err);    /* -a one */
int verb_delete_one(struct image *image, struct qimg_error *err);   /* -d one */

/* Guest data is overwritten here and there, so that active state and snapshots differ. */
void verb_scribble(struct io_engine *engine, uint8_t fill);

/* qcow2_resize() to @size, with what lies below the image. */
int verb_resize(struct image *image, uint64_t size, enum preallocation mode,
                struct qimg_error *err);

#endif

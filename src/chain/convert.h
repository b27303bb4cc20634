/* SPDX-License-Identifier: Apache-2.0
 *
 * A conversion under way, for its two halves: the plan (convert_plan.c), in the job's thread, and
 * the transformation of bytes into writes (convert_write.c), in any thread.
 *
 * `unit` is what the target gives space to at a time, where whole units are to be written: a
 * cluster of a new or a compressed image. Keeps true: slots begin and end where units do, and what
 * lies in one slot of a unit lies there as a whole, in one piece of memory.
 */
#ifndef CHAIN_CONVERT_H
#define CHAIN_CONVERT_H

#include "convert_target.h"
#include "copy.h"
#include "packers.h"
#include "sparse.h"

/* What becomes of bytes of the target. */
enum fate { FATE_FETCH, FATE_ZERO, FATE_LEAVE };

struct convert {
    struct copy_job job; /* first member */
    const struct qimg_convert_options *options;
    struct convert_target target;
    struct sparse_rule rule;
    struct packers *packers; /* NULL: nothing is compressed */
    uint64_t size;           /* of all sources together */
    uint64_t unit;           /* bytes; 1 = none */
    uint64_t grow;           /* data is written up to the ends of these, where that is at hand */

    /* The plan's place: source number @source begins at @base of the target. */
    struct copy_cursor cursor;
    size_t source;
    uint64_t base;
    uint64_t settled_until; /* what becomes of bytes of the target before it is `settled` */
    enum fate settled;
    uint64_t step; /* bytes planned since the last step of the progress */
};

/* What of @image is copied. */
struct qimg_range convert_source_part(const struct qimg_convert_options *options,
                                      const struct qimg_image *image);

/* Reading (else: writing) failed at @off. Fills @err, returns -code. */
int convert_fail(const struct convert *c, int code, bool writing, uint64_t off,
                 struct qimg_error *err);

/* Puts the plan at its beginning. */
void convert_plan_restart(struct convert *c);

/* The bytes that will be fetched, which is what progress is counted in, into job.total. */
MUST_CHECK int convert_plan_count(struct convert *c, struct qimg_error *err);

/* See struct copy_ops. */
int convert_plan(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err);
int convert_transform(const struct copy_job *job, struct copy_slot *slot);

#endif

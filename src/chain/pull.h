/* SPDX-License-Identifier: Apache-2.0
 *
 * Pulling: an overlay takes into itself what it reads through its chain wherever another chain
 * would show something else. Rebase and stream are this, and then another name in the header.
 *
 * Both maps are walked side by side and cut into spans of whole units, a unit being what the
 * overlay allocates at once (a subcluster, or a cluster where it packs):
 *
 *   OWN    the overlay has it itself: nothing to do
 *   EQUAL  the maps prove that both chains read the same there: nothing to do, nothing to read
 *   OPEN   to be read on both sides; units that differ are copied, whole
 */
#ifndef CHAIN_PULL_H
#define CHAIN_PULL_H

#include "pair.h"
#include "qimg/rebase.h"

enum span_kind { SPAN_OWN, SPAN_EQUAL, SPAN_OPEN };

struct pull_span {
    uint64_t off, len; /* whole units, but for the end of the disk */
    enum span_kind kind;
};

struct pull_walk {
    struct pair_cursor cursor;
    struct qimg_image *side[2]; /* the overlay with its chain; the other chain, or NULL */
    uint64_t unit;              /* bytes */
    bool by_unit;          /* an OPEN span is one unit: of some units the overlay may have a part */
    struct pair_vec parts; /* of the last span, one behind the other: off, len, run, and the
                            * part's enum span_kind as tag */
};

/* From the start of @overlay's disk to its end. @packing: what is copied gets packed. */
void pull_walk_init(struct pull_walk *walk, struct qimg_image *overlay, struct qimg_image *other,
                    bool packing);
void pull_walk_release(struct pull_walk *walk);

/* The next span and its parts. Returns 1, 0 at the end, or a negative errno. */
MUST_CHECK int pull_walk_next(struct pull_walk *walk, struct pull_span *out,
                              struct qimg_error *err);

/* Is this run of the overlay's map the overlay's own, not its backing chain's? */
static inline bool pull_owns(const struct run *run)
{
    return run->layer == 0 && run->kind != RUN_UNALLOCATED;
}

/* --- the job -------------------------------------------------------------------------------- */

struct pull {
    struct qimg_image *overlay, *other;
    /* False: what is OPEN is copied without a look at the other chain. */
    bool compare;
    const struct qimg_pull_options *options;
};

/* Everything is durable on return 0; on failure what was copied by then is kept, and harmless. */
MUST_CHECK int pull_run(const struct pull *pull, struct qimg_pull_result *out,
                        struct qimg_error *err);

/* Only counts; the names are left alone. */
MUST_CHECK int pull_plan(const struct pull *pull, struct qimg_pull_plan *out,
                         struct qimg_error *err);

#endif

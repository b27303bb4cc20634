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

struct pull {
    struct qimg_image *overlay; /* with its chain */
    struct qimg_image *other;   /* the other chain; NULL: none */
    unsigned shared;            /* @other is the overlay's own chain from this layer on; 0: it is
                                 * not */
    bool compare;               /* false: what is OPEN is copied without a look at @other */
    uint64_t zeros_from;        /* units before it hold zeros as data, others are marked */
    const struct qimg_pull_options *options;
};

/* Is a unit of zeros at @off marked in the overlay's tables? Else it is written like data. */
static inline bool pull_marks_zeros(const struct pull *pull, uint64_t off)
{
    return pull->overlay->layers[0].image->marks_zeros && off >= pull->zeros_from;
}

/* --- the walk ------------------------------------------------------------------------------- */

struct pull_walk {
    const struct pull *pull;
    struct pair_cursor cursor;
    uint64_t unit;         /* bytes */
    bool by_unit;          /* an OPEN span is one unit: of some units the overlay may have a part */
    struct pair_vec parts; /* of the last span, one behind the other: off, len, run, and the part's
                            * enum span_kind as tag. The second run of an OWN part is not set */
};

/* From the start of the overlay's disk to its end. */
void pull_walk_init(struct pull_walk *walk, const struct pull *pull);
void pull_walk_release(struct pull_walk *walk);

/* The next span and its parts. Returns 1, 0 at the end, or a negative errno. */
MUST_CHECK int pull_walk_next(struct pull_walk *walk, struct pull_span *out,
                              struct qimg_error *err);

/* --- the job -------------------------------------------------------------------------------- */

/* Can what is copied be stored as asked for? -ENOTSUP. Warns of what is not looked at. */
MUST_CHECK int pull_check(const struct qimg_image *overlay, const struct qimg_pull_options *options,
                          struct qimg_error *err);

/* Everything is durable on return 0; on failure what was copied by then is kept, and harmless. */
MUST_CHECK int pull_run(const struct pull *pull, struct qimg_pull_result *out,
                        struct qimg_error *err);

/* Only counts; the names are left alone. */
MUST_CHECK int pull_plan(const struct pull *pull, struct qimg_pull_plan *out,
                         struct qimg_error *err);

#endif

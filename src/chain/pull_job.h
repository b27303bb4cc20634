/* SPDX-License-Identifier: Apache-2.0
 *
 * Between pull.c, which plans what is read, and pull_differ.c, which finds in it what is to be
 * copied.
 */
#ifndef CHAIN_PULL_JOB_H
#define CHAIN_PULL_JOB_H

#include "pull.h"

/* As a part's tag: OPEN, in a cluster that has a place in the overlay already, which can be
 * filled, but not be packed. */
#define PART_PLACED (SPAN_OPEN + 1)

struct pull_job {
    struct copy_job copy; /* first member */
    const struct pull *pull;
    struct qimg_pull_result *out;
    struct pull_walk walk;
    struct pull_span span;      /* what the walk found and no slot has yet */
    struct pair_batch *batches; /* by slot->index */
    uint64_t unit;              /* bytes that are allocated at once (walk.unit: or packed) */
};

/* The transform: what of @slot's pairs is to be written. */
int pull_find_differences(const struct copy_job *job, struct copy_slot *slot);

#endif

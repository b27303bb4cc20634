/* SPDX-License-Identifier: Apache-2.0
 *
 * Candidates for a missing backing file: found by name, confirmed by everything else.
 */
#ifndef CHAIN_FIX_H
#define CHAIN_FIX_H

#include "open.h"
#include "qimg/fix.h"
#include "survey.h"

/* What is looked for. */
struct fix_search {
    struct qimg_survey *survey;
    const struct qimg_chain_image *holder; /* the image whose backing file is missing */
    const char *const *directories;
    const struct file_id_vec *chain; /* files that are in the chain already */
};

/* Adds all files below the directories that have the name's last part, with evidence, sorted by
 * path; none of them is taken. */
MUST_CHECK int fix_search_candidates(const struct fix_search *search, struct qimg_fix_step *step,
                                     struct qimg_error *err);

/* Takes the one that is proven, or the only one that fits. NULL: none, or several. */
struct qimg_fix_candidate *fix_take(struct qimg_fix_step *step);

#endif

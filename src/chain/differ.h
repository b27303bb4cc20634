/* SPDX-License-Identifier: Apache-2.0
 *
 * The differences that compare finds, on their way to the caller: the first one is the verdict,
 * neighbours become one, and what only the longer image has is reported in its place.
 */
#ifndef CHAIN_DIFFER_H
#define CHAIN_DIFFER_H

#include "qimg/jobs.h"

struct differ {
    const struct qimg_compare_options *options;
    struct qimg_compare_result *result;
    struct qimg_compare_difference held, tail; /* range.len 0 = none */
};

/* @tail is what only one image has; len 0: they are of one size. */
void differ_init(struct differ *differ, const struct qimg_compare_options *options,
                 struct qimg_compare_result *result, struct qimg_range tail);

/* The verdict, if there is none yet. */
void differ_decide(struct differ *differ, enum qimg_compare_verdict verdict, uint64_t offset);

static inline bool differ_decided(const struct differ *differ)
{
    return differ->result->verdict != QIMG_COMPARE_IDENTICAL;
}

/* In guest order. */
void differ_add(struct differ *differ, const struct qimg_compare_difference *difference);

/* There are no more. */
void differ_end(struct differ *differ);

#endif

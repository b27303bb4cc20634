/* SPDX-License-Identifier: Apache-2.0
 *
 * Which L2 tables there are, and how many entries of L1 tables lead to each: so that a table that
 * many share is read once. Tables that lie in a hole of the file, or behind its end, have no
 * entries and are not listed.
 */
#ifndef QCOW2_CHECK_CENSUS_H
#define QCOW2_CHECK_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fail.h"
#include "qimg/types.h"

struct census_table {
    uint64_t off;
    uint64_t links;    /* from all L1 tables; 0 = a place of the hash that is free */
    uint32_t active;   /* of those, from the active one */
    int16_t rc;        /* -errno where it could not be read */
    bool loud;         /* something in it is to be told */
    bool hot;          /* see check_hot.c */
    bool copied_right; /* its COPIED flags are */
    bool explained;    /* by the walk that goes on */
};

struct census {
    struct census_table *tables; /* owned; sorted by off once frozen */
    size_t count, room;
    bool frozen;
};

void census_release(struct census *c);

/* @links more to the table at @off, @active of which are active. Not once it is frozen. */
MUST_CHECK int census_add(struct census *c, uint64_t off, uint64_t links, uint32_t active);

/* NULL: not listed. */
struct census_table *census_find(const struct census *c, uint64_t off);

/* Sorts. */
void census_freeze(struct census *c);

/* All links to tables that begin in @range; frozen only. */
uint64_t census_links_into(const struct census *c, struct qimg_range range);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads what a disk's files hold, without src/chain: "disk" over "base" (over a raw root that never
 * changes) or over "other", which is raw.
 */
#ifndef CRASH_LOOK_H
#define CRASH_LOOK_H

#include "disk.h"
#include "fail.h"
#include "truth.h"

/* The content of the root. */
void look_root(uint64_t sector, uint8_t out[512]);

/* @with_below: what lies below is read too; otherwise it is taken from @known, which is borrowed
 * for the reading in any case. Release @out even after a failure. */
int look(struct truth *out, const struct disk *disk, const struct truth *known, bool with_below,
         struct qimg_error *err);

/* Two checks find no corruption (and no leaks) in "disk", or @base: in "base". */
bool look_sound(const struct disk *disk, bool base, bool leaks_allowed, char why[TRUTH_WHY]);

#endif

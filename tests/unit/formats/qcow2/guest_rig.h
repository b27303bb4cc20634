/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest on a fresh image of the simulator, for tests of one part of the write engine.
 */
#ifndef UNIT_GUEST_RIG_H
#define UNIT_GUEST_RIG_H

#include "meta_internal.h"
#include "qcow2_walk.h"

/* 1 MiB of disk, version 3. */
struct walk_layout plain_layout(uint32_t cluster_size, unsigned refcount_bits);

struct guest fresh_guest(const struct walk_layout *layout, struct io_engine **engine);

/* It reads what it wrote; closed, its image is consistent. */
void finish_guest(struct guest *g, struct io_engine *engine);

/* Of the cluster at @off, releases that wait taken off. */
uint64_t count_at(struct qcow2 *q, uint64_t off);
struct qimg_range cluster_range(const struct qcow2 *q, uint64_t off);

#endif

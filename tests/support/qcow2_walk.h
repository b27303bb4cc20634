/* SPDX-License-Identifier: Apache-2.0
 *
 * Images of every layout on the simulator, and a guest that does something at random with them.
 */
#ifndef SUPPORT_QCOW2_WALK_H
#define SUPPORT_QCOW2_WALK_H

#include "qcow2_guest.h"

struct walk_layout {
    const char *title;
    uint64_t size;
    struct create_spec spec;
    bool backing;
    unsigned steps; /* that fill such an image well */
};

#define WALK_LAYOUTS 22

extern const struct walk_layout walk_layouts[WALK_LAYOUTS];

/* An engine with a durable, empty image "disk" (and "data"). */
struct io_engine *walk_fresh(const struct walk_layout *l, uint64_t seed);

/* guest_open() with the backing file's content that goes with the layout. */
int walk_open(struct guest *g, const struct walk_layout *l, struct io_engine *engine);

/* What stands in the backing file: *len bytes, NULL where there is none. */
const uint8_t *walk_backing(const struct walk_layout *l, uint64_t *len);

uint64_t walk_random(uint64_t *state);

/* A write, zeroing, discard, packed write or flush of some range. */
int walk_step(struct guest *g, uint64_t *state, bool *flushed);

/* 5, or what QIMG_TEST_SEED makes of it. */
uint64_t walk_seed(void);

#endif

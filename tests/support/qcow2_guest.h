/* SPDX-License-Identifier: Apache-2.0
 *
 * A host for one qcow2 image on the simulator, and a model of its guest: writes through
 * format_write_ops as src/chain does, remembers what the guest must read, and compares. Everything
 * aborts with a message where it fails and was not expected to.
 */
#ifndef SUPPORT_QCOW2_GUEST_H
#define SUPPORT_QCOW2_GUEST_H

#include "format.h"
#include "io_sim.h"

struct guest {
    struct io_engine *engine; /* borrowed */
    struct image *image;
    uint8_t *model;         /* image->size bytes: what the guest must read */
    uint8_t *attempt;       /* the same, had the call that failed been done to its end */
    const uint8_t *backing; /* borrowed; NULL = none */
    uint64_t backing_len;
    struct qimg_error err; /* of the last call that failed */
};

/* Opens "disk" of @engine (and "data" where it has a data file), begins writing, and learns the
 * model from what can be read. Returns 0 or the code of open or begin. */
int guest_open(struct guest *g, struct io_engine *engine, const void *backing, uint64_t len);

/* Ends writing and closes; returns what end said. */
int guest_close(struct guest *g);

/* Closes without ending, as a killed process. */
void guest_drop(struct guest *g);

/* Each updates the model on success and returns 0 or a negative errno. A failed write leaves the
 * parts before the failure written, in the model too. */
int guest_write(struct guest *g, struct qimg_range range, uint8_t fill);
int guest_write_packed(struct guest *g, uint64_t off, uint8_t fill);
int guest_zero(struct guest *g, struct qimg_range range, unsigned flags);
int guest_discard(struct guest *g, struct qimg_range range);
int guest_flush(struct guest *g);

/* What the guest reads now, through the live map (or image_map() where it is not writing). */
int guest_read(struct guest *g, struct qimg_range range, uint8_t *out);

/* Offset of the first byte that differs from the model, or -1. */
int64_t guest_differs(struct guest *g);

#endif

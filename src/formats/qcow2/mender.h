/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of repairs. It does not trust the image's refcounts, so it allocates nothing; it
 * keeps writes back until mender_flush(), which saves the old bytes in the undo log, writes, and
 * makes all of it durable. One flush is one step of a repair: steps are ordered by their caller.
 */
#ifndef QCOW2_MENDER_H
#define QCOW2_MENDER_H

#include "io.h"
#include "undo.h"
#include "vec.h"

struct mend {
    uint64_t off;
    uint8_t *bytes; /* owned */
    uint32_t len;
};

DEFINE_VEC(mend_vec, struct mend)

struct mender {
    struct io_file *file;  /* borrowed */
    struct undo_log *undo; /* borrowed; NULL = none */
    struct mend_vec staged;
    uint64_t staged_bytes;
};

/* Stages a copy of @len bytes. Where much is staged, flushes first: within a step the order of
 * writes does not matter. */
MUST_CHECK int mender_stage(struct mender *m, uint64_t off, const void *bytes, size_t len);

MUST_CHECK int mender_flush(struct mender *m);

/* Makes the file longer (a hole); durable on return. */
MUST_CHECK int mender_extend(struct mender *m, uint64_t size);

/* Drops what is staged. */
void mender_release(struct mender *m);

#endif

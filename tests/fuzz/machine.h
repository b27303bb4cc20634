/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulated machine whose disk is a fuzzer's input, and what its guest reads. Nothing here
 * touches a real file.
 */
#ifndef FUZZ_MACHINE_H
#define FUZZ_MACHINE_H

#include "fuzz.h"
#include "qimg/check.h"
#include "qimg/image.h"
#include "sim_context.h"

/* Guests of at most so many bytes are read as a whole. */
#define GUEST_BYTES (256 * 1024u)

/* Keeps no log. sim_context_new() takes it over. */
struct io_engine *machine_new(void);
void machine_put(struct io_engine *engine, const char *name, const uint8_t *bytes, size_t len);

/* Opens "disk" as qcow2, without backing file; NULL where that fails, with an error that says
 * something. */
struct qimg_image *machine_open(struct qimg_context *context, const struct qimg_open_options *how);

/* What the guest reads, sector by sector: readable[] says where that worked. */
struct guest_bytes {
    uint8_t *bytes; /* owned; NULL = too large, or it does not open */
    bool *readable; /* owned; one for each sector */
    size_t len;
};

struct guest_bytes guest_of(struct qimg_image *image);
void guest_bytes_release(struct guest_bytes *guest);

/* Does all that could be read in @before, up to the shorter end, read the same in @after? */
bool guest_kept(const struct guest_bytes *before, const struct guest_bytes *after);

/* What a check of "disk" counts; all ones where it does not open, or the check cannot go on. */
struct qimg_check_result machine_check(struct qimg_context *context);

/* Nothing but leaks? */
bool machine_is_sound(struct qimg_context *context);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Two images side by side: their merged maps walked in step, and what the maps alone prove equal.
 * What they leave open is gathered, pair by pair, into a slot of the pipeline whose buffer has one
 * half for each side.
 */
#ifndef CHAIN_PAIR_H
#define CHAIN_PAIR_H

#include "copy.h"

/* --- the walk ------------------------------------------------------------------------------- */

/* Past its own end a side is UNALLOCATED; NULL is an image of no bytes. */
struct pair_cursor {
    struct copy_cursor side[2];
    struct pair_tail {
        unsigned layer;
        uint64_t host_end; /* of a run that was looked at; 0 = none was */
        uint64_t padding;  /* how much of its end no file has */
    } tail[2];
};

/* Both from guest offset 0 to @end. */
void pair_cursor_init(struct pair_cursor *cursor, struct qimg_image *a, struct qimg_image *b,
                      uint64_t end);

/* The run of one side at the cursor, to its own end; see below. */
MUST_CHECK int pair_cursor_peek_side(struct pair_cursor *cursor, unsigned side, struct run *run,
                                     struct qimg_error *err);

/* The run of each side at the cursor, each to its own end. Bytes past the end of a raw file, whose
 * last sector is filled up with zeros, are a ZERO run of their own. On failure (also where a map
 * could not be read) *failed is the side. The walk must not be at its end. */
MUST_CHECK int pair_cursor_peek(struct pair_cursor *cursor, struct run run[2], unsigned *failed,
                                struct qimg_error *err);

void pair_cursor_advance(struct pair_cursor *cursor, uint64_t len);

static inline uint64_t pair_cursor_at(const struct pair_cursor *cursor)
{
    return cursor->side[0].at;
}

static inline bool pair_cursor_at_end(const struct pair_cursor *cursor)
{
    return cursor->side[0].at == cursor->side[0].end;
}

/* Cuts both runs, which begin at the same guest offset, to the length of the shorter one, and
 * returns that. */
uint64_t pair_clip(struct run run[2]);

/* Do runs of one length, of @a and of @b, read the same whatever is stored? Either both are zeros,
 * or both take the same bytes of the same file, opened once or twice. */
bool pair_proved_equal(const struct qimg_image *a, const struct qimg_image *b,
                       const struct run run[2]);

/* --- a slot's pairs ------------------------------------------------------------------------- */

/* A range that both sides are fetched for. */
struct pair {
    uint64_t off, len;
    size_t at; /* its place in each half of the slot's buffer */
    struct run run[2];
    const uint8_t *bytes[2]; /* there; NULL: all zeros */
    unsigned tag;            /* the caller's */
};

DEFINE_VEC(pair_vec, struct pair)

/* The pairs of one slot. The halves of its buffer keep in step, so that the bytes of both sides
 * lie at the same place of their half. */
struct pair_batch {
    struct pair_vec pairs;
    size_t used; /* bytes of each half */
};

void pair_batch_clear(struct pair_batch *batch);
void pair_batch_release(struct pair_batch *batch);

/* How much of both runs, which are of one length, has room in the slot now; 0: it is full. Packed
 * clusters are not split where that can be helped. */
uint64_t pair_batch_room(const struct pair_batch *batch, const struct copy_slot *slot,
                         const struct run run[2]);

/* Adds the first @len bytes of both runs. -ENOMEM. */
MUST_CHECK int pair_batch_add(struct pair_batch *batch, struct copy_slot *slot,
                              const struct run run[2], uint64_t len);

/* The last pair that was added need not be fetched from its second side, which nobody will look at,
 * or which is known to be what the first one is. */
void pair_batch_first_only(struct pair_batch *batch);

/* Has the pipeline fetch all that was added, from the images @side. -ENOMEM. */
MUST_CHECK int pair_batch_fetch(const struct pair_batch *batch, struct copy_slot *slot,
                                struct qimg_image *const side[2]);

/* Are the @len bytes from the pair's byte @at on the same on both sides? */
bool pair_equal(const struct pair *pair, uint64_t at, size_t len);

/* Bytes of a slot for pairs of these images: room for whole clusters of each layer. */
size_t pair_slot_size(const struct qimg_image *a, const struct qimg_image *b);

#endif

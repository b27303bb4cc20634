/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of an image that is open for writing: the one lock under which its format plans and
 * links (format.h), pins for its readers, and who waits for clusters that others hold. Images
 * opened for reading have none of it and pay nothing.
 *
 * Order of locks: this one, then the map's.
 */
#ifndef CHAIN_WRITING_H
#define CHAIN_WRITING_H

#include "chain.h"
#include "pins.h"

struct chain_writing {
    pthread_mutex_t lock; /* recursive: loading a window of the map takes it too */
    pthread_cond_t changed;
    atomic_uint_least64_t changes; /* plans that ended so far */
    unsigned waiting;              /* threads at `changed` */
    uint64_t moved;                /* bytes of data since the disk was last told to go on */
    struct pins pins;
    struct read_pins read_pins;
};

/* For an image whose top is open for writing and whose format can: at opening. */
MUST_CHECK int chain_writing_new(struct chain_writing **out);
void chain_writing_free(struct chain_writing *writing);

/* Nothing where the image is not open for writing. */
void chain_lock(struct qimg_image *image);
void chain_unlock(struct qimg_image *image);

/* Sees to it that the format has begun to write. Refuses images that cannot be written. Under the
 * image's lock. */
MUST_CHECK int chain_writing_begin(struct qimg_image *image, struct qimg_error *err);

/* Ends what chain_writing_begin() began, with no write and no read under way: everything is
 * durable on return 0. Nothing where nothing was written. A later write begins again. */
MUST_CHECK int chain_writing_end(struct qimg_image *image, struct qimg_error *err);

/* Drops what was not flushed, where the image is of no use any more. */
void chain_writing_abandon(struct qimg_image *image);

/* A plan ended: who got -EAGAIN may ask again. Under the image's lock. */
void chain_writing_changed(struct qimg_image *image);

/* @len bytes of data were written. True, once for each 32 MiB: the caller has the disk go on with
 * them (io_write_back) while more is written, instead of getting all of it with the next sync.
 * Under the image's lock. */
bool chain_writing_moved(struct qimg_image *image, uint64_t len);

/* Waits until more plans have ended than the @seen ones. Without the lock. */
void chain_writing_wait(struct qimg_image *image, uint64_t seen);

/* The plans that have ended so far. */
uint64_t chain_writing_changes(const struct qimg_image *image);

/* Around each read through the map: from before its look-up until its bytes are there. */
static inline uint64_t chain_pin(struct qimg_image *image)
{
    return image->writing ? pins_enter(&image->writing->pins) : 0;
}

static inline void chain_unpin(struct qimg_image *image, uint64_t pin)
{
    if (image->writing)
        pins_leave(&image->writing->pins, pin);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * One plan's bytes on their way to the file. Between write.c, which plans, and write_piece.c.
 */
#ifndef CHAIN_WRITE_PIECE_H
#define CHAIN_WRITE_PIECE_H

#include "write.h"

/* Memory for one more plan of @write; NULL: none left. Given back by piece_drop() where the plan
 * does not come about. */
struct write_piece *piece_take(struct chain_write *write);
void piece_drop(struct write_piece *piece);

/* Asks for storage where the piece goes. */
void piece_reserve(const struct write_piece *piece);

/* Moves the bytes of a plan that write_begin() made, links them, and tells the write by
 * chain_write_piece_done(). Without the image's lock. */
void piece_start(struct write_piece *piece);

/* The same in the calling thread, without queue: returns 0 or -errno, and @piece is gone. */
MUST_CHECK int piece_run(struct write_piece *piece);

/* In write.c: a piece of @write ended with @rc, and is gone. */
void chain_write_piece_done(struct chain_write *write, int rc);

/* Where a failure of @write is explained: its own err, for the first one only. */
struct qimg_error *chain_write_error(struct chain_write *write, struct qimg_error *unsaid);

/* Shows the map what happened to guest bytes in @changed, and in the clusters at its ends. Under
 * the image's lock. */
void chain_write_splice(struct qimg_image *image, struct qimg_range changed);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Bringing mapping tables into memory: many of a chain's layers in one batch of requests, or one
 * at a time where the page cache has them.
 */
#ifndef CHAIN_MAP_TABLES_H
#define CHAIN_MAP_TABLES_H

#include "blanks.h"
#include "chain.h"
#include "format.h"
#include "vec.h"

/* A table, its layer, and where in the batch's buffer it goes. */
struct batch_table {
    struct table_ref ref;
    unsigned layer;
    bool failed;
    size_t at;
};

DEFINE_VEC(batch_table_vec, struct batch_table)

struct table_batch {
    const struct qimg_image *image;
    struct batch_table_vec tables; /* in layer order */
    size_t bytes;                  /* of all of them */
    uint8_t *buffer;
    size_t room;
};

/* Takes those of @image's tables out of @refs, from index @from on, that are known to be zeros, and
 * so say nothing. */
void table_refs_drop_blank(const struct image *image, struct blanks *blanks,
                           struct table_ref_vec *refs, size_t from);

/* Forgets the tables; memory stays for the next batch. */
void table_batch_clear(struct table_batch *b);
void table_batch_release(struct table_batch *b);

MUST_CHECK int table_batch_add(struct table_batch *b, unsigned layer, const struct table_ref *ref);

/* Reads all of them; those that cannot be read are marked. Returns 0 or -ENOMEM and the like. */
MUST_CHECK int table_batch_read(struct table_batch *b);

/* The bytes of a table that was read; NULL where that failed. */
const uint8_t *table_batch_bytes(const struct table_batch *b, const struct batch_table *table);

/* Reads one table where that needs no waiting, into memory that the next call uses again; -EAGAIN
 * where it does. The batch is empty. */
MUST_CHECK int table_batch_peek(struct table_batch *b, unsigned layer, const struct table_ref *ref,
                                const uint8_t **raw);

#endif

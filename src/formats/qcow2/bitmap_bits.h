/* SPDX-License-Identifier: Apache-2.0
 *
 * The bits of one persistent bitmap in memory, in pieces: one for each cluster of bits that the
 * bitmap has on disk. A piece is loaded when its content is asked for, and takes memory only
 * while it holds bits that the disk does not have: no more than will be written.
 */
#ifndef QCOW2_BITMAP_BITS_H
#define QCOW2_BITMAP_BITS_H

#include "qcow2.h"

/* Table entries, 8 bytes each:
 *   BITS    FIELD
 *    0      all bits of the piece are 1 (only where the offset is 0)
 *    9..55  offset of the cluster (0 = all bits are the same)
 *   others  0
 */
#define BITMAP_ALL_ONES   UINT64_C(1)
#define BITMAP_RESERVED   (~(QCOW2_OFFSET_MASK | BITMAP_ALL_ONES))
#define BITMAP_WORD_BYTES 8

/* Content: all ones, or what is at host_off (0: zeros) with bytes laid over it by OR. */
struct bits_piece {
    uint8_t *bytes; /* owned; NULL = nothing beyond what is at host_off */
    uint64_t host_off;
    bool ones;
    bool changed;
};

struct bitmap_bits {
    struct io_file *file; /* where host_off points into */
    unsigned granularity_bits;
    uint64_t size;      /* bytes of the disk that the bits stand for */
    uint64_t count;     /* bits */
    uint32_t piece_len; /* bytes */
    struct bits_piece *pieces;
    uint32_t piece_count;
    uint64_t *words; /* the table on disk; NULL = none */
    uint32_t word_count;
    bool lost; /* a bit could not be recorded: no memory */
};

/* Pieces that a bitmap of a disk of @size bytes has. */
uint64_t bitmap_piece_count(const struct qcow2 *q, uint64_t size, unsigned granularity_bits);

/* All zeros, and nothing on disk. NULL: no memory. */
struct bitmap_bits *bitmap_bits_new(const struct qcow2 *q, unsigned granularity_bits);

/* Those of @b, as its table says. */
MUST_CHECK int bitmap_bits_load(const struct qcow2 *q, const struct qcow2_bitmap *b,
                                struct bitmap_bits **out, struct qimg_error *err);

/* NULL is fine. */
void bitmap_bits_free(struct bitmap_bits *bits);

/* The words of @b's table, checked one by one: -EBADMSG where one makes no sense. */
MUST_CHECK int bitmap_table_load(const struct qcow2 *q, const struct qcow2_bitmap *b,
                                 uint64_t **out);

/* Sets the bits for all granules that the bytes of @range touch, cut at the end of the disk. */
MUST_CHECK int bitmap_bits_set(struct bitmap_bits *bits, struct qimg_range range);

/* All to zero. */
void bitmap_bits_clear(struct bitmap_bits *bits);

/* The content of piece @index, with zeros behind the last bit; @buf has piece_len bytes. */
MUST_CHECK int bitmap_bits_read(const struct bitmap_bits *bits, uint32_t index, uint8_t *buf);

/* Does every bit of the piece exist? (The last one may stand for less.) */
bool bitmap_piece_is_full(const struct bitmap_bits *bits, uint32_t index);

/* Sets in @to what is set in @from, granule by granule. Sizes are equal. */
MUST_CHECK int bitmap_bits_merge(struct bitmap_bits *to, const struct bitmap_bits *from);

/* For another size of the disk: new bits are zeros. */
MUST_CHECK int bitmap_bits_resize(struct bitmap_bits *bits, uint64_t size);

bool bitmap_bits_changed(const struct bitmap_bits *bits);

#endif

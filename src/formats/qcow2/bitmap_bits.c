/* SPDX-License-Identifier: Apache-2.0
 *
 * Bits of persistent bitmaps: bit n is bit n % 8 of byte n / 8 and stands for the n-th granule of
 * the disk. On disk their bytes are padded to a multiple of 8 and cut into clusters.
 *
 * Invariants of struct bitmap_bits:
 *   (1) size, count and piece_count belong together (bitmap_piece_count).
 *   (2) bytes[] of a piece has no bit set behind the last one; what is at host_off may.
 *   (3) a piece that is not changed is what words[] says of it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap_bits.h"
#include "checked.h"
#include "cleanup.h"

static uint64_t bit_count(uint64_t size, unsigned granularity_bits)
{
    return div_up(size, UINT64_C(1) << granularity_bits);
}

static uint64_t piece_count(uint64_t bits, uint32_t piece_len)
{
    return div_up(align_up(bits, 64) / 8, piece_len);
}

uint64_t bitmap_piece_count(const struct qcow2 *q, uint64_t size, unsigned granularity_bits)
{
    return piece_count(bit_count(size, granularity_bits), q->image.cluster_size);
}

/* --- life ------------------------------------------------------------------------------------ */

struct bitmap_bits *bitmap_bits_new(const struct qcow2 *q, unsigned granularity_bits)
{
    struct bitmap_bits *bits = calloc(1, sizeof(*bits));

    if (!bits)
        return NULL;
    bits->file = q->image.file;
    bits->granularity_bits = granularity_bits;
    bits->piece_len = q->image.cluster_size;
    bits->size = qcow2_disk_size(q);
    bits->count = bit_count(bits->size, granularity_bits);
    bits->piece_count = (uint32_t)piece_count(bits->count, bits->piece_len);
    bits->pieces = calloc(bits->piece_count + 1, sizeof(*bits->pieces));
    if (!bits->pieces) {
        free(bits);
        return NULL;
    }
    return bits;
}

static void drop_pieces(struct bitmap_bits *bits, uint32_t from)
{
    for (uint32_t i = from; i < bits->piece_count; i++)
        free(bits->pieces[i].bytes);
}

void bitmap_bits_free(struct bitmap_bits *bits)
{
    if (!bits)
        return;
    drop_pieces(bits, 0);
    free(bits->pieces);
    free(bits->words);
    free(bits);
}

static bool word_is_sound(const struct qcow2 *q, uint64_t word)
{
    const uint64_t off = word & QCOW2_OFFSET_MASK;

    if (word & BITMAP_RESERVED || !is_aligned(off, q->image.cluster_size))
        return false;
    return off == 0 || !(word & BITMAP_ALL_ONES);
}

int bitmap_table_load(const struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t **out)
{
    const size_t len = (size_t)b->table_count * BITMAP_WORD_BYTES;
    AUTO_FREE uint64_t *words = malloc(len);

    if (!words)
        return -ENOMEM;
    TRY(io_read_exact(q->image.file, b->table_off, words, len, NULL));
    for (uint32_t i = 0; i < b->table_count; i++) {
        words[i] = load_be64(&words[i]);
        if (!word_is_sound(q, words[i]))
            return -EINVAL;
    }
    *out = TAKE(words);
    return 0;
}

int bitmap_bits_load(const struct qcow2 *q, const struct qcow2_bitmap *b, struct bitmap_bits **out,
                     struct qimg_error *err)
{
    assert(!(b->flags & QCOW2_BITMAP_IN_USE));
    AUTO_FREE uint64_t *words = NULL;

    if (b->table_count != bitmap_piece_count(q, qcow2_disk_size(q), b->granularity_bits))
        return qimg_fail_errno(err, EINVAL, "Could not read bitmap '%s' from image", b->name);
    const int rc = bitmap_table_load(q, b, &words);
    if (rc < 0)
        return qimg_fail_errno(
            err, -rc, "Could not read bitmap_table table from image for bitmap '%s'", b->name);
    struct bitmap_bits *bits = bitmap_bits_new(q, b->granularity_bits);
    if (!bits)
        return qimg_fail_memory(err);
    for (uint32_t i = 0; i < bits->piece_count; i++) {
        bits->pieces[i].host_off = words[i] & QCOW2_OFFSET_MASK;
        bits->pieces[i].ones = words[i] & BITMAP_ALL_ONES;
    }
    bits->words = TAKE(words);
    bits->word_count = b->table_count;
    *out = bits;
    return 0;
}

/* --- content -------------------------------------------------------------------------------- */

static uint64_t piece_bits(const struct bitmap_bits *bits)
{
    return (uint64_t)bits->piece_len * 8;
}

/* Bits of piece @index that exist. */
static uint64_t valid_bits(const struct bitmap_bits *bits, uint32_t index)
{
    return min_u64(bits->count - index * piece_bits(bits), piece_bits(bits));
}

bool bitmap_piece_is_full(const struct bitmap_bits *bits, uint32_t index)
{
    return valid_bits(bits, index) == piece_bits(bits);
}

/* Sets bits [first, first + count) of @bytes. */
static void set_bits(uint8_t *bytes, uint64_t first, uint64_t count)
{
    for (; count > 0 && first % 8; first++, count--)
        bytes[first / 8] |= (uint8_t)(1u << first % 8);
    memset(bytes + first / 8, 0xff, count / 8);
    first += count / 8 * 8;
    for (count %= 8; count > 0; first++, count--)
        bytes[first / 8] |= (uint8_t)(1u << first % 8);
}

int bitmap_bits_read(const struct bitmap_bits *bits, uint32_t index, uint8_t *buf)
{
    const struct bits_piece *p = &bits->pieces[index];
    const uint64_t valid = valid_bits(bits, index);

    memset(buf, 0, bits->piece_len);
    if (p->ones) {
        set_bits(buf, 0, valid);
        return 0;
    }
    if (p->host_off)
        TRY(io_read_exact(bits->file, p->host_off, buf, bits->piece_len, NULL));
    for (uint32_t i = 0; p->bytes && i < bits->piece_len; i++)
        buf[i] |= p->bytes[i];
    if (valid % 8)
        buf[valid / 8] &= (uint8_t)((1u << valid % 8) - 1);
    memset(buf + div_up(valid, 8), 0, bits->piece_len - div_up(valid, 8));
    return 0;
}

static void make_ones(struct bits_piece *p)
{
    free(p->bytes);
    *p = (struct bits_piece){ .ones = true, .changed = true };
}

/* Sets bits [first, first + count) of one piece. */
static int set_in_piece(struct bitmap_bits *bits, uint32_t index, uint64_t first, uint64_t count)
{
    struct bits_piece *p = &bits->pieces[index];

    if (p->ones)
        return 0;
    if (count == valid_bits(bits, index)) {
        make_ones(p);
        return 0;
    }
    if (!p->bytes)
        p->bytes = calloc(1, bits->piece_len);
    if (!p->bytes)
        return -ENOMEM;
    set_bits(p->bytes, first, count);
    p->changed = true;
    return 0;
}

int bitmap_bits_set(struct bitmap_bits *bits, struct qimg_range range)
{
    range = range_clip(range, bits->size);
    if (range.len == 0)
        return 0;
    uint64_t bit = range.off >> bits->granularity_bits;
    const uint64_t end = ((range_end(range) - 1) >> bits->granularity_bits) + 1;
    while (bit < end) {
        const uint32_t index = (uint32_t)(bit / piece_bits(bits));
        const uint64_t first = bit % piece_bits(bits);
        const uint64_t count = min_u64(end - bit, piece_bits(bits) - first);
        TRY(set_in_piece(bits, index, first, count));
        bit += count;
    }
    return 0;
}

void bitmap_bits_clear(struct bitmap_bits *bits)
{
    for (uint32_t i = 0; i < bits->piece_count; i++) {
        struct bits_piece *p = &bits->pieces[i];
        const bool is_clear = !p->ones && !p->host_off && !p->bytes;
        free(p->bytes);
        *p = (struct bits_piece){ .changed = p->changed || !is_clear };
    }
}

bool bitmap_bits_changed(const struct bitmap_bits *bits)
{
    for (uint32_t i = 0; i < bits->piece_count; i++)
        if (bits->pieces[i].changed)
            return true;
    return bits->piece_count != bits->word_count;
}

/* --- merging and resizing ------------------------------------------------------------------- */

static bool bit_is_set(const uint8_t *bytes, uint64_t bit)
{
    return bytes[bit / 8] & 1u << bit % 8;
}

/* The first bit from @bit on, below @end, that is @set; else @end. */
static uint64_t next_bit(const uint8_t *bytes, uint64_t bit, uint64_t end, bool set)
{
    const uint8_t dull = set ? 0 : 0xff;

    while (bit < end) {
        if (bit % 8 == 0 && bytes[bit / 8] == dull)
            bit += 8;
        else if (bit_is_set(bytes, bit) == set)
            return bit;
        else
            bit++;
    }
    return end;
}

static int merge_piece(struct bitmap_bits *to, const struct bitmap_bits *from, uint32_t index,
                       uint8_t *buf)
{
    const uint64_t base = index * piece_bits(from), end = valid_bits(from, index);

    TRY(bitmap_bits_read(from, index, buf));
    for (uint64_t bit = next_bit(buf, 0, end, true); bit < end;) {
        const uint64_t stop = next_bit(buf, bit, end, false);
        TRY(bitmap_bits_set(to, (struct qimg_range){ (base + bit) << from->granularity_bits,
                                                     (stop - bit) << from->granularity_bits }));
        bit = next_bit(buf, stop, end, true);
    }
    return 0;
}

int bitmap_bits_merge(struct bitmap_bits *to, const struct bitmap_bits *from)
{
    assert(to->size == from->size);
    AUTO_FREE uint8_t *buf = malloc(from->piece_len);

    if (!buf)
        return -ENOMEM;
    for (uint32_t i = 0; i < from->piece_count; i++) {
        const struct bits_piece *p = &from->pieces[i];
        if (p->ones || p->host_off || p->bytes)
            TRY(merge_piece(to, from, i, buf));
    }
    return 0;
}

/* Puts the last piece's bits into memory, so that what lies behind the last bit on disk, or in
 * "all ones", does not become bits. */
static int settle_last(struct bitmap_bits *bits)
{
    struct bits_piece *p = &bits->pieces[bits->piece_count - 1];

    if (!p->ones && !p->host_off)
        return 0;
    uint8_t *buf = malloc(bits->piece_len);
    if (!buf)
        return -ENOMEM;
    const int rc = bitmap_bits_read(bits, bits->piece_count - 1, buf);
    if (rc < 0) {
        free(buf);
        return rc;
    }
    free(p->bytes);
    *p = (struct bits_piece){ .bytes = buf, .changed = true };
    return 0;
}

/* What lies behind the last bit in bytes[] goes (2). */
static void trim_last(struct bitmap_bits *bits)
{
    if (bits->piece_count == 0 || !bits->pieces[bits->piece_count - 1].bytes)
        return;
    struct bits_piece *p = &bits->pieces[bits->piece_count - 1];
    const uint64_t valid = valid_bits(bits, bits->piece_count - 1);
    if (valid % 8)
        p->bytes[valid / 8] &= (uint8_t)((1u << valid % 8) - 1);
    memset(p->bytes + div_up(valid, 8), 0, bits->piece_len - div_up(valid, 8));
    p->changed = true;
}

int bitmap_bits_resize(struct bitmap_bits *bits, uint64_t size)
{
    const uint64_t count = bit_count(size, bits->granularity_bits);
    const uint32_t pieces = (uint32_t)piece_count(count, bits->piece_len);

    if (count == bits->count) {
        bits->size = size;
        return 0;
    }
    if (count > bits->count && bits->piece_count > 0)
        TRY(settle_last(bits));
    if (pieces > bits->piece_count) {
        struct bits_piece *more = reallocarray(bits->pieces, pieces + 1, sizeof(*more));
        if (!more)
            return -ENOMEM;
        memset(more + bits->piece_count, 0, (pieces - bits->piece_count) * sizeof(*more));
        bits->pieces = more;
    } else {
        drop_pieces(bits, pieces);
    }
    bits->piece_count = pieces;
    bits->count = count;
    bits->size = size;
    if (pieces > 0)
        TRY(settle_last(bits));
    trim_last(bits);
    return 0;
}

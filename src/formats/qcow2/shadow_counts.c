/* SPDX-License-Identifier: Apache-2.0
 *
 * Reference counts that change beside those on disk: blocks are loaded when they are needed,
 * changed in memory, and leave it for places of their own in the shadow when there are too many.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "shadow.h"

static size_t block_bytes(const struct shadow_counts *c)
{
    return (size_t)1 << c->cluster_bits;
}

void shadow_counts_init(struct shadow_counts *c, const struct qcow2 *q, unsigned order)
{
    *c = (struct shadow_counts){
        .file = q->image.file,
        .cluster_bits = q->header.cluster_bits,
        .order = order,
        .block_bits = q->header.cluster_bits + 3 - order,
    };
    c->budget = max_u64(SHADOW_BUDGET >> c->cluster_bits, 16);
}

void shadow_counts_release(struct shadow_counts *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->blocks[i].bytes);
    free(c->blocks);
    c->blocks = NULL;
    c->count = c->room = c->loaded = 0;
}

/* --- the table ------------------------------------------------------------------------------ */

static int reach(struct shadow_counts *c, uint64_t count)
{
    if (count <= c->count)
        return 0;
    if (count > LIMIT_QCOW2_REFTABLE_BYTES / QCOW2_REFTABLE_ENTRY_BYTES)
        return -EFBIG;
    if (count > c->room) {
        const size_t room = max_u64(count, c->room * 2);
        struct shadow_block *blocks = reallocarray(c->blocks, room, sizeof(*blocks));
        if (!blocks)
            return -ENOMEM;
        c->blocks = blocks;
        c->room = room;
    }
    memset(c->blocks + c->count, 0, (count - c->count) * sizeof(*c->blocks));
    c->count = count;
    return 0;
}

/* A table entry that cannot be is refused at once: its counts would be lost otherwise. */
static int take_entry(struct shadow_counts *c, const struct qcow2 *q, uint64_t index, uint64_t word)
{
    const uint64_t off = word & QCOW2_REFTABLE_OFFSET_MASK;

    if (off == 0)
        return 0;
    if (!is_aligned(off, qcow2_cluster_size(q)) || off >= q->geometry.file_size)
        return -EUCLEAN;
    TRY(reach(c, index + 1));
    c->blocks[index].off = off;
    return 0;
}

int shadow_counts_load(struct shadow_counts *c, const struct qcow2 *q)
{
    const struct qcow2_header *h = &q->header;
    const uint64_t bytes = (uint64_t)h->reftable_clusters << h->cluster_bits;
    const uint64_t in_file = min_u64(bytes, align_down(q->geometry.file_size - h->reftable_off, 8));
    AUTO_FREE uint8_t *raw = malloc(in_file + 1);

    shadow_counts_init(c, q, h->refcount_order);
    if (!raw)
        return -ENOMEM;
    TRY(io_read_exact(c->file, h->reftable_off, raw, in_file, NULL));
    for (uint64_t i = 0; i < in_file / 8; i++)
        TRY(take_entry(c, q, i, load_be64(raw + 8 * i)));
    return 0;
}

/* --- blocks in memory ----------------------------------------------------------------------- */

static int write_block(struct shadow_counts *c, struct shadow_block *b)
{
    assert(b->placed);
    TRY(io_write_exact(c->file, b->off, b->bytes, block_bytes(c)));
    b->dirty = false;
    return 0;
}

int shadow_counts_place(struct shadow_counts *c, struct shadow_block *b)
{
    uint64_t off;

    TRY(c->place(c->user, b->off, &off));
    b->off = off;
    b->placed = true;
    return 0;
}

/* Takes one block out of memory, not @kept. */
static int evict(struct shadow_counts *c, const struct shadow_block *kept)
{
    struct shadow_block *b;

    do {
        c->hand = (c->hand + 1) % c->count;
        b = &c->blocks[c->hand];
    } while (!b->bytes || b == kept);
    if (b->dirty && !b->placed)
        TRY(shadow_counts_place(c, b));
    if (b->dirty)
        TRY(write_block(c, b));
    free(b->bytes);
    b->bytes = NULL;
    c->loaded--;
    return 0;
}

static int load_block(struct shadow_counts *c, struct shadow_block *b)
{
    AUTO_FREE uint8_t *bytes = calloc(1, block_bytes(c));

    if (!bytes)
        return -ENOMEM;
    if (b->off)
        TRY(io_read_exact(c->file, b->off, bytes, block_bytes(c), NULL));
    b->bytes = TAKE(bytes);
    c->loaded++;
    if (c->loaded > c->budget)
        return evict(c, b);
    return 0;
}

/* The block with @cluster's count, in memory; NULL where it is past the table. */
static int block_of(struct shadow_counts *c, uint64_t cluster, struct shadow_block **out)
{
    const uint64_t index = cluster >> c->block_bits;

    *out = index < c->count ? &c->blocks[index] : NULL;
    return *out && !(*out)->bytes ? load_block(c, *out) : 0;
}

int shadow_counts_flush(struct shadow_counts *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->blocks[i].dirty)
            TRY(write_block(c, &c->blocks[i]));
    return 0;
}

/* --- counts --------------------------------------------------------------------------------- */

static uint64_t index_in_block(const struct shadow_counts *c, uint64_t cluster)
{
    return cluster & ((UINT64_C(1) << c->block_bits) - 1);
}

static uint64_t max_count(const struct shadow_counts *c)
{
    return UINT64_MAX >> (64 - (1u << c->order));
}

int shadow_counts_get(struct shadow_counts *c, uint64_t cluster, uint64_t *out)
{
    struct shadow_block *b;

    TRY(block_of(c, cluster, &b));
    *out = b ? qcow2_refcount_get(b->bytes, c->order, index_in_block(c, cluster)) : 0;
    return 0;
}

int shadow_counts_set(struct shadow_counts *c, uint64_t cluster, uint64_t value)
{
    struct shadow_block *b;

    if (value > max_count(c))
        return -EINVAL;
    TRY(reach(c, (cluster >> c->block_bits) + 1));
    TRY(block_of(c, cluster, &b));
    assert(b); /* reach() made it */
    qcow2_refcount_put(b->bytes, c->order, index_in_block(c, cluster), value);
    b->changed = b->dirty = true;
    return 0;
}

/* The part of a run that lies in one block. */
static int add_in_block(struct shadow_counts *c, struct shadow_block *b, struct qimg_range indices,
                        struct shadow_delta delta, uint64_t *zeroed)
{
    const uint64_t most = max_count(c);

    for (uint64_t i = indices.off; i < range_end(indices); i++) {
        const uint64_t count = qcow2_refcount_get(b->bytes, c->order, i);
        const bool less = delta.change == SHADOW_LESS;
        if (delta.change != SHADOW_NEW && count < (less ? delta.times : 1))
            return -EBADMSG;
        if (!less && delta.times > most - count)
            return -EINVAL;
        qcow2_refcount_put(b->bytes, c->order, i, less ? count - delta.times : count + delta.times);
        *zeroed += less && count == delta.times;
    }
    return 0;
}

int shadow_counts_add(struct shadow_counts *c, uint64_t first, uint64_t n,
                      struct shadow_delta delta, uint64_t *zeroed)
{
    const uint64_t per_block = UINT64_C(1) << c->block_bits;

    *zeroed = 0;
    while (n > 0) {
        const uint64_t index = index_in_block(c, first);
        const uint64_t part = min_u64(n, per_block - index);
        struct shadow_block *b;

        TRY(reach(c, (first >> c->block_bits) + 1));
        TRY(block_of(c, first, &b));
        assert(b); /* reach() made it */
        b->changed = b->dirty = true;
        TRY(add_in_block(c, b, (struct qimg_range){ index, part }, delta, zeroed));
        first += part;
        n -= part;
    }
    return 0;
}

int shadow_counts_none_in(struct shadow_counts *c, size_t i, struct blanks *blanks, bool *none)
{
    struct shadow_block *b = &c->blocks[i];
    const struct qimg_range place = { b->off, block_bytes(c) };

    *none = b->off == 0;
    if (!b->bytes && !b->placed && !*none)
        *none = blanks_have(blanks, c->file, place);
    if (!b->bytes && *none)
        return 0;
    TRY(block_of(c, (uint64_t)i << c->block_bits, &b));
    assert(b); /* i < c->count */
    *none = bytes_are_zero(b->bytes, block_bytes(c));
    if (*none && !b->changed)
        blanks_note(blanks, place);
    return 0;
}

/* The block behind the last one in which anything is counted. */
static int last_block(struct shadow_counts *c, size_t *end)
{
    AUTO(blanks_release) struct blanks blanks = { 0 };
    bool none = true;

    for (*end = c->count; *end > 0; --*end) {
        TRY(shadow_counts_none_in(c, *end - 1, &blanks, &none));
        if (!none)
            break;
    }
    return 0;
}

int shadow_counts_end(struct shadow_counts *c, uint64_t *out)
{
    uint64_t index = UINT64_C(1) << c->block_bits;
    struct shadow_block *b;
    size_t end;

    *out = 0;
    TRY(last_block(c, &end));
    if (end == 0)
        return 0;
    TRY(block_of(c, (uint64_t)(end - 1) << c->block_bits, &b));
    assert(b);
    while (qcow2_refcount_get(b->bytes, c->order, index - 1) == 0)
        index--;
    *out = ((uint64_t)(end - 1) << c->block_bits) + index;
    return 0;
}

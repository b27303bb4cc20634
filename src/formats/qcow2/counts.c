/* SPDX-License-Identifier: Apache-2.0
 *
 * See counts.h. Cells of 2 bits lie 32 in a 64-bit word, the first in the lowest bits; wider cells
 * are host-order integers. Runs of 2-bit cells are handled a word at a time.
 */
#include "counts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "bytes.h"

#define NARROW        2u
#define CELLS         32u /* 2-bit cells of a word */
#define ONES          UINT64_C(0x5555555555555555)
#define GROW_AT_LEAST 4096u
#define PAGE          4096u

static uint64_t bytes_for(uint64_t length, unsigned bits)
{
    return bits == NARROW ? div_up(length, CELLS) * 8 : length * (bits / 8);
}

int counts_init(struct counts *c, uint64_t length)
{
    *c = (struct counts){ .bits = NARROW };
    return counts_grow(c, length);
}

void counts_release(struct counts *c)
{
    free(c->cells);
    *c = (struct counts){ 0 };
}

uint64_t counts_bytes(const struct counts *c)
{
    return bytes_for(c->room, c->bits);
}

int counts_grow(struct counts *c, uint64_t length)
{
    if (length <= c->length)
        return 0;
    if (length > c->room) {
        /* Exact at first: the length of a file is known. Then generous: growth is rare. */
        const uint64_t room = c->room ? length + length / 8 + GROW_AT_LEAST : length;
        const uint64_t old_bytes = bytes_for(c->room, c->bits);
        const uint64_t new_bytes = bytes_for(room, c->bits);
        uint8_t *cells = c->cells ? realloc(c->cells, new_bytes) : calloc(1, new_bytes);
        if (!cells)
            return -ENOMEM;
        if (c->cells)
            memset(cells + old_bytes, 0, new_bytes - old_bytes);
        c->cells = cells;
        c->room = room;
    }
    c->length = length;
    return 0;
}

int counts_copy(const struct counts *from, struct counts *to)
{
    const uint64_t bytes = counts_bytes(from);

    *to = *from;
    to->cells = calloc(1, bytes);
    if (!to->cells)
        return -ENOMEM;
    for (uint64_t i = 0; i < bytes; i += PAGE) {
        const size_t n = min_u64(PAGE, bytes - i);
        if (!bytes_are_zero(from->cells + i, n))
            memcpy(to->cells + i, from->cells + i, n);
    }
    return 0;
}

/* --- single counts ---------------------------------------------------------------------------- */

static uint64_t *words(const struct counts *c)
{
    return (uint64_t *)(void *)c->cells;
}

static uint64_t get(const struct counts *c, uint64_t index)
{
    const void *cell = c->cells + index * (c->bits / 8);
    uint32_t v32;
    uint16_t v16;

    switch (c->bits) {
    case NARROW:
        return words(c)[index / CELLS] >> 2 * (index % CELLS) & 3;
    case 8:
        return c->cells[index];
    case 16:
        memcpy(&v16, cell, sizeof(v16));
        return v16;
    case 32:
        memcpy(&v32, cell, sizeof(v32));
        return v32;
    default:
        return words(c)[index];
    }
}

/* @value fits. */
static void put(struct counts *c, uint64_t index, uint64_t value)
{
    void *cell = c->cells + index * (c->bits / 8);
    const uint16_t v16 = (uint16_t)value;
    const uint32_t v32 = (uint32_t)value;

    switch (c->bits) {
    case NARROW: {
        uint64_t *word = &words(c)[index / CELLS];
        const unsigned shift = 2 * (unsigned)(index % CELLS);
        *word = (*word & ~(UINT64_C(3) << shift)) | value << shift;
        break;
    }
    case 8:
        c->cells[index] = (uint8_t)value;
        break;
    case 16:
        memcpy(cell, &v16, sizeof(v16));
        break;
    case 32:
        memcpy(cell, &v32, sizeof(v32));
        break;
    default:
        words(c)[index] = value;
    }
}

static bool fits(uint64_t value, unsigned bits)
{
    return bits == 64 || value >> bits == 0;
}

static int widen(struct counts *c, uint64_t value)
{
    struct counts wide = *c;

    wide.bits = value < 256 ? 8 : value < 65536 ? 16 : value >> 32 ? 64 : 32;
    wide.cells = calloc(1, bytes_for(c->room, wide.bits));
    if (!wide.cells)
        return -ENOMEM;
    for (uint64_t i = 0; i < c->length; i++) {
        /* Memory that was never touched stays so: a sparse file has few clusters that count. */
        if (c->bits == NARROW && i % CELLS == 0 && words(c)[i / CELLS] == 0) {
            i += CELLS - 1;
            continue;
        }
        const uint64_t count = get(c, i);
        if (count)
            put(&wide, i, count);
    }
    free(c->cells);
    *c = wide;
    return 0;
}

uint64_t counts_get(const struct counts *c, uint64_t index)
{
    return index < c->length ? get(c, index) : 0;
}

int counts_set(struct counts *c, uint64_t index, uint64_t value)
{
    assert(index < c->length);
    if (!fits(value, c->bits))
        TRY(widen(c, value));
    put(c, index, value);
    return 0;
}

/* --- runs ------------------------------------------------------------------------------------- */

static int add_one(struct counts *c, uint64_t index)
{
    return counts_set(c, index, get(c, index) + 1);
}

/* Whole words of 2-bit cells: no carry leaves a cell that was not 3. */
static bool add_to_word(uint64_t *word)
{
    if (*word & *word >> 1 & ONES)
        return false;
    *word += ONES;
    return true;
}

int counts_add_run(struct counts *c, uint64_t first, uint64_t n)
{
    const uint64_t end = first + n;

    assert(end <= c->length);
    for (uint64_t i = first; i < end;) {
        if (c->bits == NARROW && i % CELLS == 0 && end - i >= CELLS &&
            add_to_word(&words(c)[i / CELLS])) {
            i += CELLS;
            continue;
        }
        TRY(add_one(c, i));
        i++;
    }
    return 0;
}

/* Are the cells of one word of 2-bit cells, which begin at @index, 0? */
static bool block_is_zero(const struct counts *c, uint64_t index)
{
    return bytes_are_zero(c->cells + index / CELLS * (CELLS / 8 * c->bits), CELLS / 8 * c->bits);
}

uint64_t counts_skip(const struct counts *c, uint64_t first, uint64_t n, uint64_t value)
{
    const uint64_t end = first + n;
    const bool by_words = c->bits == NARROW && value <= 3;

    for (uint64_t i = first; i < end;) {
        if (i % CELLS == 0 && end - i >= CELLS && i + CELLS <= c->length &&
            (by_words ? words(c)[i / CELLS] == value * ONES : value == 0 && block_is_zero(c, i))) {
            i += CELLS;
            continue;
        }
        if (counts_get(c, i) != value)
            return i;
        i++;
    }
    return end;
}

uint64_t counts_first_difference(const struct counts *a, const struct counts *b, uint64_t first,
                                 uint64_t end)
{
    const uint64_t both = min_u64(a->length, b->length);
    const bool by_words = a->bits == NARROW && b->bits == NARROW;

    for (uint64_t i = first; i < end;) {
        if (i % CELLS == 0 && i + CELLS <= both && i + CELLS <= end &&
            (by_words ? words(a)[i / CELLS] == words(b)[i / CELLS]
                      : block_is_zero(a, i) && block_is_zero(b, i))) {
            i += CELLS;
            continue;
        }
        if (counts_get(a, i) != counts_get(b, i))
            return i;
        i++;
    }
    return end;
}

uint64_t counts_last_used(const struct counts *c, uint64_t end)
{
    uint64_t i = min_u64(end, c->length);

    while (i > 0) {
        if (i % CELLS == 0 && block_is_zero(c, i - CELLS)) {
            i -= CELLS;
            continue;
        }
        if (get(c, --i) != 0)
            return i;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * See check_census.h. An open-addressed hash while it grows, at most three quarters full; an array
 * in order of the file afterwards.
 */
#include "check_census.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "vec.h"

#define ROOM_AT_FIRST 64u

void census_release(struct census *c)
{
    free(c->tables);
    *c = (struct census){ 0 };
}

/* Where @off is, or the free place for it. */
static struct census_table *place_of(const struct census *c, uint64_t off)
{
    size_t i = (size_t)(off * HASH_FACTOR >> 32) & (c->room - 1);

    while (c->tables[i].links && c->tables[i].off != off)
        i = (i + 1) & (c->room - 1);
    return &c->tables[i];
}

static int grow(struct census *c)
{
    struct census wide = { .room = c->room ? 2 * c->room : ROOM_AT_FIRST, .count = c->count };

    wide.tables = calloc(wide.room, sizeof(*wide.tables));
    if (!wide.tables)
        return -ENOMEM;
    for (size_t i = 0; i < c->room; i++)
        if (c->tables[i].links)
            *place_of(&wide, c->tables[i].off) = c->tables[i];
    free(c->tables);
    *c = wide;
    return 0;
}

int census_add(struct census *c, uint64_t off, uint64_t links, uint32_t active)
{
    assert(!c->frozen);
    assert(links > 0);
    if (4 * (c->count + 1) > 3 * c->room)
        TRY(grow(c));
    struct census_table *table = place_of(c, off);
    c->count += table->links == 0;
    table->off = off;
    table->links += links;
    table->active += active;
    return 0;
}

static int by_off(const void *a, const void *b)
{
    const struct census_table *x = a, *y = b;

    return compare_u64(x->off, y->off);
}

void census_freeze(struct census *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->room; i++)
        if (c->tables[i].links)
            c->tables[n++] = c->tables[i];
    assert(n == c->count);
    if (n > 0)
        qsort(c->tables, n, sizeof(*c->tables), by_off);
    c->frozen = true;
}

/* Index of the first table at or behind @off. */
static size_t lower_bound(const struct census *c, uint64_t off)
{
    return LOWER_BOUND(c->tables, c->count, off, off);
}

struct census_table *census_find(const struct census *c, uint64_t off)
{
    struct census_table *table;

    if (c->count == 0)
        return NULL;
    if (!c->frozen) {
        table = place_of(c, off);
        return table->links ? table : NULL;
    }
    const size_t i = lower_bound(c, off);
    return i < c->count && c->tables[i].off == off ? &c->tables[i] : NULL;
}

uint64_t census_links_into(const struct census *c, struct qimg_range range)
{
    uint64_t links = 0;

    assert(c->frozen);
    for (size_t i = lower_bound(c, range.off);
         i < c->count && c->tables[i].off - range.off < range.len; i++)
        links += c->tables[i].links;
    return links;
}

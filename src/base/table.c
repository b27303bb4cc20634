/* SPDX-License-Identifier: Apache-2.0
 *
 * Open addressing with linear probing, at most half full.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bits.h"

#define FIRST_ROOM 64

static uint64_t hash_of(const struct table *table, const char *key)
{
    uint64_t h = table->seed;
    for (const unsigned char *p = (const unsigned char *)key; *p; p++) {
        h = (h ^ *p) * HASH_FACTOR;
        h ^= h >> 29;
    }
    return h;
}

/* The slot that holds @key, or the free one where it belongs. The table has room. */
static struct table_slot *slot_of(const struct table *table, uint64_t hash, const char *key)
{
    size_t at = hash & (table->room - 1);
    for (;; at = (at + 1) & (table->room - 1)) {
        struct table_slot *slot = &table->slots[at];
        if (!slot->key || (slot->hash == hash && strcmp(slot->key, key) == 0))
            return slot;
    }
}

static int grow(struct table *table)
{
    struct table wider = *table;
    wider.room = table->room ? table->room * 2 : FIRST_ROOM;
    if (table->room == 0 && getrandom(&wider.seed, sizeof(wider.seed), GRND_NONBLOCK) < 0)
        wider.seed = (uint64_t)(uintptr_t)table;
    wider.slots = calloc(wider.room, sizeof(*wider.slots));
    if (!wider.slots)
        return -ENOMEM;
    for (size_t i = 0; i < table->room; i++)
        if (table->slots[i].key)
            *slot_of(&wider, table->slots[i].hash, table->slots[i].key) = table->slots[i];
    free(table->slots);
    *table = wider;
    return 0;
}

void *table_find(const struct table *table, const char *key)
{
    return table->room ? slot_of(table, hash_of(table, key), key)->value : NULL;
}

int table_add(struct table *table, const char *key, void *value)
{
    if (2 * (table->count + 1) > table->room)
        TRY(grow(table));
    const uint64_t hash = hash_of(table, key);
    *slot_of(table, hash, key) = (struct table_slot){ hash, key, value };
    table->count++;
    return 0;
}

void table_release(struct table *table)
{
    free(table->slots);
    *table = (struct table){ 0 };
}

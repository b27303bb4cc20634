/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash table from text to pointers that it does not own. Entries are never taken out.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "fail.h"

struct table_slot {
    uint64_t hash;
    const char *key; /* the caller's, must stay; NULL = free */
    void *value;
};

struct table {
    struct table_slot *slots;
    size_t count, room; /* room is 0 or a power of two, at least twice count */
    uint64_t seed; /* drawn with the first entry: names of strangers cannot be chosen to meet */
};

/* NULL: not there. */
void *table_find(const struct table *table, const char *key);

/* @key is not in yet. 0 or -ENOMEM. */
MUST_CHECK int table_add(struct table *table, const char *key, void *value);

/* The table alone; keys and values are the caller's. */
void table_release(struct table *table);

#endif

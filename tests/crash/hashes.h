/* SPDX-License-Identifier: Apache-2.0
 *
 * A set of hashes.
 */
#ifndef CRASH_HASHES_H
#define CRASH_HASHES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct hashes {
    uint64_t *slots; /* 0 = free */
    size_t count, room;
};

/* Returns whether it is new. */
static inline bool hashes_add(struct hashes *set, uint64_t hash)
{
    hash += hash == 0;
    if (set->count * 2 >= set->room) {
        struct hashes larger = { .room = set->room ? set->room * 2 : 1024 };
        larger.slots = (uint64_t *)calloc(larger.room, sizeof(uint64_t));
        if (!larger.slots)
            abort();
        for (size_t i = 0; i < set->room; i++)
            if (set->slots[i])
                (void)hashes_add(&larger, set->slots[i]);
        free(set->slots);
        *set = larger;
    }
    for (size_t i = hash & (set->room - 1);; i = (i + 1) & (set->room - 1)) {
        if (set->slots[i] == hash)
            return false;
        if (set->slots[i])
            continue;
        set->slots[i] = hash;
        set->count++;
        return true;
    }
}

static inline void hashes_release(struct hashes *set)
{
    free(set->slots);
    *set = (struct hashes){ 0 };
}

#endif

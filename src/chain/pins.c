/* SPDX-License-Identifier: Apache-2.0 */
#include "pins.h"

void pins_init(struct pins *pins)
{
    atomic_init(&pins->now, 2);
    atomic_init(&pins->counts[0], 0);
    atomic_init(&pins->counts[1], 0);
}

/* Between the look at `now` and the counting, the generation may have ended, and its counter may
 * serve a later one by then: counted in too late is not counted. */
uint64_t pins_enter(struct pins *pins)
{
    for (;;) {
        const uint64_t generation = atomic_load(&pins->now);
        atomic_fetch_add(&pins->counts[generation & 1], 1);
        if (atomic_load(&pins->now) == generation)
            return generation;
        atomic_fetch_sub(&pins->counts[generation & 1], 1);
    }
}

void pins_leave(struct pins *pins, uint64_t generation)
{
    atomic_fetch_sub(&pins->counts[generation & 1], 1);
}

uint64_t pins_stamp(struct pins *pins)
{
    return atomic_load(&pins->now);
}

bool pins_passed(struct pins *pins, uint64_t stamp)
{
    for (;;) {
        const uint64_t now = atomic_load(&pins->now);
        if (now >= stamp + 2)
            return true;
        if (atomic_load(&pins->counts[(now - 1) & 1]) != 0)
            return false;
        if (now == stamp + 1)
            return true;
        atomic_store(&pins->now, now + 1);
    }
}

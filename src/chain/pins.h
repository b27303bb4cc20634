/* SPDX-License-Identifier: Apache-2.0
 *
 * Pins: which reads may still use host offsets that they looked up earlier. Generations count up;
 * a read enters the current one before it looks into the map and leaves it when its bytes are
 * there. A stamp is the generation of now; it has passed when every read of its generation, and
 * of older ones, has left. Two counters are enough: the current generation ends only when the one
 * before it is empty.
 *
 * Threads: enter and leave from any; stamp and passed under the image's lock.
 */
#ifndef CHAIN_PINS_H
#define CHAIN_PINS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pins {
    atomic_uint_least64_t now;       /* the current generation */
    atomic_uint_least64_t counts[2]; /* reads of generation g in counts[g & 1] */
};

void pins_init(struct pins *pins);

/* Returns the generation to be passed to pins_leave(). */
uint64_t pins_enter(struct pins *pins);
void pins_leave(struct pins *pins, uint64_t generation);

uint64_t pins_stamp(struct pins *pins);
bool pins_passed(struct pins *pins, uint64_t stamp);

#endif

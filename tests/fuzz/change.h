/* SPDX-License-Identifier: Apache-2.0
 *
 * What fuzzers that change an image have in common: the input is eight bytes that choose the verbs,
 * then an image. Where check finds nothing but leaks before, the same must hold after, and the
 * guest's disk, and what the first snapshot keeps of it, must be as each verb promises; a damaged
 * image may lose data, but nothing worse.
 */
#ifndef FUZZ_CHANGE_H
#define FUZZ_CHANGE_H

#include "machine.h"

#define CHANGE_VERBS 8

/* Does verb number @verb (any byte) to the open image. Returns whether the guest's disk must read
 * the same after it, whether it succeeded or not. */
typedef bool (*change_fn)(struct qimg_image *image, uint8_t verb);

void change_run(const uint8_t *data, size_t len, change_fn change);

/* Image seed number @index with some verbs before it. */
uint8_t *change_seed(unsigned index, size_t *len);
size_t change_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed);

#endif

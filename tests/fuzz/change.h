/* SPDX-License-Identifier: Apache-2.0
 *
 * What fuzzers that change an image have in common: the input is eight bytes that choose the verbs,
 * then an image. Where check finds nothing but leaks before, the same must hold after, and the
 * guest's disk, and what the first snapshot keeps of it, must be as each verb promises; a damaged
 * image may lose data, but nothing worse.
 */
#ifndef FUZZ_CHANGE_H
#define FUZZ_CHANGE_H

#include "fuzz.h"
#include "machine.h"

/* What a fuzzer of this kind consists of; change.c has all the rest. Does verb number @verb (any
 * byte) to the open image. Returns whether the guest's disk must read the same after it, whether it
 * succeeded or not. */
bool change_once(struct qimg_image *image, uint8_t verb);

#endif

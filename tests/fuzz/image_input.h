/* SPDX-License-Identifier: Apache-2.0
 *
 * Small qcow2 images as a fuzzer's seeds, and changes of them that go where it hurts: fields of
 * the header, words of the tables that the header leads to, counts. Layout-aware only as far as
 * finding the tables; what is put there is anything.
 */
#ifndef FUZZ_IMAGE_INPUT_H
#define FUZZ_IMAGE_INPUT_H

#include "fuzz.h"

/* Seed number @index behind @before zero bytes, malloc'ed; NULL behind the last. */
uint8_t *image_seed(unsigned index, size_t before, size_t *len);

/* As fuzz_mutate(), for an image alone; its length stays if @max is @len. */
size_t image_mutate(uint8_t *image, size_t len, size_t max, uint64_t seed);

#endif

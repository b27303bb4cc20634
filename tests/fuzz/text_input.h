/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of texts by somebody who knows their words: puts one in, takes a piece out, doubles one.
 */
#ifndef FUZZ_TEXT_INPUT_H
#define FUZZ_TEXT_INPUT_H

#include "fuzz.h"

/* As fuzz_mutate(); @words ends with NULL. */
size_t text_mutate(const char *const *words, uint8_t *data, size_t len, size_t max, uint64_t seed);

/* A copy of @text behind one byte @first: a seed. */
uint8_t *text_seed(uint8_t first, const char *text, size_t *len);

#endif

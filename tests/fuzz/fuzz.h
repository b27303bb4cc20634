/* SPDX-License-Identifier: Apache-2.0
 *
 * What a fuzzer is: LLVMFuzzerTestOneInput(), driven by libFuzzer or by driver.c.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Built-in seed number @index as malloc'ed bytes; NULL behind the last. driver.c has a weak one
 * that gives small qcow2 images; a fuzzer of other things defines its own. */
uint8_t *fuzz_seed(unsigned index, size_t *len);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes as people write them ("10G", "1.5k", "0x200") and as qemu-img prints them ("196 KiB").
 * The grammar is QEMU 10.2's (its cutils): decimal with an optional fraction, one optional
 * suffix of b k m g t p e in either case (powers of 1024), hexadecimal without suffix.
 */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

#include "fail.h"

/* Parses the whole of @text. Returns 0, -EINVAL (not a size), -ERANGE (beyond 64 bits). */
MUST_CHECK int size_parse(const char *text, uint64_t *out);

/* Writes "1.5 GiB": binary prefix so that the number is below 1000, three significant digits. */
void size_print(uint64_t bytes, char *buf, size_t room);

#endif

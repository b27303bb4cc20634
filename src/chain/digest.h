/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256. The only door to libcrypto.
 */
#ifndef CHAIN_DIGEST_H
#define CHAIN_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32

struct digest {
    uint64_t state[16]; /* libcrypto's */
};

void digest_init(struct digest *d);
void digest_add(struct digest *d, const void *bytes, size_t len);
void digest_end(struct digest *d, uint8_t out[DIGEST_BYTES]);

/* Of @len bytes at once. */
void digest_of(const void *bytes, size_t len, uint8_t out[DIGEST_BYTES]);

#endif

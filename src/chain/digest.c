/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 by libcrypto, which uses the processor's own instructions for it. Of its two interfaces
 * this is the older one: EVP loads providers and would bring four megabytes into the tool, and a
 * millisecond of start-up into `info`; these three functions bring twenty kilobytes and cannot
 * fail.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "digest.h"

#include <assert.h>

#include <openssl/sha.h>

static_assert(sizeof(SHA256_CTX) <= sizeof(struct digest), "room for libcrypto's state");
static_assert(SHA256_DIGEST_LENGTH == DIGEST_BYTES, "a SHA-256");

static SHA256_CTX *state_of(struct digest *d)
{
    return (SHA256_CTX *)(void *)d->state;
}

void digest_init(struct digest *d)
{
    (void)SHA256_Init(state_of(d));
}

void digest_add(struct digest *d, const void *bytes, size_t len)
{
    (void)SHA256_Update(state_of(d), bytes, len);
}

void digest_end(struct digest *d, uint8_t out[DIGEST_BYTES])
{
    (void)SHA256_Final(out, state_of(d));
}

void digest_of(const void *bytes, size_t len, uint8_t out[DIGEST_BYTES])
{
    struct digest d;

    digest_init(&d);
    digest_add(&d, bytes, len);
    digest_end(&d, out);
}

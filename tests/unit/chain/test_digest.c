/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bits.h"

static const char *hex(const uint8_t digest[DIGEST_BYTES])
{
    static char text[2 * DIGEST_BYTES + 1];

    for (size_t i = 0; i < DIGEST_BYTES; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}

/* FIPS 180-4's own examples. */
Test(digest, is_sha_256)
{
    static const char *const cases[][2] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t out[DIGEST_BYTES];
        digest_of(cases[i][0], strlen(cases[i][0]), out);
        cr_expect_str_eq(hex(out), cases[i][1]);
    }
}

Test(digest, does_not_depend_on_how_the_bytes_come)
{
    uint8_t whole[DIGEST_BYTES], pieces[DIGEST_BYTES], bytes[1000];
    struct digest d;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7);
    digest_of(bytes, sizeof(bytes), whole);
    digest_init(&d);
    for (size_t at = 0, len = 1; at < sizeof(bytes); at += len, len = len * 2 + 1)
        digest_add(&d, bytes + at, (size_t)min_u64(len, sizeof(bytes) - at));
    digest_end(&d, pieces);
    cr_expect_str_eq(hex(pieces), hex(whole));
}

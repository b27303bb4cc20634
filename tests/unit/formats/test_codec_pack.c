/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing: what comes back, what does not get smaller, and the window that other readers insist on.
 */
#include <criterion/criterion.h>
#include <string.h>
#include <zlib.h>

#include "bits.h"
#include "codec.h"

#define CLUSTER (64 * KiB)

static uint8_t plain[CLUSTER], packed[CLUSTER], again[CLUSTER];

static void fill_text(void)
{
    for (size_t i = 0; i < CLUSTER; i++)
        plain[i] = (uint8_t)((size_t) "some text, over and over; "[i % 26] + i / 4096 % 3);
}

static void fill_noise(void)
{
    uint64_t x = 88172645463325252;

    for (size_t i = 0; i < CLUSTER; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        plain[i] = (uint8_t)x;
    }
}

Test(codec_pack, comes_back)
{
    static const enum codec codecs[] = { CODEC_DEFLATE, CODEC_ZSTD };

    fill_text();
    for (size_t i = 0; i < ARRAY_COUNT(codecs); i++) {
        const ssize_t len = codec_pack(codecs[i], plain, CLUSTER, packed, CLUSTER - 1);
        cr_assert_gt(len, 0, "codec %zu", i);
        cr_assert_eq(codec_unpack(codecs[i], packed, (size_t)len, again, CLUSTER), 0);
        cr_expect_eq(memcmp(plain, again, CLUSTER), 0, "codec %zu", i);
        cr_expect_eq(codec_pack(codecs[i], plain, CLUSTER, again, (size_t)len - 1), -ENOSPC,
                     "one byte less room");
    }
}

Test(codec_pack, noise_is_left_alone)
{
    fill_noise();
    cr_expect_eq(codec_pack(CODEC_DEFLATE, plain, CLUSTER, packed, CLUSTER - 1), -ENOSPC);
    cr_expect_eq(codec_pack(CODEC_ZSTD, plain, CLUSTER, packed, CLUSTER - 1), -ENOSPC);
}

Test(codec_pack, deflate_keeps_to_a_window_of_4_KiB)
{
    fill_noise();
    for (size_t i = 8192; i < CLUSTER; i++) /* repeats what is further back than that */
        plain[i] = plain[i - 8192];
    cr_expect_eq(codec_pack(CODEC_DEFLATE, plain, CLUSTER, packed, CLUSTER - 1), -ENOSPC);
    fill_text();
    const ssize_t len = codec_pack(CODEC_DEFLATE, plain, CLUSTER, packed, CLUSTER - 1);
    z_stream z = {
        .next_in = packed, .avail_in = (uInt)len, .next_out = again, .avail_out = CLUSTER
    };
    cr_assert_eq(inflateInit2(&z, -12), Z_OK);
    cr_expect_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
    (void)inflateEnd(&z);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The two deflate decoders against each other, and both decoders against what QEMU accepts.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "bits.h"
#include "codec.h"

#define CLUSTER    (64 * KiB)
#define PACKED_MAX (2 * CLUSTER)

struct stream {
    uint8_t bytes[PACKED_MAX];
    size_t len;
};

static uint8_t plain[CLUSTER], one[CLUSTER], other[CLUSTER];
static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t dice(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Text-like, random, repeating far back and constant parts, so that every block type pays. */
static void fill(uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        switch (i / (len / 8 + 1)) {
        case 0:
        case 3:
            buf[i] = (uint8_t)("abcdefgh \n"[dice() % 10]);
            break;
        case 1:
            buf[i] = (uint8_t)dice();
            break;
        case 2:
            buf[i] = 0;
            break;
        default:
            buf[i] = i >= 32000 ? buf[i - 32000] : (uint8_t)(dice() & 0x1f);
            break;
        }
    }
}

static struct stream *deflated(const uint8_t *buf, size_t len, int level, int bits, int strategy)
{
    struct stream *s = calloc(1, sizeof(*s));
    z_stream z = { .next_in = (Bytef *)(uintptr_t)buf,
                   .avail_in = (uInt)len,
                   .next_out = s->bytes,
                   .avail_out = sizeof(s->bytes) };
    cr_assert_eq(deflateInit2(&z, level, Z_DEFLATED, bits, 9, strategy), Z_OK);
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    s->len = z.total_out;
    deflateEnd(&z);
    return s;
}

static const struct kind {
    const char *name;
    int level, bits, strategy;
} kinds[] = {
    { "QEMU's", -1, -12, Z_DEFAULT_STRATEGY },
    { "stored", 0, -12, Z_DEFAULT_STRATEGY },
    { "fixed", 9, -12, Z_FIXED },
    { "runs", 6, -12, Z_RLE },
    { "no matches", 6, -15, Z_HUFFMAN_ONLY },
    { "32 KiB window", 9, -15, Z_DEFAULT_STRATEGY },
    { "8 KiB window", 1, -13, Z_FILTERED },
};

/* Does zlib refuse only because a block's code tables leave codes unassigned? ISA-L minds that
 * only where such a code is met: the one class of streams where the two may differ. */
static bool has_incomplete_tables(const uint8_t *packed, size_t len, size_t out_len)
{
    static uint8_t scrap[CLUSTER];
    static const char *const words[] = { "invalid code lengths set", "invalid distances set",
                                         "invalid literal/lengths set",
                                         "invalid code -- missing end-of-block" };
    z_stream z = { .next_in = (Bytef *)(uintptr_t)packed,
                   .avail_in = (uInt)len,
                   .next_out = scrap,
                   .avail_out = (uInt)out_len };
    cr_assert_eq(inflateInit2(&z, -15), Z_OK);
    (void)inflate(&z, Z_FINISH);
    const char *msg = z.msg ? z.msg : "";
    bool found = false;
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        found = found || strcmp(msg, words[i]) == 0;
    inflateEnd(&z);
    return found;
}

/* Both decoders on the same bytes: same verdict, and on success the same output. */
static int both(const uint8_t *packed, size_t len, size_t out_len, const char *what, size_t where)
{
    int zlib = codec_inflate_zlib(packed, len, one, out_len);
    int unpacked = codec_unpack(CODEC_DEFLATE, packed, len, other, out_len);

    if (zlib != unpacked)
        cr_expect(zlib == -EIO && unpacked == 0 && has_incomplete_tables(packed, len, out_len),
                  "%s at %zu: zlib %d, other %d", what, where, zlib, unpacked);
    if (zlib == 0 && unpacked == 0)
        cr_expect_eq(memcmp(one, other, out_len), 0, "%s at %zu: other bytes", what, where);
    return zlib;
}

Test(codec, every_kind_of_deflate_stream_unpacks)
{
    fill(plain, CLUSTER);
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        for (size_t len = 512; len <= CLUSTER; len *= 2) {
            struct stream *s =
                deflated(plain, len, kinds[k].level, kinds[k].bits, kinds[k].strategy);
            cr_expect_eq(both(s->bytes, s->len, len, kinds[k].name, len), 0, "%s %zu",
                         kinds[k].name, len);
            cr_expect_eq(memcmp(one, plain, len), 0, "%s %zu", kinds[k].name, len);
            free(s);
        }
    }
}

Test(codec, a_stream_that_goes_on_is_cut_and_bytes_behind_it_do_not_matter)
{
    fill(plain, CLUSTER);
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        struct stream *s =
            deflated(plain, CLUSTER, kinds[k].level, kinds[k].bits, kinds[k].strategy);
        for (size_t len = 1; len < CLUSTER; len += 997)
            cr_expect_eq(both(s->bytes, s->len, len, kinds[k].name, len), 0);
        memset(s->bytes + s->len, 0xff, 512);
        cr_expect_eq(both(s->bytes, s->len + 512, CLUSTER, kinds[k].name, 0), 0);
        free(s);
    }
}

Test(codec, a_stream_truncated_at_any_byte_or_one_byte_short_is_refused)
{
    size_t len = 4096;
    fill(plain, len);
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        struct stream *s = deflated(plain, len, kinds[k].level, kinds[k].bits, kinds[k].strategy);
        size_t first_ok = s->len;
        for (size_t cut = 0; cut < s->len; cut++) {
            if (both(s->bytes, cut, len, kinds[k].name, cut) == 0 && cut < first_ok)
                first_ok = cut;
        }
        /* Only the end mark, up to three bytes, may be missing. */
        cr_expect_geq(first_ok + 3, s->len, "%s: whole at %zu of %zu", kinds[k].name, first_ok,
                      s->len);
        cr_expect_eq(both(s->bytes, s->len, len + 1, kinds[k].name, len + 1), -EIO);
        free(s);
    }
}

Test(codec, zlib_and_the_other_decoder_agree_on_damaged_streams)
{
    size_t len = 4096, refused = 0, taken = 0;
    fill(plain, len);
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        struct stream *s = deflated(plain, len, kinds[k].level, kinds[k].bits, kinds[k].strategy);
        for (size_t round = 0; round < 4000; round++) {
            /* Half of the damage goes into the first bytes, where the code tables are. */
            size_t at = dice() % (round & 1 ? s->len : min_u64(s->len, 80));
            uint8_t before = s->bytes[at];
            s->bytes[at] ^= (uint8_t)(1u << (dice() % 8));
            if (both(s->bytes, s->len, len, kinds[k].name, at) == 0)
                taken++;
            else
                refused++;
            s->bytes[at] = before;
        }
        free(s);
    }
    cr_expect_gt(refused, 1000);
    cr_expect_gt(taken, 1000);
}

#define NOISE_ROUNDS 40000

Test(codec, zlib_and_the_other_decoder_agree_on_noise)
{
    size_t refused = 0;

    for (size_t round = 0; round < NOISE_ROUNDS; round++) {
        uint8_t noise[96];
        for (size_t i = 0; i < sizeof(noise); i += 8) {
            uint64_t word = dice();
            memcpy(noise + i, &word, 8);
        }
        if (round & 1)
            noise[0] = (uint8_t)((noise[0] & ~7u) | 4u); /* a dynamic block */
        refused += both(noise, sizeof(noise), 16 + round % 64, "noise", round) != 0;
    }
    cr_expect_gt(refused, NOISE_ROUNDS / 2);
}

/* --- zstd -------------------------------------------------------------------------------- */

static size_t frame(uint8_t *out, const uint8_t *buf, size_t len, bool checksum)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, checksum);
    size_t n = ZSTD_compress2(c, out, PACKED_MAX, buf, len);
    ZSTD_freeCCtx(c);
    cr_assert(!ZSTD_isError(n));
    return n;
}

static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };

Test(codec, zstd_frames_and_skippable_frames_are_joined)
{
    static uint8_t packed[2 * PACKED_MAX];
    size_t n = 0;

    fill(plain, CLUSTER);
    n += frame(packed, plain, 1000, true);
    memcpy(packed + n, skippable, sizeof(skippable));
    n += sizeof(skippable);
    n += frame(packed + n, plain, 0, false);
    n += frame(packed + n, plain + 1000, CLUSTER - 1000, false);
    memset(packed + n, 0x5a, 100);
    cr_expect_eq(codec_unpack(CODEC_ZSTD, packed, n + 100, one, CLUSTER), 0);
    cr_expect_eq(memcmp(one, plain, CLUSTER), 0);
}

Test(codec, zstd_too_much_too_little_and_damage_are_refused)
{
    static uint8_t packed[PACKED_MAX];

    fill(plain, CLUSTER);
    size_t n = frame(packed, plain, 4096, true);
    cr_expect_eq(codec_unpack(CODEC_ZSTD, packed, n, one, 4096), 0);
    cr_expect_eq(codec_unpack(CODEC_ZSTD, packed, n, one, 4095), -EIO, "frame passes the end");
    cr_expect_eq(codec_unpack(CODEC_ZSTD, packed, n, one, 4097), -EIO, "too few bytes");
    for (size_t cut = 0; cut < n; cut++)
        cr_expect_eq(codec_unpack(CODEC_ZSTD, packed, cut, one, 4096), -EIO, "cut %zu", cut);
    packed[n - 1] ^= 1;
    cr_expect_eq(codec_unpack(CODEC_ZSTD, packed, n, one, 4096), -EIO, "checksum");
    packed[n - 1] ^= 1;
    cr_expect_eq(codec_unpack(CODEC_ZSTD, packed, n, one, 4096), 0, "after a failure");
}

static void *unpack_many(void *failures)
{
    static _Thread_local uint8_t out[4096];
    uint8_t packed[8192];
    uint8_t mine[4096];

    memset(mine, (int)(uintptr_t)failures & 0xff, sizeof(mine));
    size_t n = frame(packed, mine, sizeof(mine), true);
    for (int i = 0; i < 500; i++) {
        if (codec_unpack(CODEC_ZSTD, packed, n, out, sizeof(out)) ||
            memcmp(out, mine, sizeof(mine)) != 0)
            __atomic_add_fetch((int *)failures, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

Test(codec, threads_unpack_at_the_same_time)
{
    pthread_t threads[4];
    int failures[4] = { 0 };

    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, unpack_many, &failures[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(failures[i], 0);
    }
}

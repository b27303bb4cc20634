/* SPDX-License-Identifier: Apache-2.0
 *
 * Picks the compressor. Its output is part of the image: the same input and level give the same
 * bytes everywhere, but for the fast levels of deflate where there is no ISA-L.
 */
#include "codec.h"

#define FAST_DEFLATE_LEVELS 3
#define DEFLATE_LEVELS      9
#define ZSTD_LEVELS         19 /* beyond, zstd wants memory that readers may not have */

static int deflate_packer(unsigned level, struct codec_packer **out)
{
    if (level > DEFLATE_LEVELS)
        return -EINVAL;
#ifdef QIMG_HAVE_ISAL
    if (level > 0 && level <= FAST_DEFLATE_LEVELS)
        return codec_packer_isal(level, out);
#endif
    return codec_packer_zlib(level, out);
}

int codec_packer_new(enum codec codec, unsigned level, struct codec_packer **out)
{
    if (codec != CODEC_ZSTD)
        return deflate_packer(level, out);
    if (level > ZSTD_LEVELS)
        return -EINVAL;
    return codec_packer_zstd(level, out);
}

ssize_t codec_packer_pack(struct codec_packer *packer, const uint8_t *in, size_t len, uint8_t *out,
                          size_t room)
{
    return packer->pack(packer, in, len, out, room);
}

void codec_packer_free(struct codec_packer *packer)
{
    if (packer)
        packer->free(packer);
}

ssize_t codec_pack(enum codec codec, const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
    struct codec_packer *packer;

    TRY(codec_packer_new(codec, 0, &packer));
    const ssize_t got = codec_packer_pack(packer, in, len, out, room);
    codec_packer_free(packer);
    return got;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Picks the decoder. Deflate goes through ISA-L where there is one: up to twice zlib's speed
 * on data that it has not just decoded.
 */
#include "codec.h"

int codec_unpack(enum codec codec, const uint8_t *packed, size_t packed_len, uint8_t *out,
                 size_t out_len)
{
    if (codec == CODEC_ZSTD)
        return codec_unpack_zstd(packed, packed_len, out, out_len);
#ifdef QIMG_HAVE_ISAL
    return codec_inflate_isal(packed, packed_len, out, out_len);
#else
    return codec_inflate_zlib(packed, packed_len, out, out_len);
#endif
}

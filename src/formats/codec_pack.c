/* SPDX-License-Identifier: Apache-2.0
 *
 * Picks the compressor. Its output is part of the image, so there is one for each codec, and the
 * same input gives the same bytes in every build.
 */
#include "codec.h"

ssize_t codec_pack(enum codec codec, const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
    if (codec == CODEC_ZSTD)
        return codec_pack_zstd(in, len, out, room);
    return codec_deflate_zlib(in, len, out, room);
}

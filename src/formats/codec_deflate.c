/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw deflate by zlib: the compressor, and the reference decoder of this format. A cluster is whole
 * once the output is full. Whether the stream ends there, goes on, or goes on with nonsense is not
 * asked: QEMU packs clusters into sectors that hold the next cluster's bytes too.
 */
#include <assert.h>
#include <limits.h>
#include <zlib.h>

#include "codec.h"

/* Compressors keep to 4 KiB windows (QEMU's own choice), readers take all that deflate allows. */
#define RAW_WINDOW_BITS      (-15)
#define RAW_PACK_WINDOW_BITS (-12)
#define PACK_MEMORY_LEVEL    9

int codec_inflate_zlib(const uint8_t *packed, size_t packed_len, uint8_t *out, size_t out_len)
{
    assert(packed_len <= UINT_MAX);
    assert(out_len <= UINT_MAX);
    z_stream stream = {
        .next_in = (Bytef *)(uintptr_t)packed,
        .avail_in = (uInt)packed_len,
        .next_out = out,
        .avail_out = (uInt)out_len,
    };
    if (inflateInit2(&stream, RAW_WINDOW_BITS) != Z_OK)
        return -ENOMEM;
    int rc = inflate(&stream, Z_FINISH);
    (void)inflateEnd(&stream);
    if (stream.avail_out == 0)
        return 0;
    return rc == Z_MEM_ERROR ? -ENOMEM : -EIO;
}

ssize_t codec_deflate_zlib(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
    assert(len <= UINT_MAX);
    assert(room <= UINT_MAX);
    z_stream stream = {
        .next_in = (Bytef *)(uintptr_t)in,
        .avail_in = (uInt)len,
        .next_out = out,
        .avail_out = (uInt)room,
    };
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, RAW_PACK_WINDOW_BITS,
                     PACK_MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    const int rc = deflate(&stream, Z_FINISH);
    (void)deflateEnd(&stream); /* complains of what did not fit */
    return rc == Z_STREAM_END ? (ssize_t)(room - stream.avail_out) : -ENOSPC;
}

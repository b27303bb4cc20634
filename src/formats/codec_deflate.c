/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw deflate by zlib: the reference decoder of this format. A cluster is whole once the output
 * is full. Whether the stream ends there, goes on, or goes on with nonsense is not asked: QEMU
 * packs clusters into sectors that hold the next cluster's bytes too.
 */
#include <assert.h>
#include <limits.h>
#include <zlib.h>

#include "codec.h"

/* Compressors keep to 4 KiB windows (QEMU's own choice), readers take all that deflate allows. */
#define RAW_WINDOW_BITS (-15)

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

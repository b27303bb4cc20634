/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw deflate by zlib: the compressor, and the reference decoder of this format. A cluster is whole
 * once the output is full. Whether the stream ends there, goes on, or goes on with nonsense is not
 * asked: QEMU packs clusters into sectors that hold the next cluster's bytes too.
 */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
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

struct zlib_packer {
    struct codec_packer base; /* first member */
    z_stream stream;
};

static ssize_t zlib_pack(struct codec_packer *packer, const uint8_t *in, size_t len, uint8_t *out,
                         size_t room)
{
    z_stream *stream = &((struct zlib_packer *)packer)->stream;

    assert(len <= UINT_MAX);
    assert(room <= UINT_MAX);
    (void)deflateReset(stream);
    stream->next_in = (Bytef *)(uintptr_t)in;
    stream->avail_in = (uInt)len;
    stream->next_out = out;
    stream->avail_out = (uInt)room;
    return deflate(stream, Z_FINISH) == Z_STREAM_END ? (ssize_t)(room - stream->avail_out)
                                                     : -ENOSPC;
}

static void zlib_free(struct codec_packer *packer)
{
    (void)deflateEnd(&((struct zlib_packer *)packer)->stream); /* complains of what did not fit */
    free(packer);
}

int codec_packer_zlib(unsigned level, struct codec_packer **out)
{
    struct zlib_packer *packer = calloc(1, sizeof(*packer));
    const int effort = level ? (int)level : Z_DEFAULT_COMPRESSION;

    if (!packer)
        return -ENOMEM;
    packer->base = (struct codec_packer){ .pack = zlib_pack, .free = zlib_free };
    if (deflateInit2(&packer->stream, effort, Z_DEFLATED, RAW_PACK_WINDOW_BITS, PACK_MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(packer);
        return -ENOMEM;
    }
    *out = &packer->base;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * zstd clusters: frames and skippable frames one behind the other until the output is full; the
 * frame that fills it must end just there, and what follows is ignored.
 *
 * Frames are decoded whole, straight into the caller's buffer, so that one that asks for a
 * window of 128 MiB costs no memory.
 *
 * Each thread keeps its decoder: making one asks the processor what it can do (CPUID), which
 * traps inside virtual machines and takes as long as unpacking 4 KiB. It is the one thing this
 * library keeps outside a context; it goes with its thread.
 */
#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "codec.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error = EAGAIN;

static void free_decoder(void *decoder)
{
    (void)ZSTD_freeDCtx(decoder);
}

static void make_key(void)
{
    key_error = pthread_key_create(&key, free_decoder);
}

/* A program that unloads the library must not call free_decoder() when its threads end. */
__attribute__((destructor)) static void forget_key(void)
{
    if (key_error)
        return;
    free_decoder(pthread_getspecific(key));
    (void)pthread_key_delete(key);
}

/* NULL: no memory, or no key left in this process. */
static ZSTD_DCtx *decoder_of_thread(void)
{
    if (pthread_once(&once, make_key) || key_error)
        return NULL;
    ZSTD_DCtx *decoder = pthread_getspecific(key);
    if (decoder)
        return decoder;
    decoder = ZSTD_createDCtx();
    if (decoder && pthread_setspecific(key, decoder)) {
        free_decoder(decoder);
        return NULL;
    }
    return decoder;
}

int codec_unpack_zstd(const uint8_t *packed, size_t packed_len, uint8_t *out, size_t out_len)
{
    ZSTD_DCtx *decoder = decoder_of_thread();
    if (!decoder)
        return -ENOMEM;

    for (size_t filled = 0; filled < out_len;) {
        size_t frame_len = ZSTD_findFrameCompressedSize(packed, packed_len);
        if (ZSTD_isError(frame_len))
            return -EIO;
        size_t got =
            ZSTD_decompressDCtx(decoder, out + filled, out_len - filled, packed, frame_len);
        if (ZSTD_isError(got))
            return -EIO;
        filled += got;
        packed += frame_len;
        packed_len -= frame_len;
    }
    return 0;
}

struct zstd_packer {
    struct codec_packer base; /* first member */
    ZSTD_CCtx *encoder;
    int level;
};

static ssize_t zstd_pack(struct codec_packer *packer, const uint8_t *in, size_t len, uint8_t *out,
                         size_t room)
{
    const struct zstd_packer *p = (const struct zstd_packer *)packer;
    const size_t got = ZSTD_compressCCtx(p->encoder, out, room, in, len, p->level);

    if (!ZSTD_isError(got))
        return (ssize_t)got;
    return ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation ? -ENOMEM : -ENOSPC;
}

static void zstd_free(struct codec_packer *packer)
{
    (void)ZSTD_freeCCtx(((struct zstd_packer *)packer)->encoder);
    free(packer);
}

int codec_packer_zstd(unsigned level, struct codec_packer **out)
{
    struct zstd_packer *packer = calloc(1, sizeof(*packer));
    ZSTD_CCtx *encoder = packer ? ZSTD_createCCtx() : NULL;

    if (!encoder) {
        free(packer);
        return -ENOMEM;
    }
    packer->base = (struct codec_packer){ .pack = zstd_pack, .free = zstd_free };
    packer->encoder = encoder;
    packer->level = level ? (int)level : ZSTD_CLEVEL_DEFAULT;
    *out = &packer->base;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw deflate by ISA-L. Unpacking: only its success is final; its refusals are put to zlib, which
 * decides. Packing: with a window of 4 KiB, since QEMU reads with no larger one.
 *
 * The library is loaded with the first compressed cluster: the dynamic linker takes a fifth of a
 * millisecond for it, which is a fifth of what `info` takes. Where there is none, zlib serves.
 */
#include "codec.h"

#ifdef QIMG_HAVE_ISAL
#include <assert.h>
#include <dlfcn.h>
#include <isa-l.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#define TEXT(macro)  TEXT_(macro)
#define TEXT_(value) #value

static struct {
    bool there;
    __typeof__(&isal_inflate_init) inflate_init;
    __typeof__(&isal_inflate_stateless) inflate_stateless;
    __typeof__(&isal_deflate_init) deflate_init;
    __typeof__(&isal_deflate) deflate;
} isal;

static void load(void)
{
    /* Of the major version whose structures this was compiled with; never unloaded. */
    void *library = dlopen("libisal.so." TEXT(ISAL_MAJOR_VERSION), RTLD_NOW | RTLD_LOCAL);

    if (!library)
        return;
    *(void **)&isal.inflate_init = dlsym(library, "isal_inflate_init");
    *(void **)&isal.inflate_stateless = dlsym(library, "isal_inflate_stateless");
    *(void **)&isal.deflate_init = dlsym(library, "isal_deflate_init");
    *(void **)&isal.deflate = dlsym(library, "isal_deflate");
    isal.there = isal.inflate_init && isal.inflate_stateless && isal.deflate_init && isal.deflate;
}

static bool isal_there(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, load);
    return isal.there;
}

int codec_inflate_isal(const uint8_t *packed, size_t packed_len, uint8_t *out, size_t out_len)
{
    assert(packed_len <= INT_MAX);
    assert(out_len <= INT_MAX);
    if (!isal_there())
        return codec_inflate_zlib(packed, packed_len, out, out_len);
    /* 80 KiB that need no zeroing: init sets what the decoder reads, the rest is its scratch. */
    struct inflate_state state;
    isal.inflate_init(&state);
    state.next_in = (uint8_t *)(uintptr_t)packed;
    state.avail_in = (uint32_t)packed_len;
    state.next_out = out;
    state.avail_out = (uint32_t)out_len;
    (void)isal.inflate_stateless(&state);
    if (state.avail_out == 0)
        return 0;
    return codec_inflate_zlib(packed, packed_len, out, out_len);
}

#define PACK_WINDOW_BITS 12

struct isal_packer {
    struct codec_packer base; /* first member */
    struct isal_zstream stream;
    uint32_t level;
    uint8_t room[ISAL_DEF_LVL3_DEFAULT];
};

static ssize_t isal_pack(struct codec_packer *packer, const uint8_t *in, size_t len, uint8_t *out,
                         size_t room)
{
    struct isal_packer *p = (struct isal_packer *)packer;

    assert(len <= INT_MAX);
    assert(room <= INT_MAX);
    isal.deflate_init(&p->stream);
    p->stream.hist_bits = PACK_WINDOW_BITS;
    p->stream.level = p->level;
    p->stream.level_buf = p->room;
    p->stream.level_buf_size = sizeof(p->room);
    p->stream.end_of_stream = 1;
    p->stream.next_in = (uint8_t *)(uintptr_t)in;
    p->stream.avail_in = (uint32_t)len;
    p->stream.next_out = out;
    p->stream.avail_out = (uint32_t)room;
    if (isal.deflate(&p->stream) != COMP_OK || p->stream.internal_state.state != ZSTATE_END)
        return -ENOSPC;
    return (ssize_t)(room - p->stream.avail_out);
}

static void isal_free(struct codec_packer *packer)
{
    free(packer);
}

int codec_packer_isal(unsigned level, struct codec_packer **out)
{
    struct isal_packer *packer;

    if (!isal_there())
        return codec_packer_zlib(level, out);
    packer = calloc(1, sizeof(*packer));
    if (!packer)
        return -ENOMEM;
    packer->base = (struct codec_packer){ .pack = isal_pack, .free = isal_free };
    packer->level = level;
    *out = &packer->base;
    return 0;
}
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw deflate by ISA-L. Unpacking: only its success is final; its refusals are put to zlib, which
 * decides. Packing: with a window of 4 KiB, since QEMU reads with no larger one.
 */
#include "codec.h"

#ifdef QIMG_HAVE_ISAL
#include <assert.h>
#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <stdlib.h>

int codec_inflate_isal(const uint8_t *packed, size_t packed_len, uint8_t *out, size_t out_len)
{
    assert(packed_len <= INT_MAX);
    assert(out_len <= INT_MAX);
    /* 80 KiB that need no zeroing: init sets what the decoder reads, the rest is its scratch. */
    struct inflate_state state;
    isal_inflate_init(&state);
    state.next_in = (uint8_t *)(uintptr_t)packed;
    state.avail_in = (uint32_t)packed_len;
    state.next_out = out;
    state.avail_out = (uint32_t)out_len;
    (void)isal_inflate_stateless(&state);
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
    isal_deflate_init(&p->stream);
    p->stream.hist_bits = PACK_WINDOW_BITS;
    p->stream.level = p->level;
    p->stream.level_buf = p->room;
    p->stream.level_buf_size = sizeof(p->room);
    p->stream.end_of_stream = 1;
    p->stream.next_in = (uint8_t *)(uintptr_t)in;
    p->stream.avail_in = (uint32_t)len;
    p->stream.next_out = out;
    p->stream.avail_out = (uint32_t)room;
    if (isal_deflate(&p->stream) != COMP_OK || p->stream.internal_state.state != ZSTATE_END)
        return -ENOSPC;
    return (ssize_t)(room - p->stream.avail_out);
}

static void isal_free(struct codec_packer *packer)
{
    free(packer);
}

int codec_packer_isal(unsigned level, struct codec_packer **out)
{
    struct isal_packer *packer = calloc(1, sizeof(*packer));

    if (!packer)
        return -ENOMEM;
    packer->base = (struct codec_packer){ .pack = isal_pack, .free = isal_free };
    packer->level = level;
    *out = &packer->base;
    return 0;
}
#endif

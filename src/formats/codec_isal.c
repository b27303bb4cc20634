/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw deflate by ISA-L. Only its success is final; its refusals are put to zlib, which decides.
 */
#include "codec.h"

#ifdef QIMG_HAVE_ISAL
#include <assert.h>
#include <isa-l/igzip_lib.h>
#include <limits.h>

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
#endif

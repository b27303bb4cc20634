/* SPDX-License-Identifier: Apache-2.0
 *
 * Compressors for the threads of one job: as many as run at once, used again, the last one first,
 * so that its memory is in the processor's cache.
 */
#ifndef CHAIN_PACKERS_H
#define CHAIN_PACKERS_H

#include "codec.h"

struct packers;

/* @level as in codec.h. -ENOMEM, -EINVAL. */
MUST_CHECK int packers_new(enum codec codec, unsigned level, struct packers **out);

/* As codec_packer_pack(). Safe from several threads. */
MUST_CHECK ssize_t packers_pack(struct packers *packers, const uint8_t *in, size_t len,
                                uint8_t *out, size_t room);

/* NULL is fine. */
void packers_free(struct packers *packers);

#endif

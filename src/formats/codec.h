/* SPDX-License-Identifier: Apache-2.0
 *
 * One compressed cluster to bytes and back. Deflate is raw (no zlib header); with ISA-L or with
 * zlib, the same streams are accepted and refused. (One exception, which no compressor writes:
 * code tables that leave codes unassigned. zlib refuses them always, ISA-L where one is met.)
 * A decoder succeeds when the output is full: deflate ignores what follows, zstd requires the
 * frame that fills it to end just there.
 */
#ifndef FORMATS_CODEC_H
#define FORMATS_CODEC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "extent.h"
#include "fail.h"

/* Returns 0, -EIO (broken, or too few bytes come out), -ENOMEM. Safe from several threads. */
MUST_CHECK int codec_unpack(enum codec codec, const uint8_t *packed, size_t packed_len,
                            uint8_t *out, size_t out_len);

/* A compressor, to be used again and again by one thread at a time. @level: 0 = QEMU's own (zlib's
 * default with a window of 4 KiB, zstd's default). Deflate: 1 to 9, of which 1 to 3 are ISA-L's
 * where it was built in, several times faster; zstd: 1 to 19. -ENOMEM, -EINVAL: no such level.
 * What comes out depends on nothing but input and level, but where a build lacks ISA-L. */
struct codec_packer;

MUST_CHECK int codec_packer_new(enum codec codec, unsigned level, struct codec_packer **out);

/* Packs @len bytes into at most @room at @out. Returns how many it took, -ENOSPC (does not get that
 * small: keep it unpacked), -ENOMEM. */
MUST_CHECK ssize_t codec_packer_pack(struct codec_packer *packer, const uint8_t *in, size_t len,
                                     uint8_t *out, size_t room);

/* NULL is fine. */
void codec_packer_free(struct codec_packer *packer);

/* Packs once, at level 0. Safe from several threads. */
MUST_CHECK ssize_t codec_pack(enum codec codec, const uint8_t *in, size_t len, uint8_t *out,
                              size_t room);

/* The head of every compressor. For those who make them, one function for each library. */
struct codec_packer {
    ssize_t (*pack)(struct codec_packer *, const uint8_t *in, size_t len, uint8_t *out,
                    size_t room);
    void (*free)(struct codec_packer *);
};

MUST_CHECK int codec_packer_zlib(unsigned level, struct codec_packer **out);
MUST_CHECK int codec_packer_isal(unsigned level, struct codec_packer **out);
MUST_CHECK int codec_packer_zstd(unsigned level, struct codec_packer **out);

/* The two decoders of deflate, for tests; codec_unpack takes the faster one that was built. */
MUST_CHECK int codec_inflate_zlib(const uint8_t *packed, size_t packed_len, uint8_t *out,
                                  size_t out_len);
MUST_CHECK int codec_inflate_isal(const uint8_t *packed, size_t packed_len, uint8_t *out,
                                  size_t out_len);
MUST_CHECK int codec_unpack_zstd(const uint8_t *packed, size_t packed_len, uint8_t *out,
                                 size_t out_len);

#endif

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

/* Packs @len bytes into at most @room at @out. Returns how many it took, -ENOSPC (does not get that
 * small: keep it unpacked), -ENOMEM. As QEMU does: deflate with a window of 4 KiB, zstd at its
 * default level. The result depends on nothing but the input. Safe from several threads. */
MUST_CHECK ssize_t codec_pack(enum codec codec, const uint8_t *in, size_t len, uint8_t *out,
                              size_t room);
MUST_CHECK ssize_t codec_deflate_zlib(const uint8_t *in, size_t len, uint8_t *out, size_t room);
MUST_CHECK ssize_t codec_pack_zstd(const uint8_t *in, size_t len, uint8_t *out, size_t room);

/* The two decoders of deflate, for tests; codec_unpack takes the faster one that was built. */
MUST_CHECK int codec_inflate_zlib(const uint8_t *packed, size_t packed_len, uint8_t *out,
                                  size_t out_len);
MUST_CHECK int codec_inflate_isal(const uint8_t *packed, size_t packed_len, uint8_t *out,
                                  size_t out_len);
MUST_CHECK int codec_unpack_zstd(const uint8_t *packed, size_t packed_len, uint8_t *out,
                                 size_t out_len);

#endif

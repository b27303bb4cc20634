/* SPDX-License-Identifier: Apache-2.0
 *
 * The record of a fingerprint, big-endian:
 *
 *   OFFSET SIZE FIELD
 *        0    1 version           1
 *        1    1 parts             bit 0: content digest; others 0
 *        2    2 name_len          bytes of the recorded backing name, 1..1023
 *        4    1 format_len        0..15
 *        5    1 name_end_len      min(name_len, 96)
 *        6    2 (zeros)
 *        8    8 size              virtual bytes of the backing image
 *       16    8 file_len          bytes of its file
 *       24    8 mtime_sec         signed
 *       32    4 mtime_nsec
 *       36    4 (zeros)
 *       40    8 sealed_sec        signed: when the record was made
 *       48   16 name_digest       first half of SHA-256 of the name
 *       64   16 identity
 *       80   32 content           with parts bit 0 only
 *               format            format_len bytes
 *               name_end          name_end_len bytes
 *
 * The name is kept by its digest and its end, not as a whole, so that every record fits the first
 * sector beside header and format: sealing is always one write of one sector.
 */
#include "fingerprint.h"

#include <assert.h>
#include <string.h>

#include "base_limits.h"
#include "bits.h"
#include "bytes.h"

#define VERSION      1
#define PART_CONTENT 1u

void fingerprint_describe(struct fingerprint *f, const char *name, const char *format)
{
    uint8_t digest[DIGEST_BYTES];

    f->name_len = strlen(name);
    f->name_end_len = (size_t)min_u64(f->name_len, FINGERPRINT_NAME);
    f->name_end = name + f->name_len - f->name_end_len;
    digest_of(name, f->name_len, digest);
    memcpy(f->name_digest, digest, sizeof(f->name_digest));
    f->format = format;
    f->format_len = format ? strlen(format) : 0;
}

size_t fingerprint_encode(const struct fingerprint *f, uint8_t out[FINGERPRINT_MAX])
{
    struct writer w = writer_of(out, FINGERPRINT_MAX);

    write_u8(&w, VERSION);
    write_u8(&w, f->has_content ? PART_CONTENT : 0);
    write_be16(&w, (uint16_t)f->name_len);
    write_u8(&w, (uint8_t)f->format_len);
    write_u8(&w, (uint8_t)f->name_end_len);
    write_zeros(&w, 2);
    write_be64(&w, f->size);
    write_be64(&w, f->file_len);
    write_be64(&w, (uint64_t)f->mtime_sec);
    write_be32(&w, f->mtime_nsec);
    write_zeros(&w, 4);
    write_be64(&w, (uint64_t)f->sealed_sec);
    write_bytes(&w, f->name_digest, sizeof(f->name_digest));
    write_bytes(&w, f->identity, sizeof(f->identity));
    if (f->has_content)
        write_bytes(&w, f->content, sizeof(f->content));
    write_bytes(&w, f->format, f->format_len);
    write_bytes(&w, f->name_end, f->name_end_len);
    assert(!w.overrun);
    return FINGERPRINT_MAX - w.left;
}

static void read_into(struct reader *r, uint8_t *out, size_t len)
{
    const uint8_t *p = read_bytes(r, len);

    if (p)
        memcpy(out, p, len);
}

int fingerprint_decode(const uint8_t *bytes, size_t len, struct fingerprint *out)
{
    struct reader r = reader_of(bytes, len);
    struct fingerprint f = { 0 };
    const unsigned version = read_u8(&r), parts = read_u8(&r);

    f.name_len = read_be16(&r);
    f.format_len = read_u8(&r);
    f.name_end_len = read_u8(&r);
    (void)read_be16(&r);
    f.size = read_be64(&r);
    f.file_len = read_be64(&r);
    f.mtime_sec = (int64_t)read_be64(&r);
    f.mtime_nsec = read_be32(&r);
    (void)read_be32(&r);
    f.sealed_sec = (int64_t)read_be64(&r);
    read_into(&r, f.name_digest, sizeof(f.name_digest));
    read_into(&r, f.identity, sizeof(f.identity));
    f.has_content = parts & PART_CONTENT;
    if (f.has_content)
        read_into(&r, f.content, sizeof(f.content));
    f.format = (const char *)read_bytes(&r, f.format_len);
    f.name_end = (const char *)read_bytes(&r, f.name_end_len);
    if (r.overrun || r.left || version != VERSION || (parts & ~PART_CONTENT) ||
        f.format_len > LIMIT_BACKING_FORMAT || f.name_len > LIMIT_BACKING_NAME ||
        f.name_end_len != min_u64(f.name_len, FINGERPRINT_NAME))
        return -EBADMSG;
    *out = f;
    return 0;
}

bool fingerprint_is_for(const struct fingerprint *f, const char *name, const char *format)
{
    struct fingerprint now;

    fingerprint_describe(&now, name, format);
    return now.name_len == f->name_len && now.format_len == f->format_len &&
           memcmp(now.name_digest, f->name_digest, sizeof(now.name_digest)) == 0 &&
           (f->format_len == 0 || memcmp(now.format, f->format, f->format_len) == 0);
}

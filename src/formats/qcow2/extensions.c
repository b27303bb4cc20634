/* SPDX-License-Identifier: Apache-2.0
 *
 * Header extensions: type, length, value, padded to 8 (disk.h). All of them are kept, in file
 * order, so that a rewritten header loses none; those that we know are decoded and checked here.
 *
 * Work is linear in the bytes of the area, however many extensions they claim to be.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base_limits.h"
#include "qcow2.h"

/* The next extension; 0 at the end of the area, 1 for one, or a failure. */
static int next_extension(struct reader *r, struct qcow2_extension *out, struct qimg_error *err)
{
    if (r->left == 0)
        return 0;
    struct qcow2_extension e;
    e.type = read_be32(r);
    e.len = read_be32(r);
    if (r->overrun || e.len > r->left)
        return qimg_fail(err, EBADMSG, "Header extension too large");
    if (e.type == QCOW2_EXT_END)
        return 0;
    e.data = read_bytes(r, e.len);
    (void)read_bytes(r, min_u64(align_up(e.len, 8) - e.len, r->left));
    *out = e;
    return 1;
}

bool qcow2_extensions_end_within(struct reader area)
{
    struct qcow2_extension e;
    struct qimg_error err;

    while (area.left >= QCOW2_EXT_HEADER_BYTES) {
        /* The end marker has a length too, which must fit. */
        if (load_be32(area.at) == QCOW2_EXT_END)
            return load_be32(area.at + 4) <= area.left - QCOW2_EXT_HEADER_BYTES;
        if (next_extension(&area, &e, &err) < 0)
            return false;
    }
    return false;
}

static int replace_text(char **slot, const struct qcow2_extension *e, struct qimg_error *err)
{
    char *text = strndup((const char *)e->data, e->len);

    if (!text)
        return qimg_fail_memory(err);
    free(*slot);
    *slot = text;
    return 0;
}

static int decode_backing_format(const struct qcow2_extension *e, struct qcow2_extensions *out,
                                 struct qimg_error *err)
{
    if (e->len > LIMIT_BACKING_FORMAT)
        return qimg_fail(err, EBADMSG, "ERROR: ext_backing_format: len=%u too large (>=%u)", e->len,
                         LIMIT_BACKING_FORMAT + 1);
    return replace_text(&out->backing_format, e, err);
}

static int decode_crypto(const struct qcow2_header *header, const struct qcow2_extension *e,
                         struct qcow2_extensions *out, struct qimg_error *err)
{
    struct reader r = reader_of(e->data, e->len);
    struct qcow2_crypto_ext c;

    if (header->crypt_method != QCOW2_CRYPT_LUKS)
        return qimg_fail(err, EBADMSG,
                         "CRYPTO header extension only expected with LUKS encryption method");
    if (e->len != QCOW2_EXT_CRYPTO_BYTES)
        return qimg_fail(err, EBADMSG, "CRYPTO header extension size %u, but expected size %u",
                         e->len, QCOW2_EXT_CRYPTO_BYTES);
    c.off = read_be64(&r);
    c.len = read_be64(&r);
    if (!is_aligned(c.off, UINT64_C(1) << header->cluster_bits))
        return qimg_fail(err, EBADMSG,
                         "Encryption header offset '%" PRIu64
                         "' is not a multiple of cluster size '%u'",
                         c.off, 1u << header->cluster_bits);
    out->crypto = c;
    out->has_crypto = true;
    return 0;
}

static int check_bitmaps(const struct qcow2_header *header, const struct qcow2_bitmaps_ext *b,
                         struct qimg_error *err)
{
    if (b->count > LIMIT_QCOW2_BITMAPS)
        return qimg_fail(err, EBADMSG,
                         "bitmaps_ext: Image has %u bitmaps, exceeding the QEMU supported "
                         "maximum of %d",
                         b->count, LIMIT_QCOW2_BITMAPS);
    if (b->count == 0)
        return qimg_fail(err, EBADMSG, "found bitmaps extension with zero bitmaps");
    if (!is_aligned(b->directory_off, UINT64_C(1) << header->cluster_bits))
        return qimg_fail(err, EBADMSG, "bitmaps_ext: invalid bitmap directory offset");
    if (b->directory_len > LIMIT_QCOW2_BITMAP_DIR_BYTES)
        return qimg_fail(err, EBADMSG,
                         "bitmaps_ext: bitmap directory size (%" PRIu64
                         ") exceeds the maximum supported size (%" PRIu64 ")",
                         b->directory_len, LIMIT_QCOW2_BITMAP_DIR_BYTES);
    return 0;
}

static int decode_bitmaps(const struct qcow2_header *header, const struct qcow2_extension *e,
                          struct qcow2_extensions *out, struct qimg_error *err)
{
    struct reader r = reader_of(e->data, e->len);
    struct qcow2_bitmaps_ext b;

    if (e->len != QCOW2_EXT_BITMAPS_BYTES)
        return qimg_fail(err, EBADMSG, "bitmaps_ext: Invalid extension length");
    if (!(header->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        out->has_stale_bitmaps = true;
        return 0;
    }
    b.count = read_be32(&r);
    if (read_be32(&r) != 0)
        return qimg_fail(err, EBADMSG, "bitmaps_ext: Reserved field is not zero");
    b.directory_len = read_be64(&r);
    b.directory_off = read_be64(&r);
    TRY(check_bitmaps(header, &b, err));
    out->bitmaps = b;
    out->has_bitmaps = true;
    return 0;
}

static int decode_one(const struct qcow2_header *header, const struct qcow2_extension *e,
                      struct qcow2_extensions *out, struct qimg_error *err)
{
    switch (e->type) {
    case QCOW2_EXT_BACKING_FORMAT:
        return decode_backing_format(e, out, err);
    case QCOW2_EXT_FEATURE_NAMES:
        out->feature_names = e->data;
        out->feature_names_len = e->len;
        return 0;
    case QCOW2_EXT_FINGERPRINT:
        out->fingerprint = e->data;
        out->fingerprint_len = e->len;
        return 0;
    case QCOW2_EXT_CRYPTO:
        return decode_crypto(header, e, out, err);
    case QCOW2_EXT_BITMAPS:
        return decode_bitmaps(header, e, out, err);
    case QCOW2_EXT_DATA_FILE:
        return replace_text(&out->data_file, e, err);
    default:
        return 0;
    }
}

int qcow2_extensions_decode(const struct qcow2_header *header, struct reader area,
                            struct qcow2_extensions *out, struct qimg_error *err)
{
    struct qcow2_extension e;
    int rc;

    while ((rc = next_extension(&area, &e, err)) > 0) {
        TRY(decode_one(header, &e, out, err));
        if (qcow2_extension_vec_push(&out->list, e) < 0)
            return qimg_fail_memory(err);
    }
    return rc;
}

size_t qcow2_extensions_encoded_len(const struct qcow2_extension *list, size_t count)
{
    size_t len = QCOW2_EXT_HEADER_BYTES;

    for (size_t i = 0; i < count; i++)
        len += QCOW2_EXT_HEADER_BYTES + align_up(list[i].len, 8);
    return len;
}

int qcow2_extensions_encode(const struct qcow2_extension *list, size_t count, struct writer *w)
{
    for (size_t i = 0; i < count; i++) {
        write_be32(w, list[i].type);
        write_be32(w, list[i].len);
        write_bytes(w, list[i].data, list[i].len);
        write_zeros(w, align_up(list[i].len, 8) - list[i].len);
    }
    write_be32(w, QCOW2_EXT_END);
    write_be32(w, 0);
    return w->overrun ? -ENOSPC : 0;
}

void qcow2_extensions_release(struct qcow2_extensions *extensions)
{
    free(extensions->bytes);
    free(extensions->backing_format);
    free(extensions->data_file);
    qcow2_extension_vec_release(&extensions->list);
    *extensions = (struct qcow2_extensions){ 0 };
}

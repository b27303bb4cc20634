/* SPDX-License-Identifier: Apache-2.0
 *
 * The qcow2 header: bytes to struct qcow2_header and back, in the order of the table in disk.h.
 * Each value is checked once, here, in the order in which QEMU checks it, with its sentence.
 * A file that is shorter than its header reads as zeros there.
 */
#include <inttypes.h>

#include "base_limits.h"
#include "qcow2.h"

static void decode_v2_defaults(struct qcow2_header *h)
{
    h->refcount_order = 4;
    h->header_length = QCOW2_V2_HEADER_LENGTH;
}

static void decode_v3_fields(struct reader *r, struct qcow2_header *h)
{
    h->incompatible = read_be64(r);
    h->compatible = read_be64(r);
    h->autoclear = read_be64(r);
    h->refcount_order = read_be32(r);
    h->header_length = read_be32(r);
    if (h->header_length > QCOW2_AT_COMPRESSION)
        h->compression_type = read_u8(r);
}

static void decode_fields(struct reader *r, struct qcow2_header *h)
{
    h->magic = read_be32(r);
    h->version = read_be32(r);
    h->backing_off = read_be64(r);
    h->backing_len = read_be32(r);
    h->cluster_bits = read_be32(r);
    h->size = read_be64(r);
    h->crypt_method = read_be32(r);
    h->l1_count = read_be32(r);
    h->l1_off = read_be64(r);
    h->reftable_off = read_be64(r);
    h->reftable_clusters = read_be32(r);
    h->snapshot_count = read_be32(r);
    h->snapshots_off = read_be64(r);
    if (h->version == 2)
        decode_v2_defaults(h);
    else
        decode_v3_fields(r, h);
}

static int check_compression(const struct qcow2_header *h, struct qimg_error *err)
{
    const bool flagged = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;

    if (h->compression_type > QCOW2_COMPRESSION_ZSTD)
        return qimg_fail(err, ENOTSUP, "qcow2: unknown compression type: %u", h->compression_type);
    if (h->compression_type == QCOW2_COMPRESSION_ZLIB && flagged)
        return qimg_fail(err, EBADMSG,
                         "qcow2: Compression type incompatible feature bit must not be set");
    if (h->compression_type != QCOW2_COMPRESSION_ZLIB && !flagged)
        return qimg_fail(err, EBADMSG,
                         "qcow2: Compression type incompatible feature bit must be set");
    return 0;
}

int qcow2_header_decode(const uint8_t *buf, size_t len, struct qcow2_header *out,
                        struct qimg_error *err)
{
    uint8_t padded[QCOW2_V3_HEADER_LENGTH] = { 0 };
    struct qcow2_header h = { 0 };

    memcpy(padded, buf, len < sizeof(padded) ? len : sizeof(padded));
    struct reader r = reader_of(padded, sizeof(padded));
    decode_fields(&r, &h);

    if (h.magic != QCOW2_MAGIC)
        return qimg_fail(err, EBADMSG, "Image is not in qcow2 format");
    if (h.version < 2 || h.version > 3)
        return qimg_fail(err, ENOTSUP, "Unsupported qcow2 version %u", h.version);
    if (h.cluster_bits < LIMIT_QCOW2_CLUSTER_BITS_MIN ||
        h.cluster_bits > LIMIT_QCOW2_CLUSTER_BITS_MAX)
        return qimg_fail(err, EBADMSG, "Unsupported cluster size: 2^%u", h.cluster_bits);
    if (h.version == 3 && h.header_length < QCOW2_V3_HEADER_MIN)
        return qimg_fail(err, EBADMSG, "qcow2 header too short");
    if (h.header_length > UINT64_C(1) << h.cluster_bits)
        return qimg_fail(err, EBADMSG, "qcow2 header exceeds cluster size");
    if (h.backing_off > UINT64_C(1) << h.cluster_bits)
        return qimg_fail(err, EBADMSG, "Invalid backing file offset");
    TRY(check_compression(&h, err));
    *out = h;
    return 0;
}

int qcow2_table_check(const struct qcow2_table_claim *claim, unsigned cluster_bits,
                      struct qimg_error *err)
{
    if (claim->count > claim->max_bytes / claim->entry_len)
        return qimg_fail(err, EFBIG, "%s too large", claim->name);
    if (claim->off > (uint64_t)INT64_MAX - claim->count * claim->entry_len ||
        !is_aligned(claim->off, UINT64_C(1) << cluster_bits))
        return qimg_fail(err, EBADMSG, "%s offset invalid", claim->name);
    return 0;
}

int qcow2_table_begins_inside(const char *name, struct qimg_range table, uint64_t file_size,
                              struct qimg_error *err)
{
    if (table.len == 0 || table.off < file_size)
        return 0;
    return qimg_fail(err, EBADMSG,
                     "%s at offset %#" PRIx64 " begins past the end of the file (%" PRIu64
                     " bytes)",
                     name, table.off, file_size);
}

struct qcow2_table_claim qcow2_snapshots_claim(const struct qcow2_header *h)
{
    return (struct qcow2_table_claim){ .name = "Snapshot table",
                                       .off = h->snapshots_off,
                                       .count = h->snapshot_count,
                                       .entry_len = QCOW2_SNAPSHOT_BYTES,
                                       .max_bytes =
                                           (uint64_t)QCOW2_SNAPSHOT_BYTES * LIMIT_QCOW2_SNAPSHOTS };
}

/* The tables that the header places itself; refcounts before snapshots before L1, as QEMU. */
static int check_tables(const struct qcow2_header *h, uint64_t file_size, struct qimg_error *err)
{
    const struct qcow2_table_claim claims[] = {
        { "Reference count table", h->reftable_off, h->reftable_clusters,
          (uint32_t)1 << h->cluster_bits, LIMIT_QCOW2_REFTABLE_BYTES },
        qcow2_snapshots_claim(h),
        { "Active L1 table", h->l1_off, h->l1_count, QCOW2_L1_ENTRY_BYTES, LIMIT_QCOW2_L1_BYTES },
    };

    for (size_t i = 0; i < ARRAY_COUNT(claims); i++)
        TRY(qcow2_table_check(&claims[i], h->cluster_bits, err));
    for (size_t i = 0; i < ARRAY_COUNT(claims); i++) {
        const struct qimg_range table = { claims[i].off, claims[i].count * claims[i].entry_len };
        TRY(qcow2_table_begins_inside(claims[i].name, table, file_size, err));
    }
    return 0;
}

static int check_size(const struct qcow2_header *h, struct qimg_error *err)
{
    const unsigned entry_bits = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 4 : 3;
    const uint64_t l1_needed = div_up(h->size, UINT64_C(1) << (2 * h->cluster_bits - entry_bits));

    if (h->size > INT64_MAX || l1_needed > INT32_MAX)
        return qimg_fail(err, EFBIG, "Image is too big");
    if (h->l1_count < l1_needed)
        return qimg_fail(err, EBADMSG, "L1 table is too small");
    return 0;
}

int qcow2_header_check(const struct qcow2_header *h, bool writable, uint64_t file_size,
                       struct qimg_error *err)
{
    const uint32_t cluster_size = (uint32_t)1 << h->cluster_bits;
    const bool extended = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    const uint32_t subcluster_size = extended ? cluster_size / QCOW2_SUBCLUSTERS : cluster_size;

    if (writable && (h->incompatible & QCOW2_INCOMPAT_CORRUPT))
        return qimg_fail(err, EACCES, "qcow2: Image is corrupt; cannot be opened read/write");
    if (subcluster_size < (uint32_t)1 << LIMIT_QCOW2_CLUSTER_BITS_MIN)
        return qimg_fail(err, EBADMSG, "Unsupported subcluster size: %u", subcluster_size);
    if (h->refcount_order > 6)
        return qimg_fail(err, EBADMSG,
                         "Reference count entry width too large; may not exceed 64 bits");
    if (h->reftable_clusters == 0)
        return qimg_fail(err, EBADMSG, "Image does not contain a reference count table");
    TRY(check_tables(h, file_size, err));
    TRY(check_size(h, err));
    if (h->crypt_method > QCOW2_CRYPT_LUKS)
        return qimg_fail(err, ENOTSUP, "Unsupported encryption method %u", h->crypt_method);
    return 0;
}

static void encode_v3_fields(const struct qcow2_header *h, const uint8_t *unknown, struct writer *w)
{
    write_be64(w, h->incompatible);
    write_be64(w, h->compatible);
    write_be64(w, h->autoclear);
    write_be32(w, h->refcount_order);
    write_be32(w, h->header_length);
    if (h->header_length > QCOW2_AT_COMPRESSION) {
        const uint64_t known = min_u64(h->header_length, QCOW2_V3_HEADER_LENGTH);
        write_u8(w, h->compression_type);
        write_zeros(w, known - QCOW2_AT_COMPRESSION - 1);
    }
    write_bytes(w, unknown, qcow2_unknown_header_len(h));
}

int qcow2_header_encode(const struct qcow2_header *h, const uint8_t *unknown, struct writer *w)
{
    write_be32(w, h->magic);
    write_be32(w, h->version);
    write_be64(w, h->backing_off);
    write_be32(w, h->backing_len);
    write_be32(w, h->cluster_bits);
    write_be64(w, h->size);
    write_be32(w, h->crypt_method);
    write_be32(w, h->l1_count);
    write_be64(w, h->l1_off);
    write_be64(w, h->reftable_off);
    write_be32(w, h->reftable_clusters);
    write_be32(w, h->snapshot_count);
    write_be64(w, h->snapshots_off);
    if (h->version >= 3)
        encode_v3_fields(h, unknown, w);
    return w->overrun ? -ENOSPC : 0;
}

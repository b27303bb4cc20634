/* SPDX-License-Identifier: Apache-2.0
 *
 * Lays out a new image in an empty file. Where everything goes is decided first, in memory, as a
 * plan of contiguous regions in this order:
 *
 *     header | refcount table | refcount blocks | L1 table | L2 tables | data clusters
 *
 * (the last two only where metadata is preallocated, the last one not with a data file). Every
 * cluster up to the end has refcount 1, so each table follows from the plan alone and is written
 * as a stream, in pieces of bounded size.
 *
 * (1) Cluster 0 is written last, after a sync: a half-made file has no magic. Syncing it is up to
 *     the caller.
 * (2) The file is as long as QEMU makes it: an L1 table at its end is not padded.
 * (3) What is not written reads as zeros: the file was empty. A device is zeroed explicitly.
 */
#include <assert.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "qcow2.h"
#include "raw.h"

#define WRITE_BYTES (2 * MiB)

/* An L1 table up to this size is written out even if it is all zeros, so that a fresh image has
 * its metadata on disk and its storage tells a reader what it does in QEMU's images. */
#define L1_WRITTEN_BYTES (1 * MiB)

struct region {
    uint64_t off, len; /* bytes; len is what is used of the last cluster */
};

struct plan {
    const struct create_spec *spec;
    unsigned cluster_bits, entry_bits, refcount_order;
    bool data_file;
    bool preallocate; /* L2 tables, and data clusters unless data_file */
    uint64_t guest_clusters;
    uint64_t l1_count;
    uint64_t refcount_blocks;
    uint64_t cluster_count; /* of the whole file */
    struct region reftable, blocks, l1, l2, data;
    uint64_t file_end;
};

/* --- the plan ------------------------------------------------------------------------------ */

/* The next region, behind @at clusters, of @len bytes; returns the clusters used so far. */
static uint64_t place(struct region *region, uint64_t at, uint64_t len, unsigned cluster_bits)
{
    *region = (struct region){ .off = at << cluster_bits, .len = len };
    return at + div_up(len, UINT64_C(1) << cluster_bits);
}

/* Refcount blocks count themselves and their table: grows both until they fit. */
static void count_refcounts(struct plan *p, uint64_t others, uint64_t *table_clusters)
{
    const uint64_t per_block = UINT64_C(8) << p->cluster_bits >> p->refcount_order;
    const uint64_t per_table = UINT64_C(1) << p->cluster_bits >> 3;
    uint64_t blocks = 0, table = 0, all = 0;

    do {
        blocks = div_up(others + table + blocks, per_block);
        table = div_up(blocks, per_table);
        all = others + table + blocks;
    } while (blocks < div_up(all, per_block));
    p->refcount_blocks = blocks;
    *table_clusters = table;
}

/* (2): QEMU ends the file where the last piece that it maps at once ends. */
static uint64_t data_length(const struct plan *p)
{
    const bool pieces = p->spec->preallocation == PREALLOC_METADATA && p->spec->extended_l2;
    const uint64_t unit = p->spec->cluster_size / (pieces ? QCOW2_SUBCLUSTERS : 1);

    return align_up(p->spec->size, unit);
}

static int too_large(struct qimg_error *err)
{
    return qimg_fail(err, EFBIG,
                     "The image size is too large for file format 'qcow2' "
                     "(try using a larger cluster size)");
}

static int plan_make(const struct create_spec *spec, bool data_file, struct plan *p,
                     struct qimg_error *err)
{
    const unsigned bits = log2_u64(spec->cluster_size);
    const unsigned entry_bits = spec->extended_l2 ? 4 : 3;
    const uint64_t cluster = spec->cluster_size;
    uint64_t table_clusters;

    *p = (struct plan){
        .spec = spec,
        .cluster_bits = bits,
        .entry_bits = entry_bits,
        .refcount_order = log2_u64(spec->refcount_bits),
        .data_file = data_file,
        .preallocate = spec->preallocation != PREALLOC_OFF || spec->data_file_raw,
        .guest_clusters = div_up(spec->size, cluster),
        .l1_count = div_up(spec->size, UINT64_C(1) << (2 * bits - entry_bits)),
    };
    if (spec->size > INT64_MAX || p->l1_count > LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES)
        return too_large(err);

    const uint64_t l1_len = p->l1_count * QCOW2_L1_ENTRY_BYTES;
    const uint64_t l2_len = p->preallocate ? p->l1_count << bits : 0;
    const uint64_t data_len = p->preallocate && !data_file ? data_length(p) : 0;
    count_refcounts(p, 1 + div_up(l1_len, cluster) + (l2_len >> bits) + div_up(data_len, cluster),
                    &table_clusters);
    if (table_clusters > LIMIT_QCOW2_REFTABLE_BYTES >> bits)
        return too_large(err);

    uint64_t at = 1;
    at = place(&p->reftable, at, table_clusters << bits, bits);
    at = place(&p->blocks, at, p->refcount_blocks << bits, bits);
    at = place(&p->l1, at, l1_len, bits);
    at = place(&p->l2, at, l2_len, bits);
    at = place(&p->data, at, data_len, bits);
    p->cluster_count = at;
    p->file_end = p->data.off + p->data.len; /* (2): empty regions end where they begin */
    if (data_len == 0 && l2_len == 0)
        p->file_end = p->l1.off + p->l1.len;
    return 0;
}

/* --- what the tables hold ------------------------------------------------------------------ */

/* Fills @buf with bytes [at, at + len) of a region; @buf is zeroed. */
typedef void (*fill_fn)(const struct plan *p, uint64_t at, uint8_t *buf, size_t len);

static void fill_reftable(const struct plan *p, uint64_t at, uint8_t *buf, size_t len)
{
    uint64_t block = at / QCOW2_REFTABLE_ENTRY_BYTES;

    for (size_t i = 0; i < len && block < p->refcount_blocks; i += 8, block++)
        store_be64(buf + i, p->blocks.off + (block << p->cluster_bits));
}

/* Counts narrower than a byte: 8 >> order of them in each byte, the first in the lowest bits. */
static void fill_narrow_counts(const struct plan *p, uint64_t at, uint8_t *buf, size_t len)
{
    static const uint8_t ones[] = { 0xff, 0x55, 0x11 };
    const unsigned order = p->refcount_order;
    const uint64_t per_byte = UINT64_C(8) >> order;
    uint64_t cluster = at * per_byte;

    for (size_t i = 0; i < len && cluster < p->cluster_count; i++, cluster += per_byte) {
        const uint64_t counted = min_u64(per_byte, p->cluster_count - cluster);
        buf[i] = ones[order] & (uint8_t)((1u << (counted << order)) - 1);
    }
}

static void fill_refcounts(const struct plan *p, uint64_t at, uint8_t *buf, size_t len)
{
    if (p->refcount_order < 3) {
        fill_narrow_counts(p, at, buf, len);
        return;
    }
    const unsigned width = 1u << (p->refcount_order - 3);
    uint64_t cluster = at / width;

    for (size_t i = 0; i < len && cluster < p->cluster_count; i += width, cluster++)
        buf[i + width - 1] = 1;
}

static void fill_l1(const struct plan *p, uint64_t at, uint8_t *buf, size_t len)
{
    uint64_t table = at / QCOW2_L1_ENTRY_BYTES;

    if (!p->preallocate)
        return;
    for (size_t i = 0; i < len; i += QCOW2_L1_ENTRY_BYTES, table++)
        store_be64(buf + i, (p->l2.off + (table << p->cluster_bits)) | QCOW2_COPIED);
}

/* Guest cluster n is data cluster n. Subclusters stay unallocated, so that a backing file shows
 * through, except where the data file alone must tell the whole truth. */
static void fill_l2(const struct plan *p, uint64_t at, uint8_t *buf, size_t len)
{
    const size_t width = (size_t)1 << p->entry_bits;
    const uint64_t first = p->data_file ? 0 : p->data.off;
    uint64_t cluster = at / width;

    for (size_t i = 0; i < len && cluster < p->guest_clusters; i += width, cluster++) {
        store_be64(buf + i, (first + (cluster << p->cluster_bits)) | QCOW2_COPIED);
        if (p->spec->extended_l2 && p->spec->data_file_raw)
            store_be64(buf + i + 8, UINT32_MAX);
    }
}

static void fill_zeros(const struct plan *p, uint64_t at, uint8_t *buf, size_t len)
{
    (void)p, (void)at, (void)buf, (void)len;
}

/* --- writing ------------------------------------------------------------------------------- */

static int write_region(struct io_file *file, const struct plan *p, struct region region,
                        fill_fn fill, struct qimg_error *err)
{
    const size_t room = (size_t)min_u64(region.len, WRITE_BYTES);
    if (room == 0)
        return 0;
    AUTO_FREE uint8_t *buf = io_buffer_new(room);
    if (!buf)
        return qimg_fail_memory(err);

    for (uint64_t at = 0; at < region.len; at += room) {
        const size_t part = (size_t)min_u64(room, region.len - at);
        if (at == 0 || fill != fill_zeros)
            memset(buf, 0, part);
        fill(p, at, buf, part);
        int rc = io_write_exact(file, region.off + at, buf, part);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "Could not write %s",
                                   fill == fill_zeros ? "data clusters" : "metadata");
    }
    return 0;
}

static int write_tables(struct io_file *file, const struct plan *p, struct qimg_error *err)
{
    TRY(write_region(file, p, p->reftable, fill_reftable, err));
    TRY(write_region(file, p, p->blocks, fill_refcounts, err));
    if (p->preallocate || p->l1.len <= L1_WRITTEN_BYTES)
        TRY(write_region(file, p, p->l1, fill_l1, err));
    return write_region(file, p, p->l2, fill_l2, err);
}

/* Makes @file @size bytes long, with storage as the mode says. @data: the part that `full`
 * writes. */
static int set_size(struct io_file *file, uint64_t size, enum preallocation mode,
                    const struct plan *p, struct region data, struct qimg_error *err)
{
    struct qimg_range all = { .off = 0, .len = size };
    int rc = file->is_device ? 0 : io_truncate(file, size);

    if (rc == 0 && mode == PREALLOC_FALLOC && size > 0)
        rc = io_allocate(file, all);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not resize image: %s",
                               mode == PREALLOC_FALLOC ? "Could not preallocate data"
                                                       : "Failed to grow file");
    if (mode == PREALLOC_FULL)
        return write_region(file, p, data, fill_zeros, err);
    return 0;
}

/* (3) on a device, which kept its old content. */
static int clear_device(struct io_file *file, const struct plan *p, struct qimg_error *err)
{
    const struct qimg_range tables = { .off = 0, .len = p->file_end };
    struct io_stat stat;
    int rc = io_stat(file, &stat);

    if (rc == 0 && stat.size < p->file_end)
        rc = -ENOSPC;
    if (rc == 0)
        rc = io_zero(file, tables, true);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not resize image") : 0;
}

static int write_body(struct io_file *file, struct io_file *data_file, const struct plan *p,
                      struct qimg_error *err)
{
    const enum preallocation mode = p->spec->preallocation;
    const struct region whole = { .off = 0, .len = p->spec->size };

    if (file->is_device)
        TRY(clear_device(file, p, err));
    TRY(set_size(file, p->file_end, data_file ? PREALLOC_OFF : mode, p, p->data, err));
    if (data_file && !data_file->is_device && mode != PREALLOC_FALLOC && mode != PREALLOC_FULL) {
        const int rc = raw_write_first_block(data_file, p->spec->size);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "Could not write to the data file");
    }
    if (data_file)
        TRY(set_size(data_file, p->spec->size, mode, p, whole, err));
    TRY(write_tables(file, p, err));

    int rc = data_file ? io_sync(data_file) : 0;
    if (rc == 0)
        rc = io_sync(file);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not write metadata") : 0;
}

/* --- header -------------------------------------------------------------------------------- */

static struct qcow2_header header_of(const struct plan *p)
{
    const struct create_spec *s = p->spec;
    struct qcow2_header h = {
        .magic = QCOW2_MAGIC,
        .version = s->version,
        .cluster_bits = p->cluster_bits,
        .size = s->size,
        .l1_count = (uint32_t)p->l1_count,
        .l1_off = p->l1_count ? p->l1.off : 0,
        .reftable_off = p->reftable.off,
        .reftable_clusters = (uint32_t)(p->reftable.len >> p->cluster_bits),
        .refcount_order = p->refcount_order,
        .header_length = s->version >= 3 ? QCOW2_V3_HEADER_LENGTH : QCOW2_V2_HEADER_LENGTH,
    };
    if (s->lazy_refcounts)
        h.compatible |= QCOW2_COMPAT_LAZY_REFCOUNTS;
    if (p->data_file)
        h.incompatible |= QCOW2_INCOMPAT_DATA_FILE;
    if (s->data_file_raw)
        h.autoclear |= QCOW2_AUTOCLEAR_DATA_FILE_RAW;
    if (s->extended_l2)
        h.incompatible |= QCOW2_INCOMPAT_EXTENDED_L2;
    if (s->compression == CODEC_ZSTD) {
        h.incompatible |= QCOW2_INCOMPAT_COMPRESSION;
        h.compression_type = QCOW2_COMPRESSION_ZSTD;
    }
    return h;
}

static struct qcow2_extension text_extension(uint32_t type, const char *text)
{
    return (struct qcow2_extension){ .type = type,
                                     .len = (uint32_t)strlen(text),
                                     .data = (const uint8_t *)text };
}

/* In QEMU's order. Small clusters have no room for the names of features. */
static size_t list_extensions(const struct create_spec *s, struct qcow2_extension list[3])
{
    size_t count = 0;

    if (s->backing_name && s->backing_format)
        list[count++] = text_extension(QCOW2_EXT_BACKING_FORMAT, s->backing_format);
    if (s->data_file_name)
        list[count++] = text_extension(QCOW2_EXT_DATA_FILE, s->data_file_name);
    if (s->version >= 3 && s->cluster_size > 4096) {
        struct qcow2_extension names = { .type = QCOW2_EXT_FEATURE_NAMES };
        names.data = qcow2_feature_names(&names.len);
        list[count++] = names;
    }
    return count;
}

/* Cluster 0: header, extensions, and the backing file's name right behind the end marker. */
static int encode_header(const struct plan *p, uint8_t *cluster)
{
    const struct create_spec *s = p->spec;
    const char *name = s->backing_name ? s->backing_name : "";
    struct qcow2_extension list[3];
    const size_t count = list_extensions(s, list);
    struct qcow2_header h = header_of(p);
    struct writer w = writer_of(cluster, s->cluster_size);

    if (strlen(name) > LIMIT_BACKING_NAME)
        return -EINVAL;
    if (*name) {
        h.backing_off = h.header_length + qcow2_extensions_encoded_len(list, count);
        h.backing_len = (uint32_t)strlen(name);
    }
    TRY(qcow2_header_encode(&h, NULL, &w));
    TRY(qcow2_extensions_encode(list, count, &w));
    write_bytes(&w, name, strlen(name));
    return w.overrun ? -ENOSPC : 0;
}

int qcow2_create(struct io_file *file, struct io_file *data_file, const struct create_spec *spec,
                 struct qimg_error *err)
{
    assert(is_pow2(spec->cluster_size) && is_pow2(spec->refcount_bits));
    assert(is_aligned(spec->size, 512));
    struct plan plan;
    TRY(plan_make(spec, data_file != NULL, &plan, err));

    AUTO_FREE uint8_t *cluster = io_buffer_new(spec->cluster_size);
    if (!cluster)
        return qimg_fail_memory(err);
    memset(cluster, 0, spec->cluster_size);
    int rc = encode_header(&plan, cluster);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not assign backing file '%s' with format '%s'",
                               spec->backing_name ? spec->backing_name : "",
                               spec->backing_format ? spec->backing_format : "");
    TRY(write_body(file, data_file, &plan, err));

    rc = io_write_exact(file, 0, cluster, spec->cluster_size); /* (1) */
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not write qcow2 header") : 0;
}

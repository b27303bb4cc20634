/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts an open qcow2 image together, in the order in which QEMU does, so that of two faults the
 * same one is reported; and takes it apart. The decisions are in the files named after them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "audit_walk.h"
#include "base_limits.h"
#include "bitmap_verbs.h"
#include "cleanup.h"
#include "meta_internal.h"
#include "qcow2.h"
#include "shadow.h"

#define HEAD_BYTES 4096 /* holds the header and all extensions of nearly every image */

static int qcow2_probe(const uint8_t *head, size_t len)
{
    if (len < 8)
        return 0;
    return load_be32(head) == QCOW2_MAGIC && load_be32(head + 4) >= 2 ? 100 : 0;
}

/* Version 2 has no feature bits; a reserved version is refused before they matter. */
static bool qcow2_wants_data_file(const uint8_t *head, size_t len)
{
    return len >= QCOW2_AT_INCOMPATIBLE + 8 && load_be32(head + 4) >= 3 &&
           (load_be64(head + QCOW2_AT_INCOMPATIBLE) & QCOW2_INCOMPAT_DATA_FILE);
}

/* What load() fills in. */
static void release_loaded(struct qcow2 *q)
{
    free(TAKE(q->image.backing_name));
    free(TAKE(q->image.backing_format));
    free(TAKE(q->image.data_file_name));
    free(TAKE(q->unknown_header));
    free(TAKE(q->l1));
    q->l1_loaded = 0;
    q->image.fingerprint = NULL;
    qcow2_extensions_release(&q->extensions);
    qcow2_snapshots_release(&q->snapshots);
    qcow2_bitmaps_release(&q->bitmaps);
}

static void qcow2_close(struct image *image)
{
    struct qcow2 *q = qcow2_of(image);

    if (!q)
        return;
    meta_close(q);
    io_file_close(image->file);
    io_file_close(image->data_file);
    release_loaded(q);
    free(q);
}

DEFINE_CLEANUP(image, qcow2_close)

/* --- header and extensions ------------------------------------------------------------------ */

static uint64_t extensions_end(const struct qcow2_header *h)
{
    return h->backing_off ? h->backing_off : UINT64_C(1) << h->cluster_bits;
}

static int copy_bytes(uint8_t **slot, const uint8_t *src, size_t len, struct qimg_error *err)
{
    uint8_t *copy = malloc(len ? len : 1);

    if (!copy)
        return qimg_fail_memory(err);
    memcpy(copy, src, len);
    *slot = copy;
    return 0;
}

/* The extension area: from @head where it ends there for certain, else read as a whole. */
static int load_area(struct qcow2 *q, const uint8_t *head, struct reader *out,
                     struct qimg_error *err)
{
    const uint64_t begin = q->header.header_length, end = extensions_end(&q->header);
    const uint64_t in_head = min_u64(end, HEAD_BYTES);

    *out = reader_of(NULL, 0);
    if (begin >= end)
        return 0;
    if (begin < in_head) {
        const struct reader r = reader_of(head + begin, in_head - begin);
        if (in_head == end || qcow2_extensions_end_within(r)) {
            TRY(copy_bytes(&q->extensions.bytes, r.at, r.left, err));
            *out = reader_of(q->extensions.bytes, r.left);
            return 0;
        }
    }
    q->extensions.bytes = malloc(end - begin);
    if (!q->extensions.bytes)
        return qimg_fail_memory(err);
    const int rc = io_read_exact(q->image.file, begin, q->extensions.bytes, end - begin, NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read header extensions");
    *out = reader_of(q->extensions.bytes, end - begin);
    return 0;
}

static int load_unknown_header(struct qcow2 *q, struct qimg_error *err)
{
    const size_t len = qcow2_unknown_header_len(&q->header);

    if (len == 0)
        return 0;
    q->unknown_header = malloc(len);
    if (!q->unknown_header)
        return qimg_fail_memory(err);
    const int rc =
        io_read_exact(q->image.file, QCOW2_V3_HEADER_LENGTH, q->unknown_header, len, NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read unknown qcow2 header fields");
    return 0;
}

/* Unknown incompatible bits come first: with them, nothing else may be believed. */
static int refuse_unknown_features(const struct qcow2 *q, struct reader area,
                                   struct qimg_error *err)
{
    struct qcow2_extensions names = { 0 };
    struct qimg_error ignored;

    if ((q->header.incompatible & ~QCOW2_INCOMPAT_KNOWN) == 0)
        return 0;
    (void)!qcow2_extensions_decode(&q->header, area, &names, &ignored);
    const int rc = qcow2_features_refuse_unknown(q->header.incompatible, names.feature_names,
                                                 names.feature_names_len, err);
    qcow2_extensions_release(&names);
    return rc;
}

static void set_geometry(struct qcow2 *q, uint64_t file_size)
{
    const struct qcow2_header *h = &q->header;
    struct qcow2_geometry *g = &q->geometry;

    g->cluster_bits = h->cluster_bits;
    g->extended_l2 = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    g->entry_bits = g->extended_l2 ? 4 : 3;
    g->l2_bits = g->cluster_bits - g->entry_bits;
    g->subcluster_bits = g->extended_l2 ? g->cluster_bits - 5 : g->cluster_bits;
    g->v2 = h->version == 2;
    g->data_file = h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
    g->codec = h->compression_type == QCOW2_COMPRESSION_ZSTD ? CODEC_ZSTD : CODEC_DEFLATE;
    g->file_size = file_size;

    q->image.size = qcow2_disk_size(q);
    q->image.cluster_size = (uint32_t)1 << g->cluster_bits;
    q->image.map_unit = (uint32_t)1 << g->subcluster_bits;
    q->image.marks_zeros = !g->v2;
    q->image.table_span = UINT64_C(1) << qcow2_l2_coverage_bits(g);
    q->image.needs_data_file = g->data_file;
    q->image.encrypted = h->crypt_method != QCOW2_CRYPT_NONE;
}

/* --- what the header leads to ---------------------------------------------------------------- */

/* Data of an encrypted image is out of reach; info reads what its header says in clear. */
static int check_encryption(const struct qcow2 *q, struct qimg_error *err)
{
    struct qimg_luks_info *luks = NULL;

    if (!q->image.encrypted)
        return 0;
    if (q->info_only) {
        TRY(qcow2_luks_describe(q, &luks, err));
        qcow2_luks_free(luks);
        return 0;
    }
    if (q->header.crypt_method == QCOW2_CRYPT_LUKS && !q->extensions.has_crypto)
        return qimg_fail(err, EBADMSG, "Missing CRYPTO header for crypt method %u",
                         q->header.crypt_method);
    return qimg_fail(err, ENOTSUP, "Parameter 'encrypt.key-secret' is required for cipher");
}

static int check_data_file(const struct qcow2 *q, struct qimg_error *err)
{
    if (!q->info_only && !q->geometry.data_file &&
        q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW)
        return qimg_fail(err, EBADMSG, "data-file-raw requires a data file");
    return 0;
}

static int load_backing_name(struct qcow2 *q, const uint8_t *head, struct qimg_error *err)
{
    const struct qcow2_header *h = &q->header;
    const uint64_t room = qcow2_cluster_size(q) - h->backing_off;
    char name[LIMIT_BACKING_NAME + 1] = "";

    if (h->backing_off == 0)
        return 0;
    if (h->backing_len > min_u64(LIMIT_BACKING_NAME, room))
        return qimg_fail(err, EBADMSG, "Backing file name too long");
    if (h->backing_off + h->backing_len <= HEAD_BYTES) {
        memcpy(name, head + h->backing_off, h->backing_len);
    } else {
        const int rc = io_read_exact(q->image.file, h->backing_off, name, h->backing_len, NULL);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "Could not read backing file name");
    }
    if (name[0] == '\0')
        return 0;
    q->image.backing_name_end = h->backing_off + h->backing_len;
    q->image.backing_name = strdup(name);
    return q->image.backing_name ? 0 : qimg_fail_memory(err);
}

static int copy_extension_texts(struct qcow2 *q, struct qimg_error *err)
{
    const struct qcow2_extensions *e = &q->extensions;

    if (e->backing_format && e->backing_format[0]) {
        q->image.backing_format = strdup(e->backing_format);
        if (!q->image.backing_format)
            return qimg_fail_memory(err);
    }
    if (e->data_file) {
        q->image.data_file_name = strdup(e->data_file);
        if (!q->image.data_file_name)
            return qimg_fail_memory(err);
    }
    return 0;
}

/* Bitmaps that a program without them may have missed to update are ignored. */
static void warn_of_stale_bitmaps(struct qcow2 *q)
{
    if (!q->extensions.has_stale_bitmaps)
        return;
    q->image.warning =
        q->header.version < 3
            ? "This qcow2 v2 image contains bitmaps, but they may have been modified "
              "by a program without persistent bitmap support; so now they must all "
              "be considered inconsistent"
            : "a program lacking bitmap support modified this file, so all bitmaps "
              "are now considered inconsistent";
    q->image.remedy =
        "Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix.";
}

/* --- writable images -------------------------------------------------------------------------- */

/* Unknown autoclear features must be dropped before anything else is written: what they describe
 * would go stale unnoticed. */
static int clear_unknown_autoclear(struct qcow2 *q, struct qimg_error *err)
{
    const uint64_t kept = q->header.autoclear & QCOW2_AUTOCLEAR_KNOWN;
    uint8_t raw[8];

    if (!q->writable || kept == q->header.autoclear)
        return 0;
    store_be64(raw, kept);
    int rc = io_write_exact(q->image.file, QCOW2_AT_AUTOCLEAR, raw, sizeof(raw));
    if (rc == 0)
        rc = io_sync(q->image.file);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not update qcow2 header");
    q->header.autoclear = kept;
    return 0;
}

/* Counts of an image that was not closed cleanly may lie: they are put right before anything
 * trusts them. */
static int repair_dirty(struct qcow2 *q, const struct image_open_options *options,
                        struct qimg_error *err)
{
    if (!q->writable || q->checking || !(q->header.incompatible & QCOW2_INCOMPAT_DIRTY))
        return 0;
    TRY(qcow2_repair_dirty(q, options, err));
    qcow2_snapshots_release(&q->snapshots); /* their table may have been written anew */
    return qcow2_snapshots_load(q, err);
}

/* --- open ----------------------------------------------------------------------------------- */

/* What check reports and repair mends does not keep an image from being opened for it. */
static int check_header(const struct qcow2 *q, uint64_t file_size, struct qimg_error *err)
{
    struct qcow2_header h = q->header;

    if (q->checking) {
        h.incompatible &= ~QCOW2_INCOMPAT_CORRUPT;
        h.snapshots_off = h.snapshot_count = 0;
        if (h.reftable_clusters == 0 || h.reftable_off >= file_size) {
            if (is_aligned(h.reftable_off, UINT64_C(1) << h.cluster_bits))
                h.reftable_off = 0;
            h.reftable_clusters = (uint32_t)max_u64(h.reftable_clusters, 1);
        }
    }
    return qcow2_header_check(&h, q->writable, file_size, err);
}

static int load(struct qcow2 *q, const struct image_open_options *options, struct qimg_error *err)
{
    uint8_t head[HEAD_BYTES];
    struct reader area;
    struct io_stat st;

    int rc = io_stat(q->image.file, &st);
    if (rc == 0)
        rc = io_read_exact(q->image.file, 0, head, sizeof(head), NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read qcow2 header");
    TRY(qcow2_header_decode(head, sizeof(head), &q->header, err));
    TRY(load_unknown_header(q, err));
    TRY(load_area(q, head, &area, err));
    TRY(refuse_unknown_features(q, area, err));
    TRY(check_header(q, st.size, err));
    set_geometry(q, st.size);
    if (!q->info_only)
        TRY(qcow2_l1_load(q, q->header.l1_off, q->header.l1_count, err));
    TRY(qcow2_extensions_decode(&q->header, area, &q->extensions, err));
    warn_of_stale_bitmaps(q);
    q->image.fingerprint = q->extensions.fingerprint;
    q->image.fingerprint_len = q->extensions.fingerprint_len;
    TRY(check_data_file(q, err));
    TRY(check_encryption(q, err));
    TRY(copy_extension_texts(q, err));
    TRY(load_backing_name(q, head, err));
    if (!q->checking)
        TRY(qcow2_snapshots_load(q, err));
    TRY(qcow2_bitmaps_load(q, err));
    TRY(repair_dirty(q, options, err));
    return clear_unknown_autoclear(q, err);
}

int qcow2_reload(struct qcow2 *q, struct qimg_error *err)
{
    const struct image_open_options options = { .writable = q->writable };

    release_loaded(q);
    q->may_be_holes = -1;
    return load(q, &options, err);
}

static int qcow2_open(struct io_file *file, const struct image_open_options *options,
                      struct image **out, struct qimg_error *err)
{
    struct qcow2 *q = calloc(1, sizeof(*q));

    if (!q)
        return qimg_fail_memory(err);
    AUTO(cleanup_image) struct image *image = &q->image;
    image->ops = &qcow2_ops;
    image->file = file;
    q->writable = options->writable;
    file->pads_end =
        file->pads_end || options->writable; /* what lies behind clusters is nobody's */
    q->info_only = options->info_only;
    q->checking = options->check;
    q->may_be_holes = -1;
    const int rc = load(q, options, err);
    if (rc < 0) {
        image->file = NULL; /* stays the caller's */
        return rc;
    }
    *out = TAKE(image);
    return 0;
}

const struct format_ops qcow2_ops = {
    .name = "qcow2",
    .probe = qcow2_probe,
    .wants_data_file = qcow2_wants_data_file,
    .open = qcow2_open,
    .close = qcow2_close,
    .select_snapshot = qcow2_select_snapshot,
    .describe = qcow2_describe,
    .map_plan = qcow2_map_plan,
    .map_decode = qcow2_map_decode,
    .explain = qcow2_explain,
    .data_may_be_holes = qcow2_data_may_be_holes,
    .set_backing = qcow2_set_backing,
    .seal = qcow2_seal,
    .backing_fits = qcow2_backing_fits,
    .grown_size = qcow2_grown_size,
    .change_bitmaps = qcow2_change_bitmaps,
    .check = qcow2_check,
    .audit = qcow2_audit,
    .create = qcow2_create,
    .measure = qcow2_measure,
    .admin = &qcow2_admin_ops,
    .write = &qcow2_write_ops,
};

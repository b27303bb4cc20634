/* SPDX-License-Identifier: Apache-2.0
 *
 * A stranger's qcow2 header, field by field. Facts that can be read without believing the rest
 * come first, so that a header which is broken further on still tells them; then the image is
 * opened for its description, as check would, and its tables are walked (audit_tables.c).
 */
#include "audit_walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"

#define HUGE_DISK (UINT64_C(1) << 53) /* beyond, other programs count in doubles */

struct audit {
    struct io_file *file;
    const struct audit_request *request;
    struct audit_facts *facts;
    struct qcow2_header header;
    uint64_t file_size;
};

static void tell_error(const struct audit *a, const char *id, const struct qimg_error *err)
{
    audit_tell(a->request, id, NULL, "%s", err->text);
}

/* --- the header ----------------------------------------------------------------------------- */

static void audit_incompatible(const struct audit *a)
{
    static const struct {
        uint64_t bit;
        const char *id, *sentence;
    } known[] = {
        { QCOW2_INCOMPAT_DIRTY, "dirty", "it is marked dirty: it was not closed cleanly" },
        { QCOW2_INCOMPAT_CORRUPT, "marked-corrupt", "it is marked corrupt" },
        { QCOW2_INCOMPAT_EXTENDED_L2, "extended-l2", "it has extended L2 entries" },
    };
    const uint64_t unknown = a->header.incompatible & ~QCOW2_INCOMPAT_KNOWN;

    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (a->header.incompatible & known[i].bit)
            audit_tell(a->request, known[i].id, NULL, "%s", known[i].sentence);
    if (unknown)
        audit_tell(a->request, "unknown-features", NULL,
                   "it has unknown incompatible features: %#" PRIx64, unknown);
}

static void audit_features(const struct audit *a)
{
    const struct qcow2_header *h = &a->header;
    const uint64_t compatible = h->compatible & ~QCOW2_COMPAT_LAZY_REFCOUNTS;
    const uint64_t autoclear = h->autoclear & ~QCOW2_AUTOCLEAR_KNOWN;

    audit_incompatible(a);
    if (compatible || autoclear)
        audit_tell(a->request, "unknown-flags", NULL,
                   "it has unknown features that may be ignored: compatible %#" PRIx64
                   ", autoclear %#" PRIx64,
                   compatible, autoclear);
    if (h->compression_type == QCOW2_COMPRESSION_ZSTD)
        audit_tell(a->request, "zstd", NULL, "its clusters are compressed by zstd");
    if (h->crypt_method != QCOW2_CRYPT_NONE)
        audit_tell(a->request, "encrypted", NULL, "it is encrypted (method %u)", h->crypt_method);
}

static void audit_size(const struct audit *a)
{
    if (a->header.size == 0)
        audit_tell(a->request, "size-zero", NULL, "its disk has no bytes");
    if (a->header.size > HUGE_DISK)
        audit_tell(a->request, "size-huge", NULL, "its disk has %" PRIu64 " bytes, more than 2^53",
                   a->header.size);
}

/* --- names ---------------------------------------------------------------------------------- */

static void audit_name_bytes(const struct audit *a, const char *what, const uint8_t *name,
                             size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (name[i] >= 0x20 && name[i] != 0x7f)
            continue;
        audit_tell(a->request, "name-bytes", NULL,
                   "its %s has the control character %#x at byte %zu", what, name[i], i);
        return;
    }
}

static int audit_backing(const struct audit *a, struct qimg_error *err)
{
    const struct qcow2_header *h = &a->header;
    char name[LIMIT_BACKING_NAME + 1] = "";
    const size_t len = (size_t)min_u64(h->backing_len, LIMIT_BACKING_NAME);

    if (h->backing_off == 0)
        return 0;
    const int rc = io_read_exact(a->file, h->backing_off, name, len, NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read backing file name");
    audit_name_bytes(a, "backing file's name", (const uint8_t *)name, len);
    audit_tell(a->request, "backing-file", name, "it names a backing file, '%s'", name);
    return 0;
}

static void audit_data_file(const struct audit *a, const struct qcow2_extensions *extensions)
{
    const bool needed = a->header.incompatible & QCOW2_INCOMPAT_DATA_FILE;
    const char *name = extensions->data_file;

    if (name)
        audit_name_bytes(a, "data file's name", (const uint8_t *)name, strlen(name));
    for (size_t i = 0; i < extensions->list.count; i++)
        if (extensions->list.items[i].type == QCOW2_EXT_DATA_FILE && name &&
            extensions->list.items[i].len > strlen(name))
            audit_name_bytes(a, "data file's name", (const uint8_t *)"", 1);
    if (needed)
        audit_tell(a->request, "data-file", name,
                   name ? "it keeps its data in a file, '%s'" : "it keeps its data in a file%s",
                   name ? name : " that it does not name");
    else if (name)
        audit_tell(a->request, "data-file-unused", name,
                   "it names a data file, '%s', and is not marked as having one", name);
}

/* --- extensions ----------------------------------------------------------------------------- */

static bool is_known(uint32_t type)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
    case QCOW2_EXT_FEATURE_NAMES:
    case QCOW2_EXT_BITMAPS:
    case QCOW2_EXT_CRYPTO:
    case QCOW2_EXT_DATA_FILE:
    case QCOW2_EXT_FINGERPRINT:
        return true;
    default:
        return false;
    }
}

static void audit_list(const struct audit *a, const struct qcow2_extensions *extensions)
{
    uint32_t unknown = 0;
    size_t count = 0;

    for (size_t i = 0; i < extensions->list.count; i++) {
        if (is_known(extensions->list.items[i].type))
            continue;
        if (count++ == 0)
            unknown = extensions->list.items[i].type;
    }
    if (count)
        audit_tell(a->request, "unknown-extension", NULL,
                   "it has %zu unknown header extensions, the first of type %#" PRIx32, count,
                   unknown);
    if (extensions->has_bitmaps || extensions->has_stale_bitmaps)
        audit_tell(a->request, "bitmaps", NULL, "it has persistent bitmaps");
}

/* The area may be as large as a cluster: 2 MiB. */
static int audit_extensions(const struct audit *a, struct qimg_error *err)
{
    const struct qcow2_header *h = &a->header;
    const uint64_t begin = h->header_length,
                   end = h->backing_off ? h->backing_off : UINT64_C(1) << h->cluster_bits;
    const size_t len = begin < end ? (size_t)(end - begin) : 0;
    AUTO(qcow2_extensions_release) struct qcow2_extensions extensions = { 0 };
    struct qimg_error why;

    extensions.bytes = malloc(len ? len : 1);
    if (!extensions.bytes)
        return qimg_fail_memory(err);
    const int rc = io_read_exact(a->file, begin, extensions.bytes, len, NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read header extensions");
    if (qcow2_extensions_decode(h, reader_of(extensions.bytes, len), &extensions, &why) < 0) {
        if (why.code == ENOMEM)
            return qimg_fail_memory(err);
        tell_error(a, "extensions-corrupt", &why);
    }
    if (h->backing_off && !extensions.backing_format)
        audit_tell(a->request, "format-missing", NULL,
                   "it does not record the format of its backing file");
    audit_data_file(a, &extensions);
    audit_list(a, &extensions);
    return 0;
}

/* --- snapshots ------------------------------------------------------------------------------ */

static void audit_snapshots(const struct audit *a, const struct qcow2 *q)
{
    size_t with_state = 0;

    if (a->header.snapshot_count)
        audit_tell(a->request, "snapshots", NULL, "it has %" PRIu32 " internal snapshots",
                   a->header.snapshot_count);
    for (size_t i = 0; i < q->snapshots.count; i++)
        with_state += q->snapshots.items[i].vm_state_size > 0;
    if (with_state)
        audit_tell(a->request, "vm-state", NULL,
                   "%zu of its snapshots keep the state of a running machine", with_state);
}

/* --- all of it ------------------------------------------------------------------------------ */

static int audit_header(struct audit *a, struct qimg_error *err)
{
    uint8_t head[QCOW2_V3_HEADER_LENGTH];
    struct qimg_error why;
    size_t got;

    const int rc = io_read_exact(a->file, 0, head, sizeof(head), &got);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read qcow2 header");
    if (qcow2_header_decode(head, got, &a->header, &why) < 0) {
        tell_error(a, "header-corrupt", &why);
        return 0;
    }
    a->facts->virtual_size = a->header.size;
    if (a->file_size < a->header.header_length) {
        audit_tell(a->request, "header-corrupt", NULL,
                   "it ends within its header, after %" PRIu64 " bytes", a->file_size);
        return 0;
    }
    audit_features(a);
    audit_size(a);
    TRY(audit_backing(a, err));
    TRY(audit_extensions(a, err));
    return 1;
}

/* An image that is opened as for check may claim any number of them. */
static int load_snapshots(struct qcow2 *q, struct qimg_error *err)
{
    const struct qcow2_table_claim claim = qcow2_snapshots_claim(&q->header);

    TRY(qcow2_table_check(&claim, q->header.cluster_bits, err));
    return qcow2_snapshots_load(q, err);
}

/* Opened as for check, which tolerates what its own walk is to tell. */
static int audit_inside(const struct audit *a, struct qimg_error *err)
{
    const struct image_open_options how = { .info_only = true, .check = true };
    struct image *image;
    struct qimg_error why;

    if (a->header.incompatible & ~QCOW2_INCOMPAT_KNOWN)
        return 0; /* nothing behind may be believed */
    if (qcow2_ops.open(a->file, &how, &image, &why) < 0) {
        if (why.code == ENOMEM)
            return qimg_fail_memory(err);
        tell_error(a, "header-corrupt", &why);
        return 0;
    }
    struct qcow2 *q = qcow2_of(image);
    int rc = 0;
    if (load_snapshots(q, &why) < 0)
        tell_error(a, "snapshots-corrupt", &why);
    audit_snapshots(a, q);
    rc = qcow2_audit_tables(q, a->request, a->facts, err);
    image->file = NULL; /* the caller's */
    qcow2_ops.close(image);
    return rc;
}

int qcow2_audit(struct io_file *file, const struct audit_request *request,
                struct audit_facts *facts, struct qimg_error *err)
{
    struct audit a = { .file = file, .request = request, .facts = facts };
    struct io_stat st;

    const int rc = io_stat(file, &st);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not get image size");
    a.file_size = st.size;
    const int believed = audit_header(&a, err);
    return believed == 1 ? audit_inside(&a, err) : believed;
}

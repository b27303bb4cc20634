/* SPDX-License-Identifier: Apache-2.0
 *
 * Records another backing file, so that a crash at any moment leaves the old name or the new one.
 *
 * "Sector 0" is bytes 0..511, which a disk writes whole or not at all. It holds the header, and
 * the extensions as far as they change; so one write of it flips the name's place and length,
 * the format and the feature bits together:
 *
 *   (1) the new name is written where neither the old header, its extensions nor the old name
 *       lie, behind the new end marker and below byte 33,280 (libvirt reads no further); sync;
 *   (2) sector 0 is written; sync.
 *
 * A name that fits sector 0 beside the rest needs no (1). What was there before and is not needed
 * any more stays as it is: no reader looks behind the end marker but for the name.
 *
 * To fit sector 0, names of features are dropped from the end of their table (they only serve
 * error messages) where keeping them would move bytes of later sectors. All other extensions,
 * header fields that we do not know, and the order of both are kept. Autoclear bits that we do
 * not know are cleared in the same flip, as for any writer. Bitmaps stay valid: no guest data
 * changes.
 *
 * Cases in which one sector cannot hold the change, and the whole of header, extensions and name
 * is written at once (after (1), where there was room for that):
 *
 *   - extensions that we must keep (unknown ones, a long data file name, more than 400 bytes of
 *     unknown header) reach beyond byte 511, and the format's extension appears, disappears or
 *     changes its padded length, so that they move. A torn write leaves a header whose
 *     extensions are cut: opening it fails with "Header extension too large" or misses one.
 *   - clusters of 1 KiB and 2 KiB whose old and new names do not fit beside each other. A torn
 *     write leaves a name with a wrong tail, or the new place with old bytes: opening the chain
 *     fails, guest data is untouched, and repeating the command mends it.
 *   - clusters of 512 bytes are one sector, and always flip at once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "qcow2.h"

#define SECTOR        512
#define LIBVIRT_READS UINT64_C(33280)
#define ALL_FEATURES  UINT32_MAX

/* A rewrite of cluster 0, decided in memory before anything is written. */
struct rewrite {
    const struct qcow2 *q;
    const char *name, *format; /* NULL = none */
    size_t name_len;
    struct qcow2_extension_vec list;
    uint8_t *head; /* header, extensions, end marker */
    size_t head_len;
    uint64_t name_off; /* 0 = no name */
    bool staged;       /* (1): the name has a place of its own */
    bool flips;        /* (2): sector 0 says it all */
    struct qcow2_header header;
};

static void rewrite_release(struct rewrite *r)
{
    qcow2_extension_vec_release(&r->list);
    free(r->head);
}

/* --- what the head will say ----------------------------------------------------------------- */

static struct qcow2_extension format_extension(const char *format)
{
    return (struct qcow2_extension){ .type = QCOW2_EXT_BACKING_FORMAT,
                                     .len = (uint32_t)strlen(format),
                                     .data = (const uint8_t *)format };
}

/* The image's extensions with the new format where the old one stood (else in front), and at
 * most @names_len bytes of feature names. */
static int list_extensions(struct rewrite *r, uint32_t names_len)
{
    const struct qcow2_extension_vec *old = &r->q->extensions.list;
    bool placed = r->format == NULL;

    r->list.count = 0;
    for (size_t i = 0; i < old->count; i++)
        placed = placed || old->items[i].type == QCOW2_EXT_BACKING_FORMAT;
    if (!placed && qcow2_extension_vec_push(&r->list, format_extension(r->format)) < 0)
        return -ENOMEM;

    bool pending = placed && r->format;
    for (size_t i = 0; i < old->count; i++) {
        struct qcow2_extension e = old->items[i];
        if (e.type == QCOW2_EXT_BACKING_FORMAT) {
            if (!pending)
                continue;
            e = format_extension(r->format);
            pending = false;
        }
        if (e.type == QCOW2_EXT_FEATURE_NAMES && e.len > names_len)
            e.len = names_len;
        if (e.type == QCOW2_EXT_FEATURE_NAMES && e.len == 0)
            continue;
        if (qcow2_extension_vec_push(&r->list, e) < 0)
            return -ENOMEM;
    }
    r->head_len =
        r->q->header.header_length + qcow2_extensions_encoded_len(r->list.items, r->list.count);
    return 0;
}

/* Encodes r->head from r->header and r->list; at least a sector, zeros behind the end marker. */
static int encode_head(struct rewrite *r)
{
    const size_t room = r->head_len > SECTOR ? r->head_len : SECTOR;

    free(r->head);
    r->head = calloc(1, room);
    if (!r->head)
        return -ENOMEM;
    struct writer w = writer_of(r->head, room);
    TRY(qcow2_header_encode(&r->header, r->q->unknown_header, &w));
    return qcow2_extensions_encode(r->list.items, r->list.count, &w);
}

/* Would writing sector 0 alone do: does what lies behind it stay as it is in the file? */
static int tail_unchanged(const struct rewrite *r)
{
    if (r->head_len <= SECTOR)
        return 1;
    const size_t len = r->head_len - SECTOR;
    AUTO_FREE uint8_t *tail = malloc(len);
    if (!tail)
        return -ENOMEM;
    TRY(io_read_exact(r->q->image.file, SECTOR, tail, len, NULL));
    return memcmp(tail, r->head + SECTOR, len) == 0;
}

/* Settles the extensions: all feature names if that leaves later sectors alone, else as many as
 * fit sector 0, else (not a flip) all of them again. */
static int choose_extensions(struct rewrite *r)
{
    TRY(list_extensions(r, ALL_FEATURES));
    TRY(encode_head(r));
    int same = tail_unchanged(r);
    if (same < 0)
        return same;
    r->flips = same;

    uint32_t names_len =
        r->q->extensions.feature_names_len / QCOW2_FEATURE_NAME_BYTES * QCOW2_FEATURE_NAME_BYTES;
    while (!r->flips && names_len > 0) {
        names_len -= QCOW2_FEATURE_NAME_BYTES;
        TRY(list_extensions(r, names_len));
        r->flips = r->head_len <= SECTOR;
    }
    if (!r->flips)
        TRY(list_extensions(r, ALL_FEATURES));
    return 0;
}

/* --- where the name goes --------------------------------------------------------------------- */

static uint64_t old_head_end(const struct qcow2 *q)
{
    const struct qcow2_extension_vec *old = &q->extensions.list;

    return q->header.header_length + qcow2_extensions_encoded_len(old->items, old->count);
}

/* A place that touches nothing the old header speaks of. @limit: its end at most. */
static bool stage_name(struct rewrite *r, uint64_t limit)
{
    const struct qcow2_header *old = &r->q->header;
    const uint64_t old_end = old->backing_off ? old->backing_off + old->backing_len : 0;
    uint64_t at = max_u64(SECTOR, max_u64(r->head_len, old_head_end(r->q)));

    if (at < old_end && at + r->name_len > old->backing_off)
        at = old_end;
    if (at + r->name_len > limit)
        return false;
    r->name_off = at;
    r->staged = true;
    return true;
}

static int choose_place(struct rewrite *r)
{
    const uint64_t cluster = qcow2_cluster_size(r->q);

    if (r->head_len + r->name_len > cluster) {
        TRY(list_extensions(r, 0));
        r->flips = r->head_len <= SECTOR;
        if (r->head_len + r->name_len > cluster)
            return -ENOSPC;
    }
    if (r->name_len == 0)
        return 0;
    r->name_off = r->head_len;
    if (r->flips && r->head_len + r->name_len <= SECTOR)
        return 0;
    if (stage_name(r, min_u64(cluster, LIBVIRT_READS)) || stage_name(r, cluster))
        return 0;
    r->flips = false;
    return 0;
}

static int plan_rewrite(struct rewrite *r)
{
    r->header = r->q->header;
    if (r->header.version >= 3)
        r->header.autoclear &= QCOW2_AUTOCLEAR_KNOWN;
    TRY(choose_extensions(r));
    TRY(choose_place(r));
    r->header.backing_off = r->name_off;
    r->header.backing_len = (uint32_t)r->name_len;
    return encode_head(r);
}

/* --- writing --------------------------------------------------------------------------------- */

static int write_whole(const struct rewrite *r, struct io_file *file)
{
    const uint64_t name_end = r->staged ? 0 : r->name_off + r->name_len;
    const size_t len = (size_t)max_u64(SECTOR, max_u64(r->head_len, name_end));
    AUTO_FREE uint8_t *buf = calloc(1, len);

    if (!buf)
        return -ENOMEM;
    memcpy(buf, r->head, r->head_len);
    if (r->name_len && !r->staged)
        memcpy(buf + r->name_off, r->name, r->name_len);
    return io_write_exact(file, 0, buf, len);
}

static int write_flip(const struct rewrite *r, struct io_file *file)
{
    uint8_t sector[SECTOR];

    memcpy(sector, r->head, SECTOR);
    if (r->name_len && !r->staged)
        memcpy(sector + r->name_off, r->name, r->name_len);
    return io_write_exact(file, 0, sector, SECTOR);
}

static int write_out(const struct rewrite *r, struct io_file *file)
{
    if (r->staged) {
        TRY(io_write_exact(file, r->name_off, r->name, r->name_len));
        TRY(io_sync(file)); /* (1) before (2): sector 0 must never point at a name not there */
    }
    TRY(r->flips ? write_flip(r, file) : write_whole(r, file));
    return io_sync(file);
}

/* --- the open image afterwards ---------------------------------------------------------------- */

struct after {
    struct qcow2_extensions extensions;
    char *name, *format;
};

static void after_release(struct after *a)
{
    qcow2_extensions_release(&a->extensions);
    free(a->name);
    free(a->format);
}

static int copy_text(char **slot, const char *text)
{
    *slot = text ? strdup(text) : NULL;
    return text && !*slot ? -ENOMEM : 0;
}

/* What the image will know of itself, read back from what is about to be written. */
static int prepare_after(const struct rewrite *r, struct after *a, struct qimg_error *err)
{
    const size_t begin = r->header.header_length, len = r->head_len - begin;

    if (copy_text(&a->name, r->name) < 0 || copy_text(&a->format, r->format) < 0)
        return qimg_fail_memory(err);
    a->extensions.bytes = malloc(len);
    if (!a->extensions.bytes)
        return qimg_fail_memory(err);
    memcpy(a->extensions.bytes, r->head + begin, len);
    return qcow2_extensions_decode(&r->header, reader_of(a->extensions.bytes, len), &a->extensions,
                                   err);
}

static void adopt(struct qcow2 *q, const struct rewrite *r, struct after *a)
{
    qcow2_extensions_release(&q->extensions);
    free(q->image.backing_name);
    free(q->image.backing_format);
    q->header = r->header;
    q->extensions = a->extensions;
    q->image.backing_name = TAKE(a->name);
    q->image.backing_format = TAKE(a->format);
    a->extensions = (struct qcow2_extensions){ 0 };
}

static int check_request(const struct qcow2 *q, const char *name, const char *format)
{
    assert(q->writable);
    if (name && (q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
        return -EINVAL; /* the data file alone must tell the whole truth */
    if (name && strlen(name) > LIMIT_BACKING_NAME)
        return -EINVAL;
    if (format && strlen(format) > LIMIT_BACKING_FORMAT)
        return -EINVAL;
    return 0;
}

int qcow2_set_backing(struct image *image, const char *name, const char *format,
                      struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    AUTO(rewrite_release)
    struct rewrite r = {
        .q = q,
        .name = name && *name ? name : NULL,
        .format = name && *name ? format : NULL,
        .name_len = name ? strlen(name) : 0,
    };
    AUTO(after_release) struct after after = { 0 };

    int rc = check_request(q, r.name, r.format);
    if (rc == 0)
        rc = plan_rewrite(&r);
    if (rc < 0)
        return qimg_fail(err, -rc, "%s", strerror(-rc));
    TRY(prepare_after(&r, &after, err));
    rc = write_out(&r, image->file);
    if (rc < 0)
        return qimg_fail(err, -rc, "%s", strerror(-rc));
    adopt(q, &r, &after);
    return 0;
}

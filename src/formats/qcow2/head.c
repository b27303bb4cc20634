/* SPDX-License-Identifier: Apache-2.0
 *
 * Where header, extensions and backing name go when one of them changes; see head.h for the use.
 *
 * To fit sector 0, names of features are dropped from the end of their table (they only serve
 * error messages) where keeping them would move bytes of later sectors. A bitmaps extension
 * without its autoclear bit describes nothing any more and goes, and so do the names where the
 * image becomes version 2, which has no features. All other extensions, header fields that we do
 * not know, and the order of both are kept. Autoclear bits that we do not know are cleared, as by
 * any writer.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "head.h"

#define SECTOR        QCOW2_SECTOR
#define LIBVIRT_READS UINT64_C(33280) /* of a file's beginning; names beyond are not seen */
#define ALL_FEATURES  UINT32_MAX

void qcow2_head_release(struct qcow2_head *head)
{
    qcow2_extension_vec_release(&head->list);
    qcow2_extensions_release(&head->after);
    free(head->bytes);
    free(head->after_name);
    free(head->after_format);
}

/* --- what the head will say ----------------------------------------------------------------- */

void qcow2_bitmaps_ext_encode(const struct qcow2_bitmaps_ext *ext,
                              uint8_t out[QCOW2_EXT_BITMAPS_BYTES])
{
    struct writer w = writer_of(out, QCOW2_EXT_BITMAPS_BYTES);

    write_be32(&w, ext->count);
    write_be32(&w, 0);
    write_be64(&w, ext->directory_len);
    write_be64(&w, ext->directory_off);
    assert(!w.overrun && w.left == 0);
}

/* What stands for an extension of @type in the new head: itself, another one, or none. */
enum fate { KEEP, REPLACE, DROP };

static enum fate fate_of(const struct qcow2_head *head, uint32_t type)
{
    if (type == QCOW2_EXT_BACKING_FORMAT && head->set_backing)
        return head->format ? REPLACE : DROP;
    if (type == QCOW2_EXT_DATA_FILE && head->set_data_file)
        return head->data_file ? REPLACE : DROP;
    if (type == QCOW2_EXT_FINGERPRINT && head->set_fingerprint)
        return head->fingerprint ? REPLACE : DROP;
    if (type == QCOW2_EXT_BITMAPS && head->set_bitmaps)
        return head->bitmaps.count ? REPLACE : DROP;
    if (type == QCOW2_EXT_BITMAPS && !head->q->extensions.has_bitmaps)
        return DROP;
    if (type == QCOW2_EXT_FEATURE_NAMES && head->header.version < 3 && head->q->header.version >= 3)
        return DROP;
    return KEEP;
}

static struct qcow2_extension replacement(const struct qcow2_head *head, uint32_t type)
{
    struct qcow2_extension e = { .type = type };

    if (type == QCOW2_EXT_BACKING_FORMAT) {
        e.len = (uint32_t)strlen(head->format);
        e.data = (const uint8_t *)head->format;
    } else if (type == QCOW2_EXT_DATA_FILE) {
        e.len = (uint32_t)strlen(head->data_file);
        e.data = (const uint8_t *)head->data_file;
    } else if (type == QCOW2_EXT_FINGERPRINT) {
        e.len = head->fingerprint_len;
        e.data = head->fingerprint;
    } else {
        e.len = sizeof(head->bitmaps_data);
        e.data = head->bitmaps_data;
    }
    return e;
}

static bool has_type(const struct qcow2_extension_vec *list, uint32_t type)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].type == type)
            return true;
    return false;
}

static int push_if_new(struct qcow2_head *head, uint32_t type)
{
    if (fate_of(head, type) != REPLACE || has_type(&head->list, type))
        return 0;
    return qcow2_extension_vec_push(&head->list, replacement(head, type));
}

static bool becomes_v3(const struct qcow2_head *head)
{
    return head->header.version >= 3 && head->q->header.version < 3;
}

/* An image that comes to have features gets their names, behind the format. */
static int push_names_if_new(struct qcow2_head *head, uint32_t names_len)
{
    struct qcow2_extension names = { .type = QCOW2_EXT_FEATURE_NAMES };

    if (!becomes_v3(head) || has_type(&head->q->extensions.list, names.type) ||
        has_type(&head->list, names.type))
        return 0;
    names.data = qcow2_feature_names(&names.len);
    names.len = (uint32_t)min_u64(names.len, names_len);
    return names.len ? qcow2_extension_vec_push(&head->list, names) : 0;
}

/* The image's extensions with the new ones where old ones stood (else the format in front, the
 * bitmaps at the end), and at most @names_len bytes of feature names. */
static int list_extensions(struct qcow2_head *head, uint32_t names_len)
{
    const struct qcow2_extension_vec *old = &head->q->extensions.list;

    head->list.count = 0;
    if (!has_type(old, QCOW2_EXT_BACKING_FORMAT))
        TRY(push_if_new(head, QCOW2_EXT_BACKING_FORMAT));
    for (size_t i = 0; i < old->count; i++) {
        struct qcow2_extension e = old->items[i];
        const enum fate fate = fate_of(head, e.type);
        if (e.type != QCOW2_EXT_BACKING_FORMAT)
            TRY(push_names_if_new(head, names_len));
        if (fate == REPLACE)
            TRY(push_if_new(head, e.type));
        if (fate != KEEP)
            continue;
        if (e.type == QCOW2_EXT_FEATURE_NAMES && e.len > names_len)
            e.len = names_len;
        if (e.type == QCOW2_EXT_FEATURE_NAMES && e.len == 0)
            continue;
        TRY(qcow2_extension_vec_push(&head->list, e));
    }
    TRY(push_names_if_new(head, names_len));
    TRY(push_if_new(head, QCOW2_EXT_DATA_FILE));
    TRY(push_if_new(head, QCOW2_EXT_BITMAPS));
    TRY(push_if_new(head, QCOW2_EXT_FINGERPRINT));
    head->len = head->header.header_length +
                qcow2_extensions_encoded_len(head->list.items, head->list.count);
    return 0;
}

/* Encodes head->bytes from header and list; zeros behind the end marker. */
static int encode(struct qcow2_head *head)
{
    const size_t room = head->len > SECTOR ? head->len : SECTOR;

    free(head->bytes);
    head->bytes = calloc(1, room);
    if (!head->bytes)
        return -ENOMEM;
    struct writer w = writer_of(head->bytes, room);
    TRY(qcow2_header_encode(&head->header, head->q->unknown_header, &w));
    return qcow2_extensions_encode(head->list.items, head->list.count, &w);
}

/* Would writing sector 0 alone do: does what lies behind it stay as it is in the file? */
static int tail_unchanged(const struct qcow2_head *head)
{
    if (head->len <= SECTOR)
        return 1;
    const size_t len = head->len - SECTOR;
    AUTO_FREE uint8_t *tail = malloc(len);
    if (!tail)
        return -ENOMEM;
    TRY(io_read_exact(head->q->image.file, SECTOR, tail, len, NULL));
    return memcmp(tail, head->bytes + SECTOR, len) == 0;
}

/* Settles the extensions: all feature names if that leaves later sectors alone, else as many as
 * fit sector 0, else (not a flip) all of them again. */
static int choose_extensions(struct qcow2_head *head)
{
    TRY(list_extensions(head, ALL_FEATURES));
    TRY(encode(head));
    const int same = tail_unchanged(head);
    if (same < 0)
        return same;
    head->flips = same;

    uint32_t names_len = head->q->extensions.feature_names_len;
    if (becomes_v3(head) && names_len == 0)
        (void)qcow2_feature_names(&names_len);
    names_len = names_len / QCOW2_FEATURE_NAME_BYTES * QCOW2_FEATURE_NAME_BYTES;
    while (!head->flips && names_len > 0) {
        names_len -= QCOW2_FEATURE_NAME_BYTES;
        TRY(list_extensions(head, names_len));
        head->flips = head->len <= SECTOR;
    }
    if (!head->flips)
        TRY(list_extensions(head, ALL_FEATURES));
    return 0;
}

/* --- where the name goes --------------------------------------------------------------------- */

static uint64_t old_head_end(const struct qcow2 *q)
{
    const struct qcow2_extension_vec *old = &q->extensions.list;

    return q->header.header_length + qcow2_extensions_encoded_len(old->items, old->count);
}

/* A place that touches nothing the old header speaks of. @limit: its end at most. */
static bool stage_name(struct qcow2_head *head, uint64_t limit)
{
    const struct qcow2_header *old = &head->q->header;
    const uint64_t old_end = old->backing_off ? old->backing_off + old->backing_len : 0;
    uint64_t at = max_u64(SECTOR, max_u64(head->len, old_head_end(head->q)));

    if (at < old_end && at + head->name_len > old->backing_off)
        at = old_end;
    if (at + head->name_len > limit)
        return false;
    head->name_off = at;
    head->staged = true;
    return true;
}

static int choose_place(struct qcow2_head *head)
{
    const struct qcow2_header *old = &head->q->header;
    const uint64_t cluster = qcow2_cluster_size(head->q);

    if (!head->set_backing && old->backing_off >= head->len) {
        head->name_off = old->backing_off;
        head->kept = true;
        return 0;
    }
    if (head->len + head->name_len > cluster) {
        TRY(list_extensions(head, 0));
        head->flips = head->len <= SECTOR;
        if (head->len + head->name_len > cluster)
            return -ENOSPC;
    }
    if (head->name_len == 0)
        return 0;
    head->name_off = head->len;
    if (head->flips && head->len + head->name_len <= SECTOR)
        return 0;
    if (stage_name(head, min_u64(cluster, LIBVIRT_READS)) || stage_name(head, cluster))
        return 0;
    head->flips = false;
    return 0;
}

/* --- the open image afterwards ---------------------------------------------------------------- */

static int copy_text(char **slot, const char *text)
{
    *slot = text ? strdup(text) : NULL;
    return text && !*slot ? -ENOMEM : 0;
}

/* What the image will know of itself, read back from what is about to be written. */
static int prepare_after(struct qcow2_head *head)
{
    const size_t begin = head->header.header_length, len = head->len - begin;
    struct qimg_error ignored;

    TRY(copy_text(&head->after_name, head->name));
    if (head->set_backing)
        TRY(copy_text(&head->after_format, head->format));
    head->after.bytes = malloc(len);
    if (!head->after.bytes)
        return -ENOMEM;
    memcpy(head->after.bytes, head->bytes + begin, len);
    return qcow2_extensions_decode(&head->header, reader_of(head->after.bytes, len), &head->after,
                                   &ignored);
}

int qcow2_head_plan(struct qcow2_head *head)
{
    if (!head->set_backing)
        head->name = head->q->image.backing_name;
    head->name_len = head->name ? strlen(head->name) : 0;
    if (head->header.version >= 3)
        head->header.autoclear &= QCOW2_AUTOCLEAR_KNOWN;
    qcow2_bitmaps_ext_encode(&head->bitmaps, head->bitmaps_data);
    TRY(choose_extensions(head));
    TRY(choose_place(head));
    if (!head->kept) {
        head->header.backing_off = head->name_off;
        head->header.backing_len = (uint32_t)head->name_len;
    }
    TRY(encode(head));
    return prepare_after(head);
}

void qcow2_head_adopt(struct qcow2_head *head, struct qcow2 *q)
{
    assert(head->q == q);
    qcow2_extensions_release(&q->extensions);
    q->header = head->header;
    q->extensions = head->after;
    head->after = (struct qcow2_extensions){ 0 };
    q->image.fingerprint = q->extensions.fingerprint;
    q->image.fingerprint_len = q->extensions.fingerprint_len;
    if (!head->set_backing)
        return;
    free(q->image.backing_name);
    free(q->image.backing_format);
    q->image.backing_name = TAKE(head->after_name);
    q->image.backing_format = TAKE(head->after_format);
}

/* --- writing --------------------------------------------------------------------------------- */

int qcow2_head_stage(const struct qcow2_head *head)
{
    if (!head->staged)
        return 0;
    TRY(io_write_exact(head->q->image.file, head->name_off, head->name, head->name_len));
    return io_sync(head->q->image.file); /* sector 0 must never point at a name not there */
}

void qcow2_head_sector(const struct qcow2_head *head, uint8_t sector[QCOW2_SECTOR])
{
    memcpy(sector, head->bytes, SECTOR);
    if (head->name_len && !head->staged && head->name_off < SECTOR)
        memcpy(sector + head->name_off, head->name,
               min_u64(head->name_len, SECTOR - head->name_off));
}

static int write_whole(const struct qcow2_head *head)
{
    const uint64_t name_end = head->staged ? 0 : head->name_off + head->name_len;
    const size_t len = (size_t)max_u64(SECTOR, max_u64(head->len, name_end));
    AUTO_FREE uint8_t *buf = calloc(1, len);

    if (!buf)
        return -ENOMEM;
    memcpy(buf, head->bytes, head->len);
    if (head->name_len && !head->staged)
        memcpy(buf + head->name_off, head->name, head->name_len);
    return io_write_exact(head->q->image.file, 0, buf, len);
}

int qcow2_head_write(const struct qcow2_head *head)
{
    struct io_file *file = head->q->image.file;
    uint8_t sector[SECTOR];

    assert(head->q->writable);
    TRY(qcow2_head_stage(head)); /* (1) */
    if (head->flips) {
        qcow2_head_sector(head, sector);
        TRY(io_write_exact(file, 0, sector, sizeof(sector))); /* (2) */
    } else {
        TRY(write_whole(head));
    }
    return io_sync(file);
}

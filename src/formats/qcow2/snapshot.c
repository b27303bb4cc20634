/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal snapshots: the table (layout in disk.h), and switching an open image to one of them.
 *
 * The header tells only the number of entries, each as long as its strings, so the table is read
 * through a window. What lies past the end of the file reads as zeros: 65,536 entries out of a
 * small file are so many empty snapshots, as QEMU sees them too, and cost little.
 */
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "qcow2.h"

#define WINDOW_BYTES (64 * KiB)

struct window {
    struct io_file *file;
    uint8_t *bytes; /* owned */
    size_t room;
    struct qimg_range at; /* what bytes holds */
};

static void cleanup_window(struct window *w)
{
    free(w->bytes);
}

/* The bytes @want of the file, valid until the next call. */
static int window_get(struct window *w, struct qimg_range want, const uint8_t **out)
{
    if (want.off < w->at.off || want.off + want.len > w->at.off + w->at.len) {
        const size_t len = max_u64(want.len, WINDOW_BYTES);
        if (len > w->room) {
            uint8_t *bytes = realloc(w->bytes, len);
            if (!bytes)
                return -ENOMEM;
            w->bytes = bytes;
            w->room = len;
        }
        w->at = (struct qimg_range){ want.off, 0 };
        TRY(io_read_exact(w->file, want.off, w->bytes, len, NULL));
        w->at.len = len;
    }
    *out = w->bytes + (want.off - w->at.off);
    return 0;
}

/* What the fixed part of an entry says about the rest of it. */
struct entry_shape {
    uint32_t id_len, name_len, extra_len;
};

static struct entry_shape decode_fixed(const uint8_t *raw, struct qcow2_snapshot *out)
{
    struct reader r = reader_of(raw, QCOW2_SNAPSHOT_BYTES);
    struct entry_shape shape;

    out->l1_off = read_be64(&r);
    out->l1_count = read_be32(&r);
    shape.id_len = read_be16(&r);
    shape.name_len = read_be16(&r);
    out->date_sec = read_be32(&r);
    out->date_nsec = read_be32(&r);
    out->vm_clock_nsec = read_be64(&r);
    out->vm_state_size = read_be32(&r);
    shape.extra_len = read_be32(&r);
    return shape;
}

static void decode_extra(const uint8_t *extra, uint32_t len, struct qcow2_snapshot *out)
{
    if (len >= QCOW2_SNAPSHOT_VM_STATE)
        out->vm_state_size = load_be64(extra);
    if (len >= QCOW2_SNAPSHOT_DISK_SIZE)
        out->disk_size = load_be64(extra + 8);
    if (len >= QCOW2_SNAPSHOT_ICOUNT)
        out->icount = load_be64(extra + 16);
}

static int copy_texts(const uint8_t *id, struct entry_shape shape, struct qcow2_snapshot *out)
{
    out->id = out->name = "";
    if (shape.id_len == 0 && shape.name_len == 0)
        return 0;
    char *text = malloc((size_t)shape.id_len + shape.name_len + 2);
    if (!text)
        return -ENOMEM;
    memcpy(text, id, shape.id_len);
    text[shape.id_len] = '\0';
    memcpy(text + shape.id_len + 1, id + shape.id_len, shape.name_len);
    text[shape.id_len + 1 + shape.name_len] = '\0';
    out->text = text;
    out->id = text;
    out->name = text + shape.id_len + 1;
    return 0;
}

static int read_failed(int rc, struct qimg_error *err)
{
    return qimg_fail_errno(err, -rc, "Failed to read snapshot table");
}

/* Entry @index at *@off; moves *@off behind it. */
static int load_entry(struct qcow2 *q, struct window *w, uint32_t index, uint64_t *off,
                      struct qimg_error *err)
{
    struct qcow2_snapshot s = { .disk_size = q->image.size, .icount = UINT64_MAX };
    const uint8_t *raw;

    int rc = window_get(w, (struct qimg_range){ *off, QCOW2_SNAPSHOT_BYTES }, &raw);
    if (rc < 0)
        return read_failed(rc, err);
    const struct entry_shape shape = decode_fixed(raw, &s);
    if (shape.extra_len > LIMIT_QCOW2_SNAPSHOT_EXTRA) {
        qimg_fail(err, EBADMSG, "Too much extra metadata in snapshot table entry %u", index);
        return qimg_hint(err, "You can force-remove this extra metadata with qemu-img check -r "
                              "all");
    }
    const uint64_t rest = (uint64_t)shape.extra_len + shape.id_len + shape.name_len;
    rc = window_get(w, (struct qimg_range){ *off + QCOW2_SNAPSHOT_BYTES, rest }, &raw);
    if (rc < 0)
        return read_failed(rc, err);
    decode_extra(raw, shape.extra_len, &s);
    if (copy_texts(raw + shape.extra_len, shape, &s) < 0)
        return qimg_fail_memory(err);
    if (qcow2_snapshot_vec_push(&q->snapshots, s) < 0) {
        free(s.text);
        return qimg_fail_memory(err);
    }
    *off += QCOW2_SNAPSHOT_BYTES + rest;
    return 0;
}

int qcow2_snapshots_load(struct qcow2 *q, struct qimg_error *err)
{
    const uint64_t start = q->header.snapshots_off;
    const uint32_t count = q->header.snapshot_count;
    AUTO(cleanup_window) struct window w = { .file = q->image.file };
    uint64_t off = start;

    for (uint32_t i = 0; i < count; i++) {
        off = align_up(off, 8);
        TRY(load_entry(q, &w, i, &off, err));
        if (off - start > LIMIT_QCOW2_SNAPSHOT_BYTES || off > INT64_MAX) {
            qimg_fail(err, EFBIG, "Snapshot table is too big");
            return qimg_hint(err,
                             "You can force-remove all %u overhanging snapshots with qemu-img "
                             "check -r all",
                             count - i);
        }
    }
    q->snapshots_len = off - start;
    return 0;
}

void qcow2_snapshots_release(struct qcow2_snapshot_vec *snapshots)
{
    for (size_t i = 0; i < snapshots->count; i++)
        free(snapshots->items[i].text);
    qcow2_snapshot_vec_release(snapshots);
}

/* The first whose id is @id and whose name is @name; NULL stands for any. */
static const struct qcow2_snapshot *find(const struct qcow2 *q, const char *id, const char *name)
{
    for (size_t i = 0; i < q->snapshots.count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots.items[i];
        if ((!id || strcmp(s->id, id) == 0) && (!name || strcmp(s->name, name) == 0))
            return s;
    }
    return NULL;
}

int qcow2_snapshot_l1_check(const struct qcow2 *q, const struct qcow2_snapshot *s,
                            struct qimg_error *err)
{
    const struct qcow2_table_claim claim = { "Snapshot L1 table", s->l1_off, s->l1_count,
                                             QCOW2_L1_ENTRY_BYTES, LIMIT_QCOW2_L1_BYTES };

    return qcow2_table_check(&claim, q->header.cluster_bits, err);
}

int qcow2_select_snapshot(struct image *image, const char *id, const char *name,
                          struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    const struct qcow2_snapshot *s = id || name ? find(q, id, name) : NULL;

    if (!s)
        return qimg_fail(err, ENOENT, "Can't find snapshot");
    const struct qimg_range table = { s->l1_off, (uint64_t)s->l1_count * QCOW2_L1_ENTRY_BYTES };
    TRY(qcow2_snapshot_l1_check(q, s, err));
    TRY(qcow2_table_begins_inside("Snapshot L1 table", table, q->geometry.file_size, err));
    return qcow2_l1_load(q, s->l1_off, s->l1_count, err);
}

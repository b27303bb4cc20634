/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot table as check sees it: read with tolerance, and written anew where entries are
 * incomplete or carry too much (layout in disk.h).
 */
#include <stdlib.h>

#include "base_limits.h"
#include "check.h"
#include "cleanup.h"

#define EXTRA_NEEDED 16 /* version 3 demands both sizes */
#define EXTRA_KNOWN  24 /* what we write */

void check_snapshots_release(struct check_snapshot_vec *snapshots)
{
    for (size_t i = 0; i < snapshots->count; i++)
        free(snapshots->items[i].entry);
    check_snapshot_vec_release(snapshots);
}

static void decode_extra(struct check_snapshot *s)
{
    const uint8_t *extra = s->entry + QCOW2_SNAPSHOT_BYTES;

    if (s->extra_len >= QCOW2_SNAPSHOT_VM_STATE)
        s->vm_state_size = load_be64(extra);
    if (s->extra_len >= QCOW2_SNAPSHOT_DISK_SIZE)
        s->disk_size = load_be64(extra + 8);
}

/* The entry at @off: its texts lie behind all of its extra data, of which we keep a part. */
static int read_rest(struct check *c, uint64_t off, struct check_snapshot *s, const uint8_t *fixed)
{
    const size_t texts = (size_t)s->id_len + s->name_len;
    AUTO_FREE uint8_t *entry = malloc(QCOW2_SNAPSHOT_BYTES + s->kept_extra + texts);

    if (!entry)
        return -ENOMEM;
    memcpy(entry, fixed, QCOW2_SNAPSHOT_BYTES);
    TRY(io_read_exact(c->q->image.file, off + QCOW2_SNAPSHOT_BYTES, entry + QCOW2_SNAPSHOT_BYTES,
                      s->kept_extra, NULL));
    TRY(io_read_exact(c->q->image.file, off + QCOW2_SNAPSHOT_BYTES + s->extra_len,
                      entry + QCOW2_SNAPSHOT_BYTES + s->kept_extra, texts, NULL));
    s->entry = TAKE(entry);
    return 0;
}

static void decode_fixed(const uint8_t *fixed, struct check_snapshot *s)
{
    struct reader r = reader_of(fixed, QCOW2_SNAPSHOT_BYTES);

    s->l1_off = read_be64(&r);
    s->l1_count = read_be32(&r);
    s->id_len = read_be16(&r);
    s->name_len = read_be16(&r);
    (void)read_bytes(&r, 16); /* date and clock */
    s->vm_state_size = read_be32(&r);
    s->extra_len = read_be32(&r);
    s->kept_extra = (uint32_t)min_u64(s->extra_len, LIMIT_QCOW2_SNAPSHOT_EXTRA);
}

/* Returns the length of the entry in the file, or a negative errno with @err filled. */
static int64_t read_entry(struct check *c, uint32_t index, uint64_t off, struct check_snapshot *out,
                          struct qimg_error *err)
{
    uint8_t fixed[QCOW2_SNAPSHOT_BYTES];
    struct check_snapshot s = { .disk_size = c->q->image.size };
    int rc = io_read_exact(c->q->image.file, off, fixed, sizeof(fixed), NULL);

    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Failed to read snapshot table");
    decode_fixed(fixed, &s);
    if (s.extra_len > LIMIT_QCOW2_SNAPSHOT_EXTRA) {
        if (!c->fix_errors) {
            qimg_fail(err, EFBIG, "Too much extra metadata in snapshot table entry %u", index);
            return qimg_hint(err, "You can force-remove this extra metadata with qemu-img check -r "
                                  "all");
        }
        REPORT(c, SNAPSHOT_EXTRA, AT(off), true, index, s.extra_len,
               (unsigned)LIMIT_QCOW2_SNAPSHOT_EXTRA);
        c->res->corruptions++;
    }
    rc = read_rest(c, off, &s, fixed);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Failed to read snapshot table");
    decode_extra(&s);
    *out = s;
    return (int64_t)QCOW2_SNAPSHOT_BYTES + s.extra_len + s.id_len + s.name_len;
}

static int too_big(struct check *c, uint32_t index, struct qimg_error *err)
{
    const uint32_t over = c->snapshot_count - index;

    if (!c->fix_errors) {
        qimg_fail(err, EFBIG, "Snapshot table is too big");
        return qimg_hint(err,
                         "You can force-remove all %u overhanging snapshots with qemu-img check "
                         "-r all",
                         over);
    }
    REPORT(c, SNAPSHOTS_TOO_BIG, AT(c->snapshots_off), true, over);
    c->snapshots_cut += over;
    c->snapshot_count = index;
    return 0;
}

static int read_entries(struct check *c, struct qimg_error *err)
{
    uint64_t off = c->snapshots_off, kept = 0;

    for (uint32_t i = 0; i < c->snapshot_count; i++) {
        struct check_snapshot s = { 0 };
        const uint64_t begin = align_up(off, 8);
        const int64_t len = read_entry(c, i, begin, &s, err);
        if (len < 0)
            return (int)len;
        kept = align_up(kept, 8) + QCOW2_SNAPSHOT_BYTES + s.kept_extra + s.id_len + s.name_len;
        if (kept > LIMIT_QCOW2_SNAPSHOT_BYTES ||
            begin + (uint64_t)len - c->snapshots_off > INT32_MAX) {
            free(s.entry);
            TRY(too_big(c, i, err));
            break;
        }
        if (check_snapshot_vec_push(&c->snapshots, s) < 0) {
            free(s.entry);
            return qimg_fail_memory(err);
        }
        off = begin + (uint64_t)len;
    }
    c->snapshots_len = off - c->snapshots_off;
    return 0;
}

static int not_read(struct check *c, int rc)
{
    check_snapshots_release(&c->snapshots);
    c->snapshots_off = c->snapshots_len = 0;
    c->snapshot_count = 0;
    c->res->check_errors++;
    return rc;
}

static int check_place(struct check *c, struct qimg_error *err)
{
    const struct qcow2_table_claim claim = { "Snapshot table", c->snapshots_off, c->snapshot_count,
                                             QCOW2_SNAPSHOT_BYTES,
                                             (uint64_t)QCOW2_SNAPSHOT_BYTES *
                                                 LIMIT_QCOW2_SNAPSHOTS };
    const int rc = qcow2_table_check(&claim, c->q->header.cluster_bits, err);

    if (rc == 0)
        return 0;
    /* QEMU begins this name with a small letter here, and with a capital at opening. */
    err->text[0] = 's';
    REPORT(c, SNAPSHOT_TABLE, AT(QCOW2_AT_SNAPSHOTS), false, err->text);
    if (c->snapshot_count > LIMIT_QCOW2_SNAPSHOTS)
        REPORT(c, SNAPSHOTS_FORCE, NOWHERE, false, c->snapshot_count - LIMIT_QCOW2_SNAPSHOTS);
    return not_read(c, rc == -EBADMSG ? -EINVAL : rc); /* as QEMU calls it */
}

static int write_shorter_count(struct check *c)
{
    uint8_t raw[4];

    store_be32(raw, c->snapshot_count);
    TRY(repair_header(c, QCOW2_AT_SNAPSHOTS, raw, sizeof(raw)));
    c->q->header.snapshot_count = c->snapshot_count;
    c->res->corruptions_fixed += c->snapshots_cut;
    return 0;
}

int check_read_snapshots(struct check *c)
{
    struct qimg_error err;

    qimg_error_clear(&err);
    c->snapshots_off = c->q->header.snapshots_off;
    c->snapshot_count = c->q->header.snapshot_count;
    if (c->snapshot_count > LIMIT_QCOW2_SNAPSHOTS && c->fix_errors) {
        c->snapshots_cut = c->snapshot_count - LIMIT_QCOW2_SNAPSHOTS;
        REPORT(c, SNAPSHOTS_TOO_MANY, AT(QCOW2_AT_SNAPSHOTS), true, c->snapshots_cut);
        c->snapshot_count = LIMIT_QCOW2_SNAPSHOTS;
    }
    TRY(check_place(c, &err));
    const int rc = c->snapshot_count ? read_entries(c, &err) : 0;
    if (rc < 0) {
        REPORT(c, SNAPSHOT_READ, AT(c->snapshots_off), false, err.text);
        if (err.hint[0])
            REPORT(c, SNAPSHOT_HINT, NOWHERE, false, err.hint);
        return not_read(c, rc);
    }
    if (c->snapshots_cut)
        TRY(write_shorter_count(c));
    for (uint32_t i = 0; c->q->header.version >= 3 && i < c->snapshots.count; i++)
        if (c->snapshots.items[i].extra_len < EXTRA_NEEDED) {
            c->res->corruptions++;
            REPORT(c, SNAPSHOT_INCOMPLETE, AT(c->snapshots_off), c->fix_errors,
                   check_verb(c->fix_errors), i);
        }
    return 0;
}

/* --- writing -------------------------------------------------------------------------------- */

static uint64_t encoded_len(const struct check_snapshot *s)
{
    return (uint64_t)QCOW2_SNAPSHOT_BYTES + max_u64(s->kept_extra, EXTRA_KNOWN) + s->id_len +
           s->name_len;
}

static void encode(const struct check_snapshot *s, struct writer *w)
{
    const uint32_t extra_len = (uint32_t)max_u64(s->kept_extra, EXTRA_KNOWN);
    const uint8_t *extra = s->entry + QCOW2_SNAPSHOT_BYTES;

    write_bytes(w, s->entry, QCOW2_SNAPSHOT_BYTES - 4);
    write_be32(w, extra_len);
    write_be64(w, s->vm_state_size);
    write_be64(w, s->disk_size);
    if (s->kept_extra >= EXTRA_KNOWN)
        write_bytes(w, extra + 16, s->kept_extra - 16);
    else
        write_be64(w, UINT64_MAX); /* no icount was recorded */
    write_bytes(w, extra + s->kept_extra, (size_t)s->id_len + s->name_len);
}

int check_encode_snapshots(const struct check *c, uint8_t **out, uint64_t *len)
{
    uint64_t total = 0;

    for (size_t i = 0; i < c->snapshots.count; i++)
        total = align_up(total, 8) + encoded_len(&c->snapshots.items[i]);
    uint8_t *table = malloc(total ? total : 1);
    if (!table)
        return -ENOMEM;
    struct writer w = writer_of(table, total);
    for (size_t i = 0; i < c->snapshots.count; i++) {
        const uint64_t used = total - w.left;
        write_zeros(&w, align_up(used, 8) - used);
        encode(&c->snapshots.items[i], &w);
    }
    *out = table;
    *len = total;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * See snapshot_table.h.
 */
#include "snapshot_table.h"

#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"

struct lengths {
    uint32_t id, name, extra;
};

static struct lengths lengths_at(const uint8_t *entry)
{
    return (struct lengths){ .id = load_be16(entry + QCOW2_SNAPSHOT_AT_ID_LEN),
                             .name = load_be16(entry + QCOW2_SNAPSHOT_AT_NAME_LEN),
                             .extra = load_be32(entry + QCOW2_SNAPSHOT_AT_EXTRA_LEN) };
}

static uint64_t entry_len(struct lengths l)
{
    return QCOW2_SNAPSHOT_BYTES + (uint64_t)l.extra + l.id + l.name;
}

/* --- reading -------------------------------------------------------------------------------- */

/* Bytes of the table at @off, as many as are there; the table's length is known only at its end. */
static int read_more(const struct qcow2 *q, struct snapshot_table *t, size_t *have, uint64_t need)
{
    if (need <= *have)
        return 0;
    const size_t len = max_u64(need, *have * 2);
    uint8_t *raw = realloc(t->raw, len);
    if (!raw)
        return -ENOMEM;
    t->raw = raw;
    TRY(io_read_exact(q->image.file, q->header.snapshots_off + *have, raw + *have, len - *have,
                      NULL));
    *have = len;
    return 0;
}

int snapshot_table_load(const struct qcow2 *q, struct snapshot_table *out)
{
    const size_t count = q->header.snapshot_count;
    size_t have = 0;
    uint64_t at = 0;

    *out = (struct snapshot_table){ .count = count };
    out->offsets = calloc(count + 1, sizeof(*out->offsets));
    if (!out->offsets)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        at = align_up(at, 8);
        TRY(read_more(q, out, &have, at + QCOW2_SNAPSHOT_BYTES));
        const struct lengths l = lengths_at(out->raw + at);
        if (l.extra > LIMIT_QCOW2_SNAPSHOT_EXTRA)
            return -EFBIG;
        TRY(read_more(q, out, &have, at + entry_len(l)));
        out->offsets[i] = at;
        at += entry_len(l);
    }
    out->len = at;
    return 0;
}

void snapshot_table_release(struct snapshot_table *t)
{
    free(t->raw);
    free(t->offsets);
    *t = (struct snapshot_table){ 0 };
}

/* --- writing -------------------------------------------------------------------------------- */

static void put_entry(struct writer *w, const struct qcow2_snapshot *s, struct reader more)
{
    const size_t id_len = strlen(s->id), name_len = strlen(s->name);

    write_be64(w, s->l1_off);
    write_be32(w, s->l1_count);
    write_be16(w, (uint16_t)id_len);
    write_be16(w, (uint16_t)name_len);
    write_be32(w, s->date_sec);
    write_be32(w, s->date_nsec);
    write_be64(w, s->vm_clock_nsec);
    write_be32(w, s->vm_state_size > UINT32_MAX ? 0 : (uint32_t)s->vm_state_size);
    write_be32(w, QCOW2_SNAPSHOT_ICOUNT + (uint32_t)more.left);
    write_be64(w, s->vm_state_size);
    write_be64(w, s->disk_size);
    write_be64(w, s->icount);
    write_bytes(w, more.at, more.left);
    write_bytes(w, s->id, id_len);
    write_bytes(w, s->name, name_len);
    const size_t len = QCOW2_SNAPSHOT_BYTES + QCOW2_SNAPSHOT_ICOUNT + more.left + id_len + name_len;
    write_zeros(w, align_up(len, 8) - len);
}

/* An entry as it stands, completed. Ids and names are copied byte by byte, NULs and all. */
static void put_old_entry(struct writer *w, const uint8_t *entry, const struct qcow2_snapshot *s,
                          uint64_t l1_off)
{
    const struct lengths l = lengths_at(entry);
    const uint32_t more = l.extra > QCOW2_SNAPSHOT_ICOUNT ? l.extra - QCOW2_SNAPSHOT_ICOUNT : 0;
    const uint8_t *extra = entry + QCOW2_SNAPSHOT_BYTES;

    write_be64(w, l1_off);
    write_bytes(w, entry + 8, QCOW2_SNAPSHOT_AT_EXTRA_LEN - 8); /* all between the two */
    write_be32(w, QCOW2_SNAPSHOT_ICOUNT + more);
    write_be64(w, s->vm_state_size);
    write_be64(w, s->disk_size);
    write_be64(w, s->icount);
    write_bytes(w, extra + l.extra - more, more + l.id + l.name);
    const size_t len = QCOW2_SNAPSHOT_BYTES + QCOW2_SNAPSHOT_ICOUNT + more + l.id + l.name;
    write_zeros(w, align_up(len, 8) - len);
}

/* Enough for every entry, completed and padded. */
static size_t room_for(const struct snapshot_table *t, const struct snapshot_edit *edit)
{
    size_t room = t->len + t->count * (QCOW2_SNAPSHOT_ICOUNT + 8);

    if (edit->add)
        room += QCOW2_SNAPSHOT_BYTES + QCOW2_SNAPSHOT_ICOUNT + strlen(edit->add->id) +
                strlen(edit->add->name) + 8;
    return room;
}

int snapshot_table_encode(const struct qcow2 *q, const struct snapshot_table *t,
                          const struct snapshot_edit *edit, uint8_t **out, size_t *len)
{
    const size_t room = room_for(t, edit);
    AUTO_FREE uint8_t *raw = malloc(room + 1);

    if (!raw)
        return -ENOMEM;
    struct writer w = writer_of(raw, room);
    for (size_t i = 0; i < t->count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots.items[i];
        if (i != edit->without)
            put_old_entry(&w, t->raw + t->offsets[i], s,
                          edit->l1_offs ? edit->l1_offs[i] : s->l1_off);
    }
    if (edit->add)
        put_entry(&w, edit->add, reader_of(NULL, 0));
    *len = room - w.left;
    if (w.overrun || *len > LIMIT_QCOW2_SNAPSHOT_BYTES)
        return -EFBIG;
    *out = TAKE(raw);
    return 0;
}

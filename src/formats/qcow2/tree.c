/* SPDX-License-Identifier: Apache-2.0
 *
 * See tree.h.
 */
#include "tree.h"

#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"

#define SECTOR_WORDS (QCOW2_SECTOR / QCOW2_L1_ENTRY_BYTES)

/* --- L1 ------------------------------------------------------------------------------------- */

int tree_l1_load(const struct qcow2 *q, uint64_t off, uint64_t count, struct tree_l1 *out)
{
    const size_t len = count * QCOW2_L1_ENTRY_BYTES;
    uint64_t *words = malloc(len + 1);

    *out = (struct tree_l1){ .words = words, .count = count, .off = off };
    if (!words)
        return -ENOMEM;
    if (len)
        TRY(io_read_exact(q->image.file, off, words, len, NULL));
    for (uint64_t i = 0; i < count; i++)
        words[i] = load_be64(&words[i]);
    return 0;
}

int tree_l1_load_snapshot(const struct qcow2 *q, const struct qcow2_snapshot *s,
                          struct tree_l1 *out)
{
    const uint64_t len = (uint64_t)s->l1_count * QCOW2_L1_ENTRY_BYTES;
    const struct qimg_range table = { s->l1_off, len };

    if (len > LIMIT_QCOW2_L1_BYTES)
        return -EFBIG;
    if (!is_aligned(s->l1_off, qcow2_cluster_size(q)))
        return -EINVAL;
    if (len && (!range_within(table, INT64_MAX) || s->l1_off >= q->geometry.file_size))
        return -EIO;
    return tree_l1_load(q, s->l1_off, s->l1_count, out);
}

void tree_l1_release(struct tree_l1 *l1)
{
    free(l1->words);
    l1->words = NULL;
}

int tree_l1_put(struct shadow *s, const uint64_t *words, uint64_t count, uint64_t *host_off)
{
    const uint64_t len = count * QCOW2_L1_ENTRY_BYTES;

    *host_off = 0;
    if (count == 0)
        return 0;
    TRY(shadow_alloc(s, div_up(len, qcow2_cluster_size(s->q)), host_off));
    for (uint64_t i = 0; i < count; i += SECTOR_WORDS) {
        uint8_t raw[QCOW2_SECTOR] = { 0 };
        for (uint64_t k = 0; k < min_u64(count - i, SECTOR_WORDS); k++)
            store_be64(raw + QCOW2_L1_ENTRY_BYTES * k, words[i + k]);
        TRY(shadow_put(s, *host_off + QCOW2_L1_ENTRY_BYTES * i, raw, sizeof(raw)));
    }
    return 0;
}

int tree_l1_replace(struct shadow *s, const uint64_t *words, uint64_t count)
{
    const struct qcow2_header *old = &s->q->header;

    TRY(tree_l1_put(s, words, count, &s->header.l1_off));
    s->header.l1_count = (uint32_t)count;
    return shadow_unref(
        s, (struct qimg_range){ old->l1_off, (uint64_t)old->l1_count * QCOW2_L1_ENTRY_BYTES });
}

int tree_l2_of(const struct qcow2 *q, uint64_t word, uint64_t *l2_off)
{
    switch (qcow2_l1_decode(word, &q->geometry, l2_off)) {
    case QCOW2_L1_ABSENT:
        return 0;
    case QCOW2_L1_TABLE:
        return 1;
    case QCOW2_L1_UNALIGNED:
    case QCOW2_L1_PAST_END:
        break;
    }
    return -EUCLEAN;
}

int tree_l2_read(struct shadow *s, uint64_t l2_off, uint8_t *l2)
{
    const struct qimg_range table = { l2_off, qcow2_cluster_size(s->q) };

    if (blanks_have(&s->blanks, s->q->image.file, table))
        return 0;
    TRY(io_read_exact(s->q->image.file, l2_off, l2, table.len, NULL));
    if (bytes_are_zero(l2, table.len))
        blanks_note(&s->blanks, table);
    return 1;
}

/* --- entries -------------------------------------------------------------------------------- */

struct tree_part tree_all(const struct qcow2 *q)
{
    return (struct tree_part){ 0, UINT64_C(1) << q->geometry.l2_bits };
}

struct qcow2_l2_entry tree_entry_get(const struct qcow2 *q, const uint8_t *l2, uint64_t index)
{
    const uint8_t *raw = l2 + (index << q->geometry.entry_bits);

    return (struct qcow2_l2_entry){ load_be64(raw),
                                    q->geometry.extended_l2 ? load_be64(raw + 8) : 0 };
}

static void entry_set(const struct qcow2 *q, uint8_t *l2, uint64_t index, struct qcow2_l2_entry e)
{
    uint8_t *raw = l2 + (index << q->geometry.entry_bits);

    store_be64(raw, e.word);
    if (q->geometry.extended_l2)
        store_be64(raw + 8, e.bitmap);
}

int tree_entry_range(const struct qcow2 *q, struct qcow2_l2_entry e, struct qimg_range *out)
{
    const uint64_t off = e.word & QCOW2_OFFSET_MASK;

    *out = (struct qimg_range){ 0, 0 };
    if (e.word & QCOW2_COMPRESSED) {
        if (q->geometry.data_file)
            return -EUCLEAN;
        *out = qcow2_packed_range(e.word, q->geometry.cluster_bits);
        return 0;
    }
    if (off == 0 || q->geometry.data_file)
        return 0;
    if (!is_aligned(off, qcow2_cluster_size(q)))
        return -EUCLEAN;
    *out = (struct qimg_range){ off, qcow2_cluster_size(q) };
    return 0;
}

/* Neighbouring clusters are counted in one go. */
static int change_refs(struct shadow *s, const uint8_t *l2, struct tree_part part, uint64_t times,
                       int (*change)(struct shadow *, struct qimg_range, uint64_t))
{
    struct qimg_range run = { 0, 0 };

    for (uint64_t i = part.first; i < part.end; i++) {
        const struct qcow2_l2_entry e = tree_entry_get(s->q, l2, i);
        struct qimg_range bytes;
        if (e.word == 0)
            continue;
        TRY(tree_entry_range(s->q, e, &bytes));
        if (bytes.len == 0)
            continue;
        if (!(e.word & QCOW2_COMPRESSED) && run.len && range_end(run) == bytes.off) {
            run.len += bytes.len;
            continue;
        }
        TRY(change(s, run, times));
        run = bytes;
        if (e.word & QCOW2_COMPRESSED) {
            TRY(change(s, run, times));
            run.len = 0;
        }
    }
    return change(s, run, times);
}

int tree_ref(struct shadow *s, const uint8_t *l2, struct tree_part part, uint64_t times)
{
    return change_refs(s, l2, part, times, shadow_ref_times);
}

int tree_unref(struct shadow *s, const uint8_t *l2, struct tree_part part, uint64_t times)
{
    return change_refs(s, l2, part, times, shadow_unref_times);
}

/* --- COPIED --------------------------------------------------------------------------------- */

bool tree_clear_copied(const struct qcow2 *q, uint8_t *l2)
{
    const size_t step = (size_t)1 << q->geometry.entry_bits, len = qcow2_cluster_size(q);
    uint8_t any = 0;

    for (size_t i = 0; i < len; i += step) {
        any |= l2[i];
        l2[i] &= 0x7f;
    }
    return any & 0x80;
}

int tree_fix_copied(struct shadow *s, uint8_t *l2)
{
    const struct tree_part all = tree_all(s->q);
    int changed = 0;

    if (s->q->geometry.data_file)
        return 0; /* always set there, and not about counts */
    for (uint64_t i = all.first; i < all.end; i++) {
        struct qcow2_l2_entry e = tree_entry_get(s->q, l2, i);
        struct qimg_range bytes;
        uint64_t count = 0;
        if (e.word == 0 || e.word & QCOW2_COMPRESSED)
            continue;
        TRY(tree_entry_range(s->q, e, &bytes));
        if (bytes.len)
            TRY(shadow_count(s, bytes.off, &count));
        if (bytes.len && count == 0)
            return -EBADMSG;
        const uint64_t word = (e.word & ~QCOW2_COPIED) | (count == 1 ? QCOW2_COPIED : 0);
        changed |= word != e.word;
        e.word = word;
        entry_set(s->q, l2, i, e);
    }
    return changed;
}

/* --- editing -------------------------------------------------------------------------------- */

int tree_edit_begin(struct tree_edit *e, struct shadow *s, struct tree_l1 *l1)
{
    *e = (struct tree_edit){ .s = s, .l1 = l1 };
    e->l2 = malloc(qcow2_cluster_size(s->q));
    return e->l2 ? 0 : -ENOMEM;
}

void tree_edit_release(struct tree_edit *e)
{
    free(e->l2);
    e->l2 = NULL;
}

int tree_edit_store(struct tree_edit *e)
{
    const uint64_t cluster = qcow2_cluster_size(e->s->q);
    uint64_t place;

    if (!e->in_hand || !e->changed)
        return 0;
    e->in_hand = false;
    e->l1_changed = true;
    if (e->off)
        TRY(shadow_unref(e->s, (struct qimg_range){ e->off, cluster }));
    e->l1->words[e->index] = 0;
    if (bytes_are_zero(e->l2, cluster))
        return 0;
    TRY(shadow_alloc(e->s, 1, &place));
    e->l1->words[e->index] = place | QCOW2_COPIED;
    return shadow_put(e->s, place, e->l2, cluster);
}

int tree_edit_table(struct tree_edit *e, uint64_t index)
{
    const struct qcow2 *q = e->s->q;

    if (e->in_hand && e->index == index)
        return 0;
    TRY(tree_edit_store(e));
    e->off = 0;
    int full = tree_l2_of(q, e->l1->words[index], &e->off);
    if (full > 0)
        full = tree_l2_read(e->s, e->off, e->l2);
    TRY(full);
    if (!full)
        memset(e->l2, 0, qcow2_cluster_size(q));
    e->index = index;
    e->in_hand = true;
    e->changed = false;
    return 0;
}

int tree_edit_at(struct tree_edit *e, uint64_t guest_off, uint64_t *entry)
{
    const struct qcow2_geometry *g = &e->s->q->geometry;

    *entry = guest_off >> g->cluster_bits & ((UINT64_C(1) << g->l2_bits) - 1);
    return tree_edit_table(e, guest_off >> qcow2_l2_coverage_bits(g));
}

void tree_edit_put(struct tree_edit *e, uint64_t entry, struct qcow2_l2_entry word)
{
    entry_set(e->s->q, e->l2, entry, word);
    e->changed = true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * L1 and L2 tables of an image that is being written: looked up through cached pages, made where
 * there are none, copied where a snapshot shares them, and a longer L1.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "meta_internal.h"

static uint64_t l1_index_of(const struct qcow2 *q, uint64_t guest_off)
{
    return guest_off >> qcow2_l2_coverage_bits(&q->geometry);
}

static uint64_t entry_off(const struct qcow2 *q, uint64_t l2_off, uint64_t guest_off)
{
    const struct qcow2_geometry *g = &q->geometry;
    const uint64_t index = guest_off >> g->cluster_bits & ((UINT64_C(1) << g->l2_bits) - 1);

    return l2_off + (index << g->entry_bits);
}

/* Where the table for @guest_off lies; 0: there is none. */
static int table_find(struct qcow2 *q, uint64_t guest_off, uint64_t *l2_off)
{
    const uint64_t index = l1_index_of(q, guest_off);
    char why[120];

    *l2_off = 0;
    if (index >= q->l1_loaded)
        return 0;
    switch (qcow2_l1_decode(q->l1[index], &q->geometry, l2_off)) {
    case QCOW2_L1_ABSENT:
    case QCOW2_L1_TABLE:
        return 0;
    case QCOW2_L1_UNALIGNED:
        snprintf(why, sizeof(why),
                 "L2 table offset %#" PRIx64 " unaligned (L1 index: %#" PRIx64 ")", *l2_off, index);
        return meta_mark_corrupt(q, why);
    case QCOW2_L1_PAST_END:
        break;
    }
    return -EIO;
}

int l2_entry_get(struct qcow2 *q, uint64_t guest_off, struct qcow2_l2_entry *out)
{
    const uint8_t *raw;
    uint64_t l2_off;

    *out = (struct qcow2_l2_entry){ 0 };
    TRY(table_find(q, guest_off, &l2_off));
    if (l2_off == 0)
        return 0;
    TRY(meta_read_page(q, entry_off(q, l2_off, guest_off), &raw));
    out->word = load_be64(raw);
    if (q->geometry.extended_l2)
        out->bitmap = load_be64(raw + 8);
    return 0;
}

/* --- L1 ------------------------------------------------------------------------------------- */

static int l1_entry_set(struct qcow2 *q, uint64_t index, uint64_t word)
{
    uint8_t *entry;

    TRY(meta_edit_page(q, q->header.l1_off + index * QCOW2_L1_ENTRY_BYTES, META_LINKS, META_KIND_L1,
                       &entry));
    store_be64(entry, word);
    q->l1[index] = word;
    return 0;
}

/* The new table's bytes, at a place of its own. */
static int l1_write_copy(struct qcow2 *q, const uint64_t *l1, uint64_t count, uint64_t off)
{
    const uint64_t len = align_up(count * QCOW2_L1_ENTRY_BYTES, qcow2_cluster_size(q));
    AUTO_FREE uint8_t *raw = io_buffer_new(len);

    if (!raw)
        return -ENOMEM;
    memset(raw, 0, len);
    for (uint64_t i = 0; i < count; i++)
        store_be64(raw + QCOW2_L1_ENTRY_BYTES * i, l1[i]);
    TRY(overlap_note(q, (struct qimg_range){ off, len }, META_KIND_L1));
    return meta_new_bytes(q, off, raw, len);
}

int l1_grow(struct qcow2 *q, uint64_t count)
{
    const uint64_t cs = qcow2_cluster_size(q);
    const uint64_t old_len = align_up((uint64_t)q->header.l1_count * QCOW2_L1_ENTRY_BYTES, cs);
    const uint64_t clusters = div_up(count * QCOW2_L1_ENTRY_BYTES, cs);
    uint64_t off;

    if (count <= q->header.l1_count)
        return 0;
    if (count > LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES)
        return -EFBIG;
    uint64_t *l1 = reallocarray(q->l1, count, sizeof(*l1));
    if (!l1)
        return -ENOMEM;
    memset(l1 + q->l1_loaded, 0, (count - q->l1_loaded) * sizeof(*l1));
    q->l1 = l1;
    TRY(clusters_alloc(q, clusters, &off));
    int rc = l1_write_copy(q, l1, count, off);
    if (rc == 0)
        rc = clusters_unref(q, (struct qimg_range){ q->header.l1_off, old_len }, META_KIND_L1,
                            RELEASE_KEEP);
    if (rc < 0) {
        clusters_cancel(q, (struct qimg_range){ off, clusters * cs });
        return rc;
    }
    q->header.l1_off = q->l1_off = off;
    q->header.l1_count = q->l1_loaded = (uint32_t)count;
    header_changed(q);
    return 0;
}

/* --- L2 ------------------------------------------------------------------------------------- */

/* A table full of zeros. */
static int table_new(struct qcow2 *q, uint64_t *l2_off)
{
    TRY(clusters_alloc(q, 1, l2_off));
    return alloc_clear(q, *l2_off, qcow2_cluster_size(q), clusters_fresh(q, *l2_off));
}

static int table_copy(struct qcow2 *q, uint64_t from, uint64_t *l2_off)
{
    const uint64_t cs = qcow2_cluster_size(q);
    AUTO_FREE uint8_t *raw = io_buffer_new(cs);

    if (!raw)
        return -ENOMEM;
    TRY(meta_read_bytes(q, from, raw, cs));
    TRY(clusters_alloc(q, 1, l2_off));
    return meta_new_bytes(q, *l2_off, raw, cs);
}

/* Hooks the new table in; the old one (0: none) loses a reference. */
static int table_link(struct qcow2 *q, uint64_t index, uint64_t l2_off, uint64_t old)
{
    const struct qimg_range table = { l2_off, qcow2_cluster_size(q) };

    TRY(overlap_note(q, table, META_KIND_L2));
    TRY(l1_entry_set(q, index, l2_off | QCOW2_COPIED));
    if (old)
        TRY(clusters_unref(q, (struct qimg_range){ old, table.len }, META_KIND_L2, RELEASE_KEEP));
    return 0;
}

int l2_table_prepare(struct qcow2 *q, uint64_t guest_off)
{
    const uint64_t index = l1_index_of(q, guest_off);
    uint64_t old, l2_off = 0;

    TRY(meta_failed(q));
    if (index >= q->header.l1_count)
        TRY(l1_grow(q, max_u64(index + 1, q->header.l1_count + q->header.l1_count / 2)));
    TRY(table_find(q, guest_off, &old));
    if (old != 0 && q->l1[index] & QCOW2_COPIED)
        return 0;
    int rc = old ? table_copy(q, old, &l2_off) : table_new(q, &l2_off);
    if (rc == 0)
        rc = table_link(q, index, l2_off, old);
    if (rc < 0 && l2_off && q->l1[index] != (l2_off | QCOW2_COPIED))
        clusters_cancel(q, (struct qimg_range){ l2_off, qcow2_cluster_size(q) });
    return rc;
}

int l2_entry_set(struct qcow2 *q, uint64_t guest_off, struct qcow2_l2_entry entry)
{
    uint64_t l2_off;
    uint8_t *raw;

    TRY(l2_table_prepare(q, guest_off));
    TRY(table_find(q, guest_off, &l2_off));
    TRY(meta_edit_page(q, entry_off(q, l2_off, guest_off), META_LINKS, META_KIND_L2, &raw));
    store_be64(raw, entry.word);
    if (q->geometry.extended_l2)
        store_be64(raw + 8, entry.bitmap);
    return 0;
}

int l2_entry_unref(struct qcow2 *q, struct qcow2_l2_entry entry, enum release how)
{
    const uint64_t off = entry.word & QCOW2_OFFSET_MASK;
    struct qimg_range clusters = { off, qcow2_cluster_size(q) };

    if (q->geometry.data_file)
        return 0; /* not counted */
    if (entry.word & QCOW2_COMPRESSED)
        clusters = clusters_of(q, qcow2_packed_range(entry.word, q->geometry.cluster_bits));
    else if (off == 0 || !is_aligned(off, qcow2_cluster_size(q)))
        return 0;
    const int rc = clusters_unref(q, clusters, 0, how);
    return rc == -ENOMEM ? 0 : rc;
}

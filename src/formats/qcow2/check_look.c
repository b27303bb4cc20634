/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at everything that the header leads to, once, however many share it: L1 tables of
 * snapshots and tables of bitmaps are cut into pieces that count as often as they are covered, and
 * L2 tables are visited in the order of the file, after all links to them are known. What lies in
 * holes of the file is zeros, and is not read.
 */
#include <stdlib.h>

#include "base_limits.h"
#include "check.h"
#include "checked.h"
#include "cleanup.h"

/* --- tables of words ------------------------------------------------------------------------ */

static int note_unread(struct check *c, void *arg, struct qimg_range bytes, int rc)
{
    (void)arg;
    c->heard++;
    if (c->unread.len == 0) {
        c->unread = bytes;
        c->unread_rc = rc;
    }
    return 0;
}

/* Tables that may share bytes. */
struct tables {
    struct range_vec words;    /* all of them */
    struct range_vec clusters; /* whole ones; of those that lie within the file */
};

static void cleanup_tables(struct tables *t)
{
    range_vec_release(&t->words);
    range_vec_release(&t->clusters);
}

static int add_table(struct check *c, struct tables *t, struct qimg_range table)
{
    const uint64_t size = qcow2_cluster_size(c->q), first = align_down(table.off, size);

    if (table.len == 0)
        return 0;
    if (check_is_past_end(c, table))
        c->heard++;
    else
        TRY(range_vec_push(
            &t->clusters,
            (struct qimg_range){ first, align_up(table.off + table.len, size) - first }));
    return range_within(table, INT64_MAX) ? range_vec_push(&t->words, table) : 0;
}

static int look_at_clusters(struct check *c, const struct range_vec *clusters)
{
    AUTO(piece_vec_release) struct piece_vec pieces = { 0 };

    TRY(pieces_cut(clusters, &pieces));
    for (size_t i = 0; i < pieces.count; i++) {
        const struct piece *p = &pieces.items[i];
        c->weight = p->covers;
        TRY(check_refer_clusters(c, check_cluster_of(c, p->bytes.off),
                                 p->bytes.len >> c->q->header.cluster_bits, NOWHERE));
    }
    return 0;
}

static int look_at_words(struct check *c, const struct range_vec *words,
                         const struct word_walk *walk)
{
    AUTO(piece_vec_release) struct piece_vec pieces = { 0 };

    TRY(pieces_cut(words, &pieces));
    for (size_t i = 0; i < pieces.count; i++) {
        c->weight = pieces.items[i].covers;
        TRY(check_each_word(c, pieces.items[i].bytes, walk));
    }
    return 0;
}

static int look_at_tables(struct check *c, const struct tables *t, const struct word_walk *walk)
{
    TRY(look_at_clusters(c, &t->clusters));
    TRY(look_at_words(c, &t->words, walk));
    c->weight = 1;
    return 0;
}

/* --- L1 ------------------------------------------------------------------------------------- */

/* Does the table at @off, which is new to the census, read as zeros without being read? */
static bool is_in_hole(struct check *c, uint64_t off)
{
    struct io_extent *known = &c->holes[(off >> 26) % CHECK_HOLES];

    if (off >= c->file_size)
        return true;
    const uint64_t len = min_u64(qcow2_cluster_size(c->q), c->file_size - off);
    if (off < known->off || off - known->off >= known->len)
        if (io_extents(c->q->image.file, off, known) < 0)
            *known = (struct io_extent){ .data = true };
    return !known->data && len <= known->off + known->len - off;
}

static int look_at_l1_word(struct check *c, void *arg, uint64_t at, uint64_t word)
{
    const struct qimg_range table = { word & QCOW2_OFFSET_MASK, qcow2_cluster_size(c->q) };

    (void)arg;
    (void)at;
    c->heard += word & CHECK_L1_RESERVED || !is_aligned(table.off, table.len);
    if (c->active && table.off)
        c->suspects += (counts_get(&c->disk, check_cluster_of(c, table.off)) == 1) !=
                       ((word & QCOW2_COPIED) != 0);
    TRY(check_refer(c, table, NOWHERE));
    if (!census_find(&c->census, table.off) && is_in_hole(c, table.off))
        return 0;
    return census_add(&c->census, table.off, c->weight, c->active);
}

bool check_walks_snapshot(const struct check *c, const struct check_snapshot *s)
{
    return is_aligned(s->l1_off, qcow2_cluster_size(c->q)) &&
           s->l1_count <= LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES;
}

static int add_snapshots(struct check *c, struct tables *t)
{
    for (size_t i = 0; i < c->snapshots.count; i++) {
        const struct check_snapshot *s = &c->snapshots.items[i];
        if (!check_walks_snapshot(c, s))
            c->heard++;
        else
            TRY(add_table(
                c, t,
                (struct qimg_range){ s->l1_off, (uint64_t)s->l1_count * QCOW2_L1_ENTRY_BYTES }));
    }
    return 0;
}

static const struct word_walk l1_words = { look_at_l1_word, note_unread, NULL };

static int look_at_l1(struct check *c, const struct tables *active, const struct tables *snapshots)
{
    c->active = 1;
    TRY(look_at_tables(c, active, &l1_words));
    c->active = 0;
    return look_at_tables(c, snapshots, &l1_words);
}

/* --- bitmaps -------------------------------------------------------------------------------- */

static int look_at_bitmap_word(struct check *c, void *arg, uint64_t at, uint64_t word)
{
    const struct qimg_range bits = { word & QCOW2_OFFSET_MASK, qcow2_cluster_size(c->q) };

    (void)arg;
    (void)at;
    if (!check_bitmap_word_is_sound(c, word)) {
        c->heard++;
        return 0;
    }
    return bits.off ? check_refer(c, bits, NOWHERE) : 0;
}

static int look_at_bitmaps(struct check *c)
{
    const struct word_walk words = { look_at_bitmap_word, note_unread, NULL };
    const struct qcow2_bitmaps_ext *ext = &c->q->extensions.bitmaps;
    AUTO(cleanup_tables) struct tables tables = { 0 };
    const uint64_t heard = c->heard;

    if (!c->q->extensions.has_bitmaps)
        return 0;
    TRY(check_refer(c, (struct qimg_range){ ext->directory_off, ext->directory_len }, NOWHERE));
    for (size_t i = 0; i < c->q->bitmaps.count; i++) {
        const struct qcow2_bitmap *b = &c->q->bitmaps.items[i];
        TRY(add_table(c, &tables,
                      (struct qimg_range){ b->table_off, (uint64_t)b->table_count * 8 }));
    }
    TRY(look_at_tables(c, &tables, &words));
    c->loud_bitmaps = c->heard != heard;
    return 0;
}

/* --- L2 ------------------------------------------------------------------------------------- */

static uint64_t wants_all(struct check *c, uint64_t l2_off)
{
    (void)c;
    (void)l2_off;
    return 1;
}

static int look_at_l2(struct check *c, struct walked_table *table)
{
    struct census_table *known = &c->census.tables[table->l1_index];
    const uint64_t heard = c->heard;

    c->weight = known->links;
    c->active = known->active;
    TRY(check_l2_table(c, table));
    known->loud = c->heard != heard;
    return 0;
}

static int l2_unread(struct check *c, const struct walked_table *table, int rc)
{
    struct census_table *known = &c->census.tables[table->l1_index];

    known->loud = true;
    known->rc = (int16_t)rc;
    c->heard++;
    return 0;
}

static int look_at_all_l2(struct check *c)
{
    struct table_walk w = {
        .check = c, .wants = wants_all, .visit = look_at_l2, .failed = l2_unread
    };
    int rc = 0;

    census_freeze(&c->census);
    if (c->to_walk == 0)
        c->to_walk = 2 * c->census.count; /* once more for their COPIED flags */
    for (size_t i = 0; rc == 0 && i < c->census.count; i++)
        rc = table_walk_add(&w, i, c->census.tables[i].off);
    if (rc == 0)
        rc = table_walk_end(&w);
    table_walk_release(&w);
    c->weight = 1;
    c->active = 0;
    return rc;
}

/* --- what is loud --------------------------------------------------------------------------- */

bool check_is_loud(const struct check *c, uint64_t word)
{
    const struct qimg_range bytes = { word & QCOW2_OFFSET_MASK, qcow2_cluster_size(c->q) };
    const uint64_t first = check_cluster_of(c, bytes.off);
    const uint64_t n = check_cluster_of(c, bytes.off + bytes.len - 1) - first + 1;
    const struct census_table *table = census_find(&c->census, bytes.off);

    return word & CHECK_L1_RESERVED || !is_aligned(bytes.off, bytes.len) ||
           check_is_past_end(c, bytes) || check_is_hot(c, first, n) ||
           (table && (table->loud || table->hot));
}

static int mark_page(struct check *c, void *arg, uint64_t at, uint64_t word)
{
    const uint64_t page = at / CHECK_PAGE;
    const struct page_vec *v = &c->loud_pages;

    (void)arg;
    if (!check_is_loud(c, word) || (v->count && v->items[v->count - 1] == page))
        return 0;
    return page_vec_push(&c->loud_pages, page);
}

static int by_number(const void *a, const void *b)
{
    return compare_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

static int mark_pages(struct check *c, const struct tables *active, const struct tables *snapshots)
{
    const struct word_walk words = { mark_page, note_unread, NULL };
    struct page_vec *v = &c->loud_pages;
    size_t n = 0;

    TRY(look_at_words(c, &active->words, &words));
    TRY(look_at_words(c, &snapshots->words, &words));
    if (v->count > 0)
        qsort(v->items, v->count, sizeof(*v->items), by_number);
    for (size_t i = 0; i < v->count; i++)
        if (i == 0 || v->items[i] != v->items[i - 1])
            v->items[n++] = v->items[i];
    v->count = n;
    return 0;
}

/* --- all ------------------------------------------------------------------------------------ */

static int look_at_rest(struct check *c)
{
    const struct qcow2_header *h = &c->q->header;
    const uint64_t size = qcow2_cluster_size(c->q);
    const struct qcow2_crypto_ext *crypto = &c->q->extensions.crypto;

    TRY(check_refer(c, (struct qimg_range){ 0, size }, NOWHERE));
    c->heard += c->q->geometry.data_file && c->snapshots.count;
    TRY(check_refer(c, (struct qimg_range){ c->snapshots_off, c->snapshots_len }, NOWHERE));
    TRY(check_refer(c, (struct qimg_range){ h->reftable_off, h->reftable_clusters * size },
                    NOWHERE));
    if (c->q->extensions.has_crypto)
        TRY(check_refer(c, (struct qimg_range){ crypto->off, crypto->len }, NOWHERE));
    return look_at_bitmaps(c);
}

static int look(struct check *c)
{
    const struct qimg_range l1 = { c->q->header.l1_off,
                                   (uint64_t)c->q->header.l1_count * QCOW2_L1_ENTRY_BYTES };
    AUTO(cleanup_tables) struct tables active = { 0 };
    AUTO(cleanup_tables) struct tables snapshots = { 0 };

    TRY(add_table(c, &active, l1));
    TRY(add_snapshots(c, &snapshots));
    TRY(look_at_rest(c));
    TRY(look_at_l1(c, &active, &snapshots));
    TRY(look_at_all_l2(c));
    TRY(check_hot_weigh(c));
    return c->heard || c->hot.count ? mark_pages(c, &active, &snapshots) : 0;
}

static int begin(struct check *c)
{
    const uint64_t clusters = div_up(c->file_size, qcow2_cluster_size(c->q));

    census_release(&c->census);
    c->hot.count = c->hot_tables.count = c->loud_pages.count = 0;
    memset(c->holes, 0, sizeof(c->holes));
    c->heard = 0;
    c->loud_bitmaps = false;
    c->unread = (struct qimg_range){ 0 };
    c->weight = 1;
    c->active = 0;
    c->phase = CHECK_LOOKING;
    counts_release(&c->mem);
    return counts_init(&c->mem, max_u64(clusters, 1));
}

int check_look(struct check *c)
{
    struct qimg_check_result found = { 0 };
    struct qimg_check_result *const res = c->res;
    const bool silent = c->silent, fix_errors = c->fix_errors;

    c->res = &found;
    c->silent = true;
    c->fix_errors = false;
    int rc = begin(c);
    if (rc == 0)
        rc = look(c);
    c->res = res;
    c->silent = silent;
    c->fix_errors = fix_errors;
    res->allocated_clusters = found.allocated_clusters;
    res->fragmented_clusters = found.fragmented_clusters;
    res->compressed_clusters = found.compressed_clusters;
    return rc;
}

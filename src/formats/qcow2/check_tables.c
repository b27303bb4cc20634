/* SPDX-License-Identifier: Apache-2.0
 *
 * References to clusters; and telling, in QEMU's order, what is wrong with tables that were looked
 * at: of L1 tables only the entries that lead to something, of L2 tables only those that are loud.
 */
#include <stdlib.h>

#include "base_limits.h"
#include "check.h"
#include "checked.h"

/* --- counting ------------------------------------------------------------------------------- */

/* A file never gets longer than this by itself: all of it and all snapshots written once, and
 * metadata. What points farther was never written there. */
static uint64_t plausible_end(const struct check *c)
{
    const uint64_t copies = (uint64_t)c->snapshots.count + 1;
    uint64_t all;

    if (!mul_fits(c->q->image.size, copies, &all) || all > (uint64_t)INT64_MAX / 4)
        return INT64_MAX / 2;
    return c->file_size + all + all / 8 + 64 * MiB;
}

bool check_may_extend(const struct check *c, struct qimg_range bytes)
{
    return c->fix_errors && !c->q->image.file->is_device && range_within(bytes, plausible_end(c));
}

int check_extend(struct check *c, struct qimg_range bytes)
{
    if (!range_within(bytes, INT64_MAX) || c->q->image.file->is_device)
        return -EINVAL;
    if (!check_may_extend(c, bytes))
        return -EFBIG;
    const uint64_t size = align_up(bytes.off + bytes.len, qcow2_cluster_size(c->q));
    TRY(mender_extend(&c->mender, size));
    c->file_size = size;
    c->q->geometry.file_size = size;
    c->extended = true;
    c->res->corruptions_fixed++;
    return 0;
}

/* The reference is to bytes past the end, and the file was made to reach there. */
static bool extended_for(struct check *c, struct qimg_range bytes, struct place place)
{
    if (!c->fix_errors || check_extend(c, bytes) < 0)
        return false;
    REPORT(c, PAST_END_EXTENDED, place, true, bytes.off, bytes.len);
    return true;
}

static int look_at(struct check *c, uint64_t cluster)
{
    const uint64_t count = counts_get(&c->mem, cluster), sum = count + c->weight;

    TRY(counts_set(&c->mem, cluster, sum));
    return count <= c->refcount_max && sum > c->refcount_max ? check_hot_add(c, cluster) : 0;
}

static int count_one(struct check *c, uint64_t cluster, struct place place)
{
    const uint64_t count = counts_get(&c->mem, cluster);

    if (count < c->refcount_max)
        return counts_set(&c->mem, cluster, count + 1);
    REPORT(c, COUNT_OVERFLOW, place, false, cluster << c->q->header.cluster_bits);
    c->res->corruptions++;
    return 0;
}

int check_refer_clusters(struct check *c, uint64_t first, uint64_t n, struct place place)
{
    const bool looks = c->phase == CHECK_LOOKING;

    if (!looks && c->phase != CHECK_COUNTING) {
        check_hot_refer(c, first, n, place);
        return 0;
    }
    TRY(counts_grow(&c->mem, first + n));
    /* Cells of 2 bits cannot reach the limit unseen: they are widened first. */
    if (c->mem.bits == 2 && c->refcount_max > 4 && c->weight == 1)
        return counts_add_run(&c->mem, first, n);
    for (uint64_t i = first; i < first + n; i++)
        TRY(looks ? look_at(c, i) : count_one(c, i, place));
    return 0;
}

bool check_is_past_end(const struct check *c, struct qimg_range bytes)
{
    if (!range_within(bytes, INT64_MAX))
        return true;
    const uint64_t end = bytes.off + bytes.len;
    return end > c->file_size && end - c->file_size >= qcow2_cluster_size(c->q);
}

int check_refer(struct check *c, struct qimg_range bytes, struct place place)
{
    if (bytes.len == 0)
        return 0;
    if (check_is_past_end(c, bytes) && !extended_for(c, bytes, place)) {
        REPORT(c, PAST_END, place, false, bytes.off, bytes.len);
        c->res->corruptions++;
        return 0;
    }
    const uint64_t first = check_cluster_of(c, bytes.off);
    const uint64_t last = check_cluster_of(c, bytes.off + bytes.len - 1);
    return check_refer_clusters(c, first, last - first + 1, place);
}

/* --- L1 ------------------------------------------------------------------------------------- */

static struct place place_of_l1(const struct check *c, uint64_t l1_index, bool active)
{
    const struct qcow2_geometry *g = &c->q->geometry;
    struct place place = AT(c->l1_off + l1_index * QCOW2_L1_ENTRY_BYTES);

    if (active) {
        place.guest.off = l1_index << qcow2_l2_coverage_bits(g);
        place.guest.len = UINT64_C(1) << qcow2_l2_coverage_bits(g);
    }
    return place;
}

static int mend_l1(struct check *c, uint64_t l1_index, uint64_t word, bool mends)
{
    uint8_t raw[QCOW2_L1_ENTRY_BYTES];

    store_be64(raw, word);
    c->res->corruptions++;
    if (!mends)
        return 0;
    if (repair_entry(c, c->l1_off + l1_index * QCOW2_L1_ENTRY_BYTES, raw, sizeof(raw), REPAIR_L1) <
        0) {
        c->res->check_errors++;
        return 0;
    }
    c->res->corruptions--;
    c->res->corruptions_fixed++;
    return 0;
}

static int before_table(struct check *c, uint64_t l1_index, uint64_t word, bool active)
{
    const struct place place = place_of_l1(c, l1_index, active);
    const uint64_t l2_off = word & QCOW2_OFFSET_MASK;

    if (word & CHECK_L1_RESERVED) {
        const bool mends = c->fix_errors && repair_may_write(c, place.host_off, REPAIR_L1);
        REPORT(c, L1_RESERVED, place, mends, check_verb(mends), word);
        TRY(mend_l1(c, l1_index, word & ~CHECK_L1_RESERVED, mends));
    }
    TRY(check_refer(c, (struct qimg_range){ l2_off, qcow2_cluster_size(c->q) }, place));
    if (!is_aligned(l2_off, qcow2_cluster_size(c->q))) {
        REPORT(c, L2_UNALIGNED, place, false, l2_off);
        c->res->corruptions++;
    }
    return 0;
}

static uint64_t wants(struct check *c, uint64_t l2_off)
{
    const struct census_table *known = census_find(&c->census, l2_off);

    if (known && known->hot)
        return check_hot_visit(c, l2_off);
    return known && known->loud;
}

static int l2_unreadable(struct check *c, const struct walked_table *table, int rc)
{
    (void)table;
    REPORT(c, L2_UNREADABLE, NOWHERE, false);
    c->res->check_errors++;
    return rc;
}

static int tell_l2(struct check *c, struct walked_table *table)
{
    const int unread = census_find(&c->census, table->l2_off)->rc;

    if (unread < 0) /* even if it could be by now: what it says has not been counted */
        return l2_unreadable(c, table, unread);
    c->weight = table->weight;
    const int rc = check_l2_table(c, table);
    c->weight = 1;
    return rc;
}

static int tell_l1_word(struct check *c, void *arg, uint64_t off, uint64_t word)
{
    struct table_walk *w = arg;

    if (!check_is_loud(c, word))
        return 0;
    return table_walk_add(w, (off - w->l1_off) / QCOW2_L1_ENTRY_BYTES, word);
}

static int l1_unread(struct check *c, void *arg, struct qimg_range bytes, int rc)
{
    const struct table_walk *w = arg;

    (void)bytes;
    if (rc != -ENOMEM)
        REPORT(c, L1_UNREADABLE, AT(w->l1_off), false);
    c->res->check_errors++;
    return rc;
}

/* Index of the first loud page at or behind @page. */
static size_t first_loud(const struct check *c, uint64_t page)
{
    size_t low = 0, high = c->loud_pages.count;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (c->loud_pages.items[mid] < page)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int tell_l1_words(struct check *c, struct qimg_range l1, struct table_walk *w)
{
    const struct word_walk words = { tell_l1_word, l1_unread, w };
    const uint64_t end = range_end(l1);

    if (ranges_meet(l1, c->unread))
        return l1_unread(c, w, l1, c->unread_rc);
    for (size_t i = first_loud(c, l1.off / CHECK_PAGE);
         i < c->loud_pages.count && c->loud_pages.items[i] * CHECK_PAGE < end; i++) {
        const uint64_t page = c->loud_pages.items[i] * CHECK_PAGE;
        const uint64_t begin = max_u64(page, l1.off), stop = min_u64(page + CHECK_PAGE, end);
        TRY(check_each_word(c, (struct qimg_range){ begin, stop - begin }, &words));
    }
    return table_walk_end(w);
}

static int tell_l1(struct check *c, uint64_t off, uint32_t count, bool active)
{
    const struct qimg_range l1 = { off, (uint64_t)count * QCOW2_L1_ENTRY_BYTES };
    struct table_walk w = {
        .check = c,
        .active = active,
        .l1_off = off,
        .wants = wants,
        .before = before_table,
        .visit = tell_l2,
        .failed = l2_unreadable,
    };

    if (count == 0)
        return 0;
    TRY(check_refer(c, l1, AT(off)));
    if (!range_within(l1, INT64_MAX))
        return 0;
    TRY(mender_flush(&c->mender)); /* it may have entries of this table */
    c->l1_off = off;
    const int rc = tell_l1_words(c, l1, &w);
    table_walk_release(&w);
    return rc;
}

/* --- snapshots ------------------------------------------------------------------------------ */

/* A text of the image as a string, cut where it is long. */
struct short_text {
    char text[256];
};

static struct short_text text_of(const char *bytes, size_t len)
{
    struct short_text t;
    const size_t n = min_u64(len, sizeof(t.text) - 1);

    memcpy(t.text, bytes, n);
    t.text[n] = '\0';
    return t;
}

static int tell_snapshot(struct check *c, const struct check_snapshot *s, uint64_t off)
{
    const struct place place = AT(off);
    const char *texts = (const char *)s->entry + QCOW2_SNAPSHOT_BYTES + s->kept_extra;

    if (!is_aligned(s->l1_off, qcow2_cluster_size(c->q))) {
        REPORT(c, SNAPSHOT_L1_UNALIGNED, place, false, text_of(texts, s->id_len).text,
               text_of(texts + s->id_len, s->name_len).text, s->l1_off);
        c->res->corruptions++;
        return 0;
    }
    if (s->l1_count > LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES) {
        REPORT(c, SNAPSHOT_L1_SIZE, place, false, text_of(texts, s->id_len).text,
               text_of(texts + s->id_len, s->name_len).text, s->l1_count);
        c->res->corruptions++;
        return 0;
    }
    return tell_l1(c, s->l1_off, s->l1_count, false);
}

static int tell_snapshots(struct check *c)
{
    if (c->q->geometry.data_file && c->snapshots.count) {
        REPORT(c, SNAPSHOTS_AND_DATA_FILE, AT(c->snapshots_off), false,
               (unsigned)c->snapshots.count);
        c->res->corruptions++;
    }
    for (size_t i = 0; i < c->snapshots.count; i++)
        TRY(tell_snapshot(c, &c->snapshots.items[i], c->snapshots_off));
    return check_refer(c, (struct qimg_range){ c->snapshots_off, c->snapshots_len },
                       AT(c->snapshots_off));
}

/* --- bitmaps ---------------------------------------------------------------------------------- */

#define BITMAP_RESERVED UINT64_C(0xff000000000001fe)

bool check_bitmap_word_is_sound(const struct check *c, uint64_t word)
{
    const uint64_t off = word & QCOW2_OFFSET_MASK;

    return !(word & BITMAP_RESERVED) && is_aligned(off, qcow2_cluster_size(c->q)) &&
           !(off && word & 1);
}

struct bitmap_telling {
    const struct qcow2_bitmap *bitmap;
    bool refers; /* all entries are sound: now they are followed */
};

static int tell_bitmap_word(struct check *c, void *arg, uint64_t at, uint64_t word)
{
    const struct bitmap_telling *t = arg;
    const struct qcow2_bitmap *b = t->bitmap;
    const struct qimg_range bits = { word & QCOW2_OFFSET_MASK, qcow2_cluster_size(c->q) };

    if (t->refers)
        return bits.off ? check_refer(c, bits, AT(at)) : 0;
    if (check_bitmap_word_is_sound(c, word))
        return 0;
    REPORT(c, BITMAP_TABLE, AT(at), false, b->name, (unsigned)((at - b->table_off) / 8), word);
    c->res->corruptions++;
    return -EINVAL;
}

static int bitmap_unread(struct check *c, void *arg, struct qimg_range bytes, int rc)
{
    const struct bitmap_telling *t = arg;

    (void)bytes;
    REPORT(c, BITMAP_UNREADABLE, AT(t->bitmap->table_off), false, t->bitmap->name, strerror(-rc));
    c->res->corruptions++;
    return rc;
}

/* QEMU gives up on the whole check at a broken table, and so must we: what it leads to is not
 * counted and would be taken for leaked. */
static int tell_bitmap(struct check *c, const struct qcow2_bitmap *b)
{
    const struct qimg_range table = { b->table_off, (uint64_t)b->table_count * 8 };
    struct bitmap_telling telling = { .bitmap = b };
    const struct word_walk words = { tell_bitmap_word, bitmap_unread, &telling };

    TRY(check_refer(c, table, AT(b->table_off)));
    if (!range_within(table, INT64_MAX))
        return 0;
    if (ranges_meet(table, c->unread))
        return bitmap_unread(c, &telling, table, c->unread_rc);
    TRY(check_each_word(c, table, &words));
    telling.refers = true;
    return check_each_word(c, table, &words);
}

static int tell_bitmaps(struct check *c)
{
    const struct qcow2 *q = c->q;
    const struct qcow2_bitmaps_ext *ext = &q->extensions.bitmaps;

    if (!q->extensions.has_bitmaps)
        return 0;
    TRY(check_refer(c, (struct qimg_range){ ext->directory_off, ext->directory_len },
                    AT(ext->directory_off)));
    for (size_t i = 0; i < q->bitmaps.count && (c->loud_bitmaps || c->hot.count); i++)
        TRY(tell_bitmap(c, &q->bitmaps.items[i]));
    return 0;
}

/* --- all -------------------------------------------------------------------------------------- */

int check_tell(struct check *c)
{
    const struct qcow2_header *h = &c->q->header;
    const uint64_t size = qcow2_cluster_size(c->q);
    const struct qcow2_crypto_ext *crypto = &c->q->extensions.crypto;

    c->phase = CHECK_TELLING;
    c->weight = 1;
    TRY(check_refer(c, (struct qimg_range){ 0, size }, AT(0)));
    TRY(tell_l1(c, h->l1_off, h->l1_count, true));
    TRY(tell_snapshots(c));
    TRY(check_refer(c, (struct qimg_range){ h->reftable_off, h->reftable_clusters * size },
                    AT(h->reftable_off)));
    if (c->q->extensions.has_crypto)
        TRY(check_refer(c, (struct qimg_range){ crypto->off, crypto->len }, AT(crypto->off)));
    return tell_bitmaps(c);
}

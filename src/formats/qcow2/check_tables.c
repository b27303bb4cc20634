/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks everything that the header leads to and counts, for each cluster, how often it is
 * referred to.
 */
#include <stdlib.h>

#include "base_limits.h"
#include "check.h"
#include "checked.h"
#include "cleanup.h"

#define L1_RESERVED UINT64_C(0x7f000000000001ff)

/* --- counting ------------------------------------------------------------------------------------
 */

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

static int refer_one(struct check *c, uint64_t cluster, struct place place)
{
    const uint64_t count = counts_get(&c->mem, cluster);

    if (count >= c->refcount_max) {
        REPORT(c, COUNT_OVERFLOW, place, false, cluster << c->q->header.cluster_bits);
        c->res->corruptions++;
        if (!c->only_looks) /* else it must be seen who shares what, however many they are */
            return 0;
    }
    return counts_set(&c->mem, cluster, count + 1);
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
    const uint64_t n = check_cluster_of(c, bytes.off + bytes.len - 1) - first + 1;
    TRY(counts_grow(&c->mem, first + n));
    /* Cells of 2 bits cannot reach the limit unseen: they are widened first. */
    if (c->mem.bits == 2 && c->refcount_max > 3)
        return counts_add_run(&c->mem, first, n);
    for (uint64_t i = first; i < first + n; i++)
        TRY(refer_one(c, i, place));
    return 0;
}

int check_load_words(struct check *c, uint64_t off, uint64_t count, uint64_t **words,
                     uint64_t *loaded)
{
    const uint64_t in_file = off < c->file_size ? div_up(c->file_size - off, 8) : 0;
    const uint64_t n = min_u64(count, in_file);
    AUTO_FREE uint64_t *table = malloc(n ? n * 8 : 1);

    if (!table)
        return -ENOMEM;
    TRY(io_read_exact(c->q->image.file, off, table, n * 8, NULL));
    for (uint64_t i = 0; i < n; i++)
        table[i] = load_be64(&table[i]);
    *words = TAKE(table);
    *loaded = n;
    return 0;
}

/* --- L1
 * ------------------------------------------------------------------------------------------- */

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

    if (word & L1_RESERVED) {
        const bool mends = c->fix_errors && repair_may_write(c, place.host_off, REPAIR_L1);
        REPORT(c, L1_RESERVED, place, mends, check_verb(mends), word);
        TRY(mend_l1(c, l1_index, word & ~L1_RESERVED, mends));
    }
    if (active && l2_off)
        c->suspects += (counts_get(&c->disk, check_cluster_of(c, l2_off)) == 1) !=
                       ((word & QCOW2_COPIED) != 0);
    TRY(check_refer(c, (struct qimg_range){ l2_off, qcow2_cluster_size(c->q) }, place));
    if (!is_aligned(l2_off, qcow2_cluster_size(c->q))) {
        REPORT(c, L2_UNALIGNED, place, false, l2_off);
        c->res->corruptions++;
    }
    return 0;
}

static int l2_unreadable(struct check *c, int rc)
{
    REPORT(c, L2_UNREADABLE, NOWHERE, false);
    c->res->check_errors++;
    return rc;
}

static int count_l1(struct check *c, uint64_t off, uint32_t count, bool active)
{
    AUTO_FREE uint64_t *l1 = NULL;
    uint64_t loaded;

    if (count == 0)
        return 0;
    TRY(check_refer(c, (struct qimg_range){ off, (uint64_t)count * QCOW2_L1_ENTRY_BYTES },
                    AT(off)));
    const int rc = check_load_words(c, off, count, &l1, &loaded);
    if (rc < 0) {
        if (rc != -ENOMEM)
            REPORT(c, L1_UNREADABLE, AT(off), false);
        c->res->check_errors++;
        return rc;
    }
    c->l1_off = off;
    const struct table_walk walk = {
        .l1 = l1,
        .l1_count = loaded,
        .active = active,
        .before = before_table,
        .visit = check_l2_table,
        .failed = l2_unreadable,
    };
    return check_walk(c, &walk);
}

/* --- snapshots
 * -------------------------------------------------------------------------------------- */

static int count_snapshot(struct check *c, const struct check_snapshot *s, uint64_t off)
{
    const struct place place = AT(off);
    const char *texts = (const char *)s->entry + QCOW2_SNAPSHOT_BYTES + s->kept_extra;

    if (!is_aligned(s->l1_off, qcow2_cluster_size(c->q))) {
        REPORT(c, SNAPSHOT_L1_UNALIGNED, place, false, check_text(texts, s->id_len).text,
               check_text(texts + s->id_len, s->name_len).text, s->l1_off);
        c->res->corruptions++;
        return 0;
    }
    if (s->l1_count > LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES) {
        REPORT(c, SNAPSHOT_L1_SIZE, place, false, check_text(texts, s->id_len).text,
               check_text(texts + s->id_len, s->name_len).text, s->l1_count);
        c->res->corruptions++;
        return 0;
    }
    return count_l1(c, s->l1_off, s->l1_count, false);
}

bool check_walks_snapshot(const struct check *c, const struct check_snapshot *s)
{
    return is_aligned(s->l1_off, qcow2_cluster_size(c->q)) &&
           s->l1_count <= LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES;
}

static int count_snapshots(struct check *c)
{
    if (c->q->geometry.data_file && c->snapshots.count) {
        REPORT(c, SNAPSHOTS_AND_DATA_FILE, AT(c->snapshots_off), false,
               (unsigned)c->snapshots.count);
        c->res->corruptions++;
    }
    for (size_t i = 0; i < c->snapshots.count; i++)
        TRY(count_snapshot(c, &c->snapshots.items[i], c->snapshots_off));
    return check_refer(c, (struct qimg_range){ c->snapshots_off, c->snapshots_len },
                       AT(c->snapshots_off));
}

/* --- bitmaps
 * ------------------------------------------------------------------------------------------
 */

#define BITMAP_RESERVED UINT64_C(0xff000000000001fe)

static bool bitmap_word_is_sound(const struct check *c, uint64_t word)
{
    const uint64_t off = word & QCOW2_OFFSET_MASK;

    return !(word & BITMAP_RESERVED) && is_aligned(off, qcow2_cluster_size(c->q)) &&
           !(off && word & 1);
}

/* QEMU gives up on the whole check at a broken table, and so must we: what it leads to is not
 * counted and would be taken for leaked. */
static int count_bitmap(struct check *c, const struct qcow2_bitmap *b)
{
    const struct qimg_range table = { b->table_off, (uint64_t)b->table_count * 8 };
    AUTO_FREE uint64_t *words = NULL;
    uint64_t loaded;

    TRY(check_refer(c, table, AT(b->table_off)));
    const int rc = check_load_words(c, b->table_off, b->table_count, &words, &loaded);
    if (rc < 0) {
        REPORT(c, BITMAP_UNREADABLE, AT(b->table_off), false, b->name, strerror(-rc));
        c->res->corruptions++;
        return rc;
    }
    for (uint64_t i = 0; i < loaded; i++)
        if (!bitmap_word_is_sound(c, words[i])) {
            REPORT(c, BITMAP_TABLE, AT(b->table_off + 8 * i), false, b->name, (unsigned)i,
                   words[i]);
            c->res->corruptions++;
            return -EINVAL;
        }
    for (uint64_t i = 0; i < loaded; i++)
        if (words[i] & QCOW2_OFFSET_MASK)
            TRY(check_refer(
                c, (struct qimg_range){ words[i] & QCOW2_OFFSET_MASK, qcow2_cluster_size(c->q) },
                AT(b->table_off + 8 * i)));
    return 0;
}

static int count_bitmaps(struct check *c)
{
    const struct qcow2 *q = c->q;
    const struct qcow2_bitmaps_ext *ext = &q->extensions.bitmaps;

    if (!q->extensions.has_bitmaps)
        return 0;
    TRY(check_refer(c, (struct qimg_range){ ext->directory_off, ext->directory_len },
                    AT(ext->directory_off)));
    for (size_t i = 0; i < q->bitmaps.count; i++)
        TRY(count_bitmap(c, &q->bitmaps.items[i]));
    return 0;
}

/* --- all
 * ----------------------------------------------------------------------------------------------
 */

int check_count_references(struct check *c)
{
    const struct qcow2_header *h = &c->q->header;
    const uint64_t size = qcow2_cluster_size(c->q);
    const struct qcow2_crypto_ext *crypto = &c->q->extensions.crypto;

    TRY(check_refer(c, (struct qimg_range){ 0, size }, AT(0)));
    TRY(count_l1(c, h->l1_off, h->l1_count, true));
    TRY(count_snapshots(c));
    TRY(check_refer(c, (struct qimg_range){ h->reftable_off, h->reftable_clusters * size },
                    AT(h->reftable_off)));
    if (c->q->extensions.has_crypto)
        TRY(check_refer(c, (struct qimg_range){ crypto->off, crypto->len }, AT(crypto->off)));
    TRY(count_bitmaps(c));
    return check_blocks(c);
}

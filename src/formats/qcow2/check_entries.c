/* SPDX-License-Identifier: Apache-2.0
 *
 * One L2 table: what its entries refer to, and what is wrong with them. Healthy entries that point
 * at consecutive clusters are taken as one run: they are nearly everything in a large image.
 */
#include "check.h"

#define L2_RESERVED UINT64_C(0x3f000000000001fe)

/* The table that is being looked at. */
struct scan {
    struct check *c;
    bool mends; /* entries may be replaced */
    struct walked_table *table;
    uint64_t entries;
    uint64_t next_off; /* where the last allocated cluster of this table ends; 0 = none yet */
};

static uint64_t word_at(const struct scan *s, uint64_t i)
{
    return load_be64(s->table->bytes + (i << s->c->q->geometry.entry_bits));
}

static uint64_t bitmap_at(const struct scan *s, uint64_t i)
{
    if (!s->c->q->geometry.extended_l2)
        return 0;
    return load_be64(s->table->bytes + (i << s->c->q->geometry.entry_bits) + 8);
}

static struct place place_of(const struct scan *s, uint64_t i)
{
    const struct qcow2_geometry *g = &s->c->q->geometry;
    struct place place = AT(s->table->l2_off + (i << g->entry_bits));

    if (s->table->active) {
        place.guest.off =
            (s->table->l1_index << qcow2_l2_coverage_bits(g)) + (i << g->cluster_bits);
        place.guest.len = qcow2_cluster_size(s->c->q);
    }
    return place;
}

/* --- mending one entry ---------------------------------------------------------------------- */

static int replace(struct scan *s, uint64_t i, struct qcow2_l2_entry entry)
{
    struct check *c = s->c;
    const unsigned entry_bits = c->q->geometry.entry_bits;
    uint8_t raw[16];

    store_be64(raw, entry.word);
    store_be64(raw + 8, entry.bitmap);
    const int rc =
        repair_entry(c, s->table->l2_off + (i << entry_bits), raw, 1u << entry_bits, REPAIR_L2);
    if (rc == 0)
        memcpy(s->table->bytes + (i << entry_bits), raw, 1u << entry_bits);
    return rc;
}

/* Counts a corruption that @better mends, and mends it where that may be done: 1 if it was. */
static int mend(struct scan *s, uint64_t i, struct qcow2_l2_entry better)
{
    struct check *c = s->c;

    c->res->corruptions++;
    if (!s->mends)
        return 0;
    const int rc = replace(s, i, better);
    if (rc < 0) {
        REPORT(c, OVERLAPS, place_of(s, i), false);
        c->res->check_errors++;
        return rc == -EEXIST ? 0 : rc;
    }
    c->res->corruptions--;
    c->res->corruptions_fixed++;
    return 1;
}

/* For bits that readers ignore. */
static int mend_word(struct scan *s, uint64_t i, uint64_t word)
{
    return mend(s, i, (struct qcow2_l2_entry){ word, bitmap_at(s, i) });
}

/* Zeros without a place, in all subclusters that had one or were zeros. */
static struct qcow2_l2_entry plain_zeros(const struct scan *s, uint64_t i)
{
    const uint64_t zeros = (bitmap_at(s, i) | bitmap_at(s, i) << 32) & ~UINT64_C(0xffffffff);
    const bool extended = s->c->q->geometry.extended_l2;

    return (struct qcow2_l2_entry){ extended ? 0 : QCOW2_ZERO, extended ? zeros : 0 };
}

/* --- kinds of entries ----------------------------------------------------------------------- */

static int scan_packed(struct scan *s, uint64_t i, uint64_t word)
{
    struct check *c = s->c;
    const struct qcow2_geometry *g = &c->q->geometry;
    const struct qimg_range packed = qcow2_packed_range(word, g->cluster_bits);

    if (word & QCOW2_COPIED) {
        word &= ~QCOW2_COPIED;
        REPORT(c, PACKED_COPIED, place_of(s, i), s->mends, check_verb(s->mends), packed.off);
        TRY(mend_word(s, i, word));
    }
    if (g->data_file || bitmap_at(s, i)) {
        c->res->corruptions++;
        if (g->data_file)
            REPORT(c, PACKED_IN_DATA_FILE, place_of(s, i), false, (unsigned)i, word);
        else
            REPORT(c, PACKED_BITMAP, place_of(s, i), false, (unsigned)i, word);
        return 0;
    }
    TRY(check_refer(c, packed, place_of(s, i)));
    if (c->phase == CHECK_LOOKING) {
        c->res->allocated_clusters += c->active;
        c->res->compressed_clusters += c->active;
        c->res->fragmented_clusters += c->active; /* QEMU's view: a packed cluster always is */
    }
    return 0;
}

/* An entry that reserves space at a wrong place for zeros: 1 if it points nowhere now. */
static int scan_unaligned_zeros(struct scan *s, uint64_t i, uint64_t off)
{
    REPORT(s->c, ZERO_UNALIGNED, place_of(s, i), s->mends, check_verb(s->mends), off);
    return mend(s, i, plain_zeros(s, i));
}

static void count_allocated(struct scan *s, uint64_t off, uint64_t n)
{
    struct check *c = s->c;

    if (c->phase != CHECK_LOOKING)
        return;
    c->res->allocated_clusters += n * c->active;
    if (s->next_off && off != s->next_off)
        c->res->fragmented_clusters += c->active;
    s->next_off = off + (n << c->q->header.cluster_bits);
}

/* Flags that may have to be complained about make check_copied() worth while. */
static void suspect_flags(struct scan *s, uint64_t off, uint64_t n, bool copied)
{
    struct check *c = s->c;
    const uint64_t first = check_cluster_of(c, off);

    if (c->phase != CHECK_LOOKING || !c->active || c->suspects)
        return;
    if (c->q->geometry.data_file)
        c->suspects += !copied;
    else if (copied)
        c->suspects += counts_skip(&c->disk, first, n, 1) < first + n;
    else
        for (uint64_t i = first; i < first + n; i++)
            c->suspects += counts_get(&c->disk, i) == 1;
}

/* Data that was never there: the guest reads zeros and still will. 1 if it was mended. */
static int drop_past_end(struct scan *s, uint64_t i, uint64_t off)
{
    struct check *c = s->c;
    const struct qimg_range bytes = { off, qcow2_cluster_size(c->q) };

    if (!s->mends || c->q->geometry.v2 || c->q->geometry.data_file ||
        !check_is_past_end(c, bytes) || check_may_extend(c, bytes) ||
        replace(s, i, plain_zeros(s, i)) < 0)
        return 0;
    REPORT(c, PAST_END_ZEROED, place_of(s, i), true, off, bytes.len);
    c->res->corruptions_fixed++;
    return 1;
}

static int scan_cluster(struct scan *s, uint64_t i, uint64_t word)
{
    struct check *c = s->c;
    const struct qcow2_geometry *g = &c->q->geometry;
    const uint64_t off = word & QCOW2_OFFSET_MASK, bitmap = bitmap_at(s, i);

    if (bitmap >> 32 & bitmap & UINT32_MAX) {
        c->res->corruptions++;
        REPORT(c, SUBCLUSTERS_BOTH, place_of(s, i), false, off);
    }
    if (!is_aligned(off, qcow2_cluster_size(c->q))) {
        const bool has_data = g->extended_l2 ? bitmap & UINT32_MAX : !(word & QCOW2_ZERO);
        if (has_data) {
            c->res->corruptions++;
            REPORT(c, DATA_UNALIGNED, place_of(s, i), false, off);
        } else {
            const int rc = scan_unaligned_zeros(s, i, off);
            if (rc != 0)
                return rc < 0 ? rc : 0;
        }
    }
    if (drop_past_end(s, i, off))
        return 0;
    count_allocated(s, off, 1);
    suspect_flags(s, off, 1, word & QCOW2_COPIED);
    if (g->data_file)
        return 0;
    return check_refer(c, (struct qimg_range){ off, qcow2_cluster_size(c->q) }, place_of(s, i));
}

static int scan_entry(struct scan *s, uint64_t i)
{
    struct check *c = s->c;
    const struct qcow2_geometry *g = &c->q->geometry;
    uint64_t word = word_at(s, i);
    const uint64_t off = word & QCOW2_OFFSET_MASK;

    if (!(word & QCOW2_COMPRESSED) && word & L2_RESERVED) {
        REPORT(c, L2_RESERVED, place_of(s, i), s->mends, check_verb(s->mends), word);
        TRY(mend_word(s, i, word & ~L2_RESERVED));
        word = word_at(s, i);
    }
    if (word & QCOW2_COMPRESSED)
        return scan_packed(s, i, word);
    if (off != 0 || (g->data_file && word & QCOW2_COPIED && !(word & QCOW2_ZERO)))
        return scan_cluster(s, i, word);
    if (bitmap_at(s, i) & UINT32_MAX) {
        c->res->corruptions++;
        REPORT(c, SUBCLUSTERS_NOWHERE, place_of(s, i), false);
    }
    return 0;
}

/* --- runs ----------------------------------------------------------------------------------- */

/* Healthy from its bits alone: data (or reserved zeros) in a cluster inside the file. */
static bool is_plain(const struct check *c, uint64_t word)
{
    const uint64_t size = qcow2_cluster_size(c->q);
    const uint64_t off = word & QCOW2_OFFSET_MASK;

    return (word & (L2_RESERVED | QCOW2_COMPRESSED | QCOW2_ZERO)) == 0 && off != 0 &&
           is_aligned(off, size) && off + size <= c->file_size;
}

static uint64_t zero_run(const struct scan *s, uint64_t i)
{
    const uint64_t begin = i;

    while (i < s->entries && word_at(s, i) == 0)
        i++;
    return i - begin;
}

static uint64_t plain_run(const struct scan *s, uint64_t i)
{
    const uint64_t size = qcow2_cluster_size(s->c->q), first = word_at(s, i);
    const uint64_t room = (s->c->file_size - (first & QCOW2_OFFSET_MASK)) / size;
    const uint64_t most = min_u64(s->entries - i, room);
    uint64_t n = 1;

    while (n < most && word_at(s, i + n) == first + n * size)
        n++;
    return n;
}

static int scan_run(struct scan *s, uint64_t i, uint64_t n)
{
    struct check *c = s->c;
    const uint64_t word = word_at(s, i), off = word & QCOW2_OFFSET_MASK;
    const uint64_t len = n << c->q->header.cluster_bits;

    count_allocated(s, off, n);
    suspect_flags(s, off, n, word & QCOW2_COPIED);
    return check_refer(c, (struct qimg_range){ off, len }, place_of(s, i));
}

/* Tables with one word an entry; others go entry by entry. */
static int scan_runs(struct scan *s)
{
    for (uint64_t i = 0; i < s->entries;) {
        uint64_t n = zero_run(s, i);
        if (n == 0 && !s->c->q->geometry.data_file && is_plain(s->c, word_at(s, i))) {
            n = plain_run(s, i);
            TRY(scan_run(s, i, n));
        } else if (n == 0) {
            n = 1;
            TRY(scan_entry(s, i));
        }
        i += n;
    }
    return 0;
}

/* Is this nothing but a table? */
static bool may_mend(const struct scan *s)
{
    return repair_may_write(s->c, s->table->l2_off, REPAIR_L2) &&
           is_aligned(s->table->l2_off, qcow2_cluster_size(s->c->q));
}

int check_l2_table(struct check *c, struct walked_table *table)
{
    struct scan s = { .c = c, .table = table, .entries = UINT64_C(1) << c->q->geometry.l2_bits };

    s.mends = c->fix_errors && may_mend(&s);

    if (!c->q->geometry.extended_l2)
        return scan_runs(&s);
    for (uint64_t i = 0; i < s.entries; i++)
        TRY(scan_entry(&s, i));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A shadow goes by counts, and the counts of a stranger's image may lie: a structure may stand
 * where they say that nothing does, or be counted once for two. What the header and the tables name
 * is therefore looked at apart from them: nothing is built there, and nothing there is given back.
 * A table may also be said to be past the end of the file: what is built there would become it.
 */
#include <stdlib.h>

#include "checked.h"
#include "cleanup.h"
#include "shadow.h"
#include "tree.h"

/* Where structures are, as far as they end behind @from. */
struct spans {
    struct range_vec ranges;
    uint64_t from;
};

static void spans_release(struct spans *spans)
{
    range_vec_release(&spans->ranges);
}

/* What no structure can have is left out. */
static int add(struct spans *spans, uint64_t off, uint64_t len)
{
    const struct qimg_range range = { off, len };

    if (len == 0 || !range_within(range, INT64_MAX) || range_end(range) <= spans->from)
        return 0;
    return range_vec_push(&spans->ranges, range);
}

/* What @header names, and the blocks of @counts. */
static int gather(const struct qcow2 *q, const struct qcow2_header *header,
                  const struct shadow_counts *counts, struct spans *spans)
{
    const uint64_t cluster = qcow2_cluster_size(q);

    TRY(add(spans, 0, cluster));
    TRY(add(spans, header->l1_off, (uint64_t)header->l1_count * QCOW2_L1_ENTRY_BYTES));
    TRY(add(spans, header->reftable_off, header->reftable_clusters * cluster));
    for (size_t i = 0; i < counts->count; i++)
        if (counts->blocks[i].off)
            TRY(add(spans, counts->blocks[i].off, cluster));
    /* A new one was allocated, and is counted. */
    if (header->snapshots_off == q->header.snapshots_off)
        TRY(add(spans, header->snapshots_off, q->snapshots_len));
    return 0;
}

static int gather_bitmaps(const struct qcow2 *q, struct spans *spans)
{
    const struct qcow2_bitmaps_ext *bitmaps = &q->extensions.bitmaps;

    return q->extensions.has_bitmaps ? add(spans, bitmaps->directory_off, bitmaps->directory_len)
                                     : 0;
}

static int by_off(const void *a, const void *b)
{
    return compare_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

/* L2 tables, those that follow each other as one: an L1 table may link millions, or one as often.
 */
static int gather_l2(const struct qcow2 *q, struct tree_l1 *l1, struct spans *spans)
{
    const uint64_t cluster = qcow2_cluster_size(q);
    uint64_t *offs = l1->words, count = 0, first = 0;

    for (uint64_t i = 0; i < l1->count; i++) {
        const enum qcow2_l1_kind kind = qcow2_l1_decode(l1->words[i], &q->geometry, &offs[count]);
        const bool named = kind == QCOW2_L1_TABLE || kind == QCOW2_L1_PAST_END;
        if (named && offs[count] + cluster > spans->from)
            count++;
    }
    qsort(offs, count, sizeof(*offs), by_off);
    for (uint64_t i = 1; i <= count; i++) {
        if (i < count && offs[i] <= offs[i - 1] + cluster)
            continue;
        TRY(add(spans, offs[first], offs[i - 1] + cluster - offs[first]));
        first = i;
    }
    return 0;
}

static int gather_tables(const struct qcow2 *q, struct spans *spans)
{
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };

    TRY(tree_l1_load(q, q->header.l1_off, q->header.l1_count, &l1));
    TRY(gather_l2(q, &l1, spans));
    for (size_t i = 0; i < q->snapshots.count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots.items[i];
        TRY(add(spans, s->l1_off, (uint64_t)s->l1_count * QCOW2_L1_ENTRY_BYTES));
    }
    return 0;
}

int shadow_guard_old(struct shadow *s, uint64_t from)
{
    AUTO(spans_release) struct spans spans = { .from = from };

    TRY(gather(s->q, &s->q->header, &s->counts, &spans));
    TRY(gather_bitmaps(s->q, &spans));
    TRY(gather_tables(s->q, &spans));
    return pieces_cut(&spans.ranges, &s->kept);
}

/* Where not all that was released is noted, its count tells. */
static int is_counted(struct shadow *s, struct qimg_range span, bool *out)
{
    const unsigned bits = s->header.cluster_bits;
    const uint64_t end = s->released_more ? div_up(range_end(span), qcow2_cluster_size(s->q)) : 0;
    uint64_t count = 1;

    for (uint64_t n = span.off >> bits; n < end && count > 0; n++)
        TRY(shadow_counts_get(&s->counts, n, &count));
    *out = count > 0;
    return 0;
}

int shadow_guard_released(struct shadow *s)
{
    AUTO(spans_release) struct spans spans = { 0 };
    AUTO(piece_vec_release) struct piece_vec gone = { 0 };
    uint64_t end; /* what lies behind all that is counted is cut off */

    TRY(shadow_counts_end(&s->counts, &end));
    TRY(pieces_cut(&s->released, &gone));
    TRY(gather(s->q, &s->header, &s->counts, &spans));
    if (!s->sector) /* with the header's extensions the bitmaps stay */
        TRY(gather_bitmaps(s->q, &spans));
    for (size_t i = 0; i < spans.ranges.count; i++) {
        const struct qimg_range span = spans.ranges.items[i];
        bool counted;
        TRY(is_counted(s, span, &counted));
        if (!counted || span.off >> s->header.cluster_bits >= end || pieces_meet(&gone, span))
            return -EBADMSG;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * From guest ranges to extents: which slices of which L2 tables answer (plan), and what their
 * words say (decode). The L1 table is in memory; neither step does I/O.
 *
 * Decoding is the hot path of deep chains: hundreds of tables that are mostly zeros, or one run
 * of contiguous clusters. Both are taken eight words at a time; what remains goes through
 * qcow2_l2_decode() word by word.
 */
#include <assert.h>
#include <stdlib.h>

#include "checked.h"
#include "cleanup.h"
#include "qcow2.h"

#define SLICE_BYTES 4096 /* tables are read in units of this */
#define BLOCK       8    /* words looked at in one step */

/* --- L1 ------------------------------------------------------------------------------------- */

int qcow2_l1_load(struct qcow2 *q, uint64_t off, uint32_t count, struct qimg_error *err)
{
    /* No more than the file holds, whatever the header claims (3). */
    const uint64_t in_file =
        off < q->geometry.file_size ? div_up(q->geometry.file_size - off, QCOW2_L1_ENTRY_BYTES) : 0;
    const uint32_t loaded = (uint32_t)min_u64(count, in_file);
    const size_t bytes = (size_t)loaded * QCOW2_L1_ENTRY_BYTES;
    AUTO_FREE uint64_t *l1 = malloc(bytes ? bytes : 1);

    if (!l1)
        return qimg_fail(err, ENOMEM, "Could not allocate L1 table");
    const int rc = io_read_exact(q->image.file, off, l1, bytes, NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read L1 table");
    for (uint32_t i = 0; i < loaded; i++)
        l1[i] = load_be64(&l1[i]);
    free(q->l1);
    q->l1 = TAKE(l1);
    q->l1_loaded = loaded;
    q->l1_off = off;
    return 0;
}

/* --- plan ----------------------------------------------------------------------------------- */

/* The slice of table @l1_index that answers for @want. A wrong L1 word gets a reference too, to the
 * file's first bytes, which decode will not look at. */
static struct table_ref slice_of(const struct qcow2 *q, uint64_t l1_index, struct qimg_range want)
{
    const struct qcow2_geometry *g = &q->geometry;
    const uint64_t table_bytes = UINT64_C(1) << g->cluster_bits;
    const uint64_t unit = min_u64(SLICE_BYTES, table_bytes);
    const uint64_t table_guest = l1_index << qcow2_l2_coverage_bits(g);
    const uint64_t begin = max_u64(want.off, table_guest) - table_guest;
    const uint64_t end =
        min_u64(range_end(want) - table_guest, UINT64_C(1) << qcow2_l2_coverage_bits(g));
    const uint64_t from = align_down(begin >> g->cluster_bits << g->entry_bits, unit);
    const uint64_t to = align_up((((end - 1) >> g->cluster_bits) + 1) << g->entry_bits, unit);
    const uint64_t guest = table_guest + (from >> g->entry_bits << g->cluster_bits);
    const uint64_t guest_end = table_guest + (to >> g->entry_bits << g->cluster_bits);
    uint64_t l2_off = 0;

    struct table_ref ref = { .guest = { guest, min_u64(guest_end, q->image.size) - guest } };
    if (qcow2_l1_decode(q->l1[l1_index], g, &l2_off) == QCOW2_L1_TABLE) {
        ref.host_off = l2_off + from;
        ref.len = (uint32_t)(to - from);
    } else {
        ref.host_off = 0;
        ref.len = QCOW2_L1_ENTRY_BYTES;
    }
    return ref;
}

int qcow2_map_plan(const struct image *image, struct qimg_range want, struct table_ref_vec *out)
{
    const struct qcow2 *q = qcow2_of_const(image);
    const unsigned coverage = qcow2_l2_coverage_bits(&q->geometry);

    assert(!q->info_only);
    want = range_clip(want, image->size);
    if (want.len == 0)
        return 0;
    const uint64_t end = min_u64(((range_end(want) - 1) >> coverage) + 1, q->l1_loaded);
    for (uint64_t i = want.off >> coverage; i < end; i++) {
        if ((q->l1[i] & QCOW2_OFFSET_MASK) == 0)
            continue;
        if (table_ref_vec_push(out, slice_of(q, i, want)) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* --- decode --------------------------------------------------------------------------------- */

/* Where extents go, and the part of the guest that was asked for. */
struct sink {
    struct qimg_range want;
    struct extent_vec *out;
};

static int emit(const struct sink *sink, struct extent e)
{
    const uint64_t begin = max_u64(e.guest_off, sink->want.off);
    const uint64_t end = min_u64(e.guest_off + e.len, range_end(sink->want));

    if (begin >= end)
        return 0;
    if (e.kind != EXTENT_COMPRESSED) { /* a packed cluster is always given whole */
        if (e.host_off != QIMG_NO_OFFSET)
            e.host_off += begin - e.guest_off;
        e.guest_off = begin;
        e.len = end - begin;
    }
    return extent_vec_add(sink->out, e);
}

/* The first word at or after @i that is not zero. */
static inline size_t skip_zero_words(const uint8_t *raw, size_t i, size_t end)
{
    if (i < end && load_be64(raw + 8 * i) != 0)
        return i;
    for (; i + 4 * BLOCK <= end; i += 4 * BLOCK) {
        uint64_t words[4 * BLOCK], any = 0;
        memcpy(words, raw + 8 * i, sizeof(words));
        for (size_t k = 0; k < 4 * BLOCK; k++)
            any |= words[k];
        if (any)
            break;
    }
    while (i < end && load_be64(raw + 8 * i) == 0)
        i++;
    return i;
}

/* The first word at or after @i that breaks the series next, next + step, ... (under @mask). */
static inline size_t skip_series(const uint8_t *raw, size_t i, size_t end, uint64_t mask,
                                 const uint64_t series[2])
{
    uint64_t next = series[0];
    const uint64_t step = series[1];

    if (i == end || (load_be64(raw + 8 * i) & mask) != next)
        return i;
    for (; i + BLOCK <= end; i += BLOCK, next += BLOCK * step) {
        uint64_t differs = 0;
        for (size_t k = 0; k < BLOCK; k++)
            differs |= (load_be64(raw + 8 * (i + k)) & mask) ^ (next + k * step);
        if (differs)
            break;
    }
    for (; i < end && (load_be64(raw + 8 * i) & mask) == next; next += step)
        i++;
    return i;
}

static uint8_t extent_kind_of(enum qcow2_kind kind)
{
    switch (kind) {
    case QCOW2_KIND_ZERO:
        return EXTENT_ZERO;
    case QCOW2_KIND_DATA:
        return EXTENT_DATA;
    case QCOW2_KIND_COMPRESSED:
        return EXTENT_COMPRESSED;
    case QCOW2_KIND_ABSENT:
        return EXTENT_RESERVED;
    case QCOW2_KIND_MIXED:
    case QCOW2_KIND_BAD:
        break;
    }
    return EXTENT_BAD;
}

/* The guest bytes @clusters, of whose clusters @c is the first and the others continue it. */
static int emit_clusters(const struct sink *sink, const struct qcow2_geometry *g,
                         const struct qcow2_cluster *c, struct qimg_range clusters)
{
    if (c->kind == QCOW2_KIND_ABSENT && c->host_off == QIMG_NO_OFFSET)
        return 0;
    return emit(sink, (struct extent){ .guest_off = clusters.off,
                                       .len = clusters.len,
                                       .host_off = c->host_off,
                                       .packed_len = c->packed_len,
                                       .kind = extent_kind_of(c->kind),
                                       .codec = g->codec });
}

/* Bits of a standard word that need a closer look than "data at this offset". */
static uint64_t special_bits(const struct qcow2_geometry *g)
{
    const uint64_t unaligned = QCOW2_OFFSET_MASK & ((UINT64_C(1) << g->cluster_bits) - 1);

    return g->data_file ? UINT64_MAX : QCOW2_COMPRESSED | QCOW2_ZERO | unaligned;
}

/* qcow2_l2_decode(), with the commonest answer at hand. @raw is not zero. */
static inline struct qcow2_cluster decode_word(uint64_t raw, uint64_t special, uint64_t guest,
                                               const struct qcow2_geometry *g)
{
    if ((raw & special) == 0 && (raw & QCOW2_OFFSET_MASK) != 0)
        return (struct qcow2_cluster){ .kind = QCOW2_KIND_DATA,
                                       .host_off = raw & QCOW2_OFFSET_MASK };
    return qcow2_l2_decode((struct qcow2_l2_entry){ raw, 0 }, guest, g);
}

static int decode_standard(const struct sink *sink, const struct qcow2_geometry *g, uint64_t guest,
                           struct reader words)
{
    const size_t count = words.left / 8;
    const uint64_t mask = qcow2_l2_word_mask(g), special = special_bits(g);
    const unsigned bits = g->cluster_bits;

    for (size_t i = 0; (i = skip_zero_words(words.at, i, count)) < count;) {
        const uint64_t raw = load_be64(words.at + 8 * i), word = raw & mask;
        const uint64_t at = guest + ((uint64_t)i << bits);
        const struct qcow2_cluster c = decode_word(raw, special, at, g);
        size_t next = i + 1;

        if (c.kind == QCOW2_KIND_DATA || c.kind == QCOW2_KIND_ZERO) {
            const uint64_t step = c.host_off == QIMG_NO_OFFSET ? 0 : UINT64_C(1) << bits;
            next =
                skip_series(words.at, next, count, mask, (const uint64_t[2]){ word + step, step });
        }
        TRY(emit_clusters(sink, g, &c, (struct qimg_range){ at, (uint64_t)(next - i) << bits }));
        i = next;
    }
    return 0;
}

static uint8_t subcluster_kind(const struct qcow2_cluster *c, unsigned i)
{
    if (c->zero >> i & 1)
        return EXTENT_ZERO;
    return c->alloc >> i & 1 ? EXTENT_DATA : EXTENT_RESERVED;
}

static int emit_subclusters(const struct sink *sink, const struct qcow2_geometry *g,
                            const struct qcow2_cluster *c, uint64_t guest)
{
    const uint64_t len = UINT64_C(1) << g->subcluster_bits;

    for (unsigned i = 0; i < QCOW2_SUBCLUSTERS; i++) {
        const uint8_t kind = subcluster_kind(c, i);
        const bool placed = c->host_off != QIMG_NO_OFFSET;
        if (kind == EXTENT_RESERVED && !placed)
            continue;
        TRY(emit(sink, (struct extent){ .guest_off = guest + i * len,
                                        .len = len,
                                        .host_off = placed ? c->host_off + i * len : QIMG_NO_OFFSET,
                                        .kind = kind }));
    }
    return 0;
}

static int decode_extended(const struct sink *sink, const struct qcow2_geometry *g, uint64_t guest,
                           struct reader words)
{
    const size_t count = words.left / 16;
    const uint64_t len = UINT64_C(1) << g->cluster_bits;

    for (size_t i = 0; (i = skip_zero_words(words.at, 2 * i, 2 * count) / 2) < count; i++) {
        const struct qcow2_l2_entry e = { load_be64(words.at + 16 * i),
                                          load_be64(words.at + 16 * i + 8) };
        const uint64_t at = guest + i * len;
        const struct qcow2_cluster c = qcow2_l2_decode(e, at, g);

        if (c.kind == QCOW2_KIND_MIXED)
            TRY(emit_subclusters(sink, g, &c, at));
        else
            TRY(emit_clusters(sink, g, &c, (struct qimg_range){ at, len }));
    }
    return 0;
}

/* The words of @table that concern @want, and the guest offset of the first. */
static struct reader words_for(const struct qcow2_geometry *g, const struct table_ref *table,
                               const uint8_t *raw, struct qimg_range want, uint64_t *guest)
{
    const uint64_t first = (want.off - table->guest.off) >> g->cluster_bits;
    const uint64_t last = (range_end(want) - 1 - table->guest.off) >> g->cluster_bits;

    assert(last << g->entry_bits < table->len);
    *guest = table->guest.off + (first << g->cluster_bits);
    return reader_of(raw + (first << g->entry_bits), (last - first + 1) << g->entry_bits);
}

int qcow2_map_decode(const struct image *image, struct qimg_range want,
                     const struct table_ref *table, const uint8_t *raw, struct extent_vec *out)
{
    const struct qcow2 *q = qcow2_of_const(image);
    const struct qcow2_geometry *g = &q->geometry;
    const uint64_t begin = max_u64(want.off, table->guest.off);
    const uint64_t end = min_u64(range_end(want), range_end(table->guest));
    const uint64_t l1_index = table->guest.off >> qcow2_l2_coverage_bits(g);
    uint64_t guest, l2_off;

    if (begin >= end)
        return 0;
    const struct sink sink = { { begin, end - begin }, out };
    if (qcow2_l1_decode(q->l1[l1_index], g, &l2_off) != QCOW2_L1_TABLE)
        return emit(&sink, (struct extent){ .guest_off = begin,
                                            .len = end - begin,
                                            .host_off = QIMG_NO_OFFSET,
                                            .kind = EXTENT_BAD });
    const struct reader words = words_for(g, table, raw, sink.want, &guest);
    return g->extended_l2 ? decode_extended(&sink, g, guest, words)
                          : decode_standard(&sink, g, guest, words);
}

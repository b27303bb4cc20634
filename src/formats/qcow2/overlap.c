/* SPDX-License-Identifier: Apache-2.0
 *
 * Which clusters hold metadata, so that no write ever lands on the wrong kind. Two kinds on one
 * cluster mean that the image is inconsistent; both are kept, so that any write there is refused.
 *
 * What an image claims decides neither time nor memory: clusters whose kinds come and go stand in
 * a hash table, which needs room for each table that is linked, wherever it lies, and none for
 * the gaps between. The L1 tables of snapshots are only looked up, as pieces: 65,536 snapshots may
 * claim terabytes. So are L2 tables that are said to be behind the end of the file: it may grow.
 *
 * Invariants:
 *   (1) groups: open addressing with linear probing; number 0 is a free slot; at most two thirds
 *       of the slots are taken. A group that was taken stays, if with no kinds.
 *   (2) inactive: sorted, disjoint, whole clusters. It stands for the snapshots the image was
 *       opened with: whatever changes these reloads the image.
 *   (3) past_end: sorted. No L1 entry becomes one of these, or ceases to be.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "checked.h"
#include "cleanup.h"
#include "meta_internal.h"

#define FIRST_SLOT_BITS 6

/* --- the hash table ------------------------------------------------------------------------- */

/* What a stranger cannot foresee, so that no image is made of groups that meet in one slot. The
 * kernel gives each process 16 such bytes. */
static uint64_t secret(void)
{
    const void *random = (const void *)getauxval(AT_RANDOM);
    uint64_t value = 0;

    if (random)
        memcpy(&value, random, sizeof(value));
    return value;
}

/* The slot of @group, or the free one where it would be. */
static struct overlap_group *slot_of(const struct overlap_map *map, uint64_t number)
{
    const size_t last = ((size_t)1 << map->slot_bits) - 1;
    uint64_t mixed = (number ^ map->secret) * HASH_FACTOR;

    mixed = (mixed ^ mixed >> 32) * HASH_FACTOR;
    size_t at = (size_t)(mixed >> (64 - map->slot_bits));
    while (map->slots[at].number != 0 && map->slots[at].number != number)
        at = (at + 1) & last;
    return &map->slots[at];
}

static int resize(struct overlap_map *map, unsigned slot_bits)
{
    const struct overlap_map old = *map;
    struct overlap_group *slots = calloc((size_t)1 << slot_bits, sizeof(*slots));

    if (!slots)
        return -ENOMEM;
    map->slots = slots;
    map->slot_bits = slot_bits;
    for (size_t i = 0; old.slots && i < (size_t)1 << old.slot_bits; i++)
        if (old.slots[i].number != 0)
            *slot_of(map, old.slots[i].number) = old.slots[i];
    free(old.slots);
    return 0;
}

/* Group numbers begin with 1. */
static uint64_t group_number(uint64_t cluster)
{
    return cluster / OVERLAP_GROUP + 1;
}

/* The kinds of the group of @cluster, or NULL where it has none. */
static uint8_t *group_find(const struct overlap_map *map, uint64_t cluster)
{
    struct overlap_group *group = slot_of(map, group_number(cluster));

    return group->number ? group->kinds : NULL;
}

static uint8_t *group_make(struct overlap_map *map, uint64_t cluster)
{
    struct overlap_group *group = slot_of(map, group_number(cluster));

    if (group->number)
        return group->kinds;
    if (map->taken + 1 > ((size_t)1 << map->slot_bits) / 3 * 2) {
        if (resize(map, map->slot_bits + 1) < 0)
            return NULL;
        group = slot_of(map, group_number(cluster));
    }
    group->number = group_number(cluster);
    map->taken++;
    return group->kinds;
}

static uint64_t group_end(uint64_t cluster)
{
    return align_down(cluster, OVERLAP_GROUP) + OVERLAP_GROUP;
}

/* --- what lies where ------------------------------------------------------------------------ */

int overlap_note(struct qcow2 *q, struct qimg_range clusters, enum meta_kind kind)
{
    const unsigned bits = q->header.cluster_bits;
    const uint64_t end = range_end(clusters) >> bits;

    for (uint64_t c = clusters.off >> bits; c < end;) {
        uint8_t *kinds = group_make(&q->meta->overlaps, c);
        const uint64_t stop = min_u64(end, group_end(c));
        if (!kinds)
            return -ENOMEM;
        for (; c < stop; c++)
            kinds[c % OVERLAP_GROUP] |= (uint8_t)kind;
    }
    return 0;
}

void overlap_forget(struct qcow2 *q, struct qimg_range clusters)
{
    const unsigned bits = q->header.cluster_bits;
    const uint64_t end = range_end(clusters) >> bits;

    for (uint64_t c = clusters.off >> bits; c < end;) {
        uint8_t *kinds = group_find(&q->meta->overlaps, c);
        const uint64_t stop = min_u64(end, group_end(c));
        for (; kinds && c < stop; c++)
            kinds[c % OVERLAP_GROUP] = 0;
        c = stop;
    }
}

/* Is a table said to be in one of @clusters? */
static bool is_past_end(const struct overlap_map *map, struct qimg_range clusters)
{
    size_t low = 0, high = map->past_end_count; /* the first at or behind their beginning */

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (map->past_end[mid] < clusters.off)
            low = mid + 1;
        else
            high = mid;
    }
    return low < map->past_end_count && map->past_end[low] < range_end(clusters);
}

static unsigned kinds_in(const struct qcow2 *q, struct qimg_range bytes)
{
    const struct overlap_map *map = &q->meta->overlaps;
    const unsigned bits = q->header.cluster_bits;
    const uint64_t end = ((range_end(bytes) - 1) >> bits) + 1;
    unsigned found = pieces_meet(&map->inactive, bytes) ? META_KIND_INACTIVE_L1 : 0;

    if (is_past_end(map, clusters_of(q, bytes)))
        found |= META_KIND_L2;
    for (uint64_t c = bytes.off >> bits; c < end;) {
        const uint8_t *kinds = group_find(map, c);
        const uint64_t stop = min_u64(end, group_end(c));
        for (; kinds && c < stop; c++)
            found |= kinds[c % OVERLAP_GROUP];
        c = stop;
    }
    return found;
}

/* QEMU's words for them, in the order in which it looks for them. */
static const char *kind_name(unsigned kinds)
{
    static const char *const names[] = { "qcow2_header",      "active L1 table", "active L2 table",
                                         "refcount block",    "refcount table",  "snapshot table",
                                         "inactive L1 table", "bitmap directory" };

    return names[__builtin_ctz(kinds)];
}

int overlap_check(struct qcow2 *q, struct qimg_range bytes, unsigned kind)
{
    char why[120];

    assert(bytes.len > 0);
    const unsigned others = kinds_in(q, bytes) & ~kind;
    if (!others)
        return 0;
    (void)snprintf(why, sizeof(why), "Preventing invalid write on metadata (overlaps with %s)",
                   kind_name(others));
    return meta_mark_corrupt(q, why);
}

/* --- open and close ------------------------------------------------------------------------- */

static int note_table(struct qcow2 *q, uint64_t off, uint64_t len, enum meta_kind kind)
{
    return len ? overlap_note(q, clusters_of(q, (struct qimg_range){ off, len }), kind) : 0;
}

/* Nobody has looked at these claims yet. One that begins where no cluster can be, or has no
 * entries, is of no table. */
static int gather_inactive(struct qcow2 *q)
{
    AUTO(range_vec_release) struct range_vec tables = { 0 };

    for (size_t i = 0; i < q->snapshots.count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots.items[i];
        const struct qimg_range l1 = { s->l1_off, (uint64_t)s->l1_count * QCOW2_L1_ENTRY_BYTES };
        if (l1.len && l1.off <= QCOW2_OFFSET_MASK)
            TRY(range_vec_push(&tables, clusters_of(q, l1)));
    }
    return pieces_cut(&tables, &q->meta->overlaps.inactive);
}

static int by_off(const void *a, const void *b)
{
    return compare_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

static int note_l2_tables(struct qcow2 *q)
{
    struct overlap_map *map = &q->meta->overlaps;
    uint64_t off;

    map->past_end = malloc(q->l1_loaded * sizeof(*map->past_end) + 1);
    if (!map->past_end)
        return -ENOMEM;
    for (uint32_t i = 0; i < q->l1_loaded; i++) {
        const enum qcow2_l1_kind kind = qcow2_l1_decode(q->l1[i], &q->geometry, &off);
        if (kind == QCOW2_L1_TABLE)
            TRY(note_table(q, off, 1, META_KIND_L2));
        else if (kind == QCOW2_L1_PAST_END)
            map->past_end[map->past_end_count++] = off;
    }
    qsort(map->past_end, map->past_end_count, sizeof(*map->past_end), by_off);
    return 0;
}

/* As QEMU's default overlap checks know it. */
static int note_all(struct qcow2 *q)
{
    const struct qcow2_header *h = &q->header;
    const struct qcow2_bitmaps_ext *bitmaps = &q->extensions.bitmaps;
    const struct meta *m = q->meta;

    TRY(note_table(q, 0, 1, META_KIND_HEADER));
    TRY(note_table(q, h->l1_off, (uint64_t)h->l1_count * QCOW2_L1_ENTRY_BYTES, META_KIND_L1));
    TRY(note_table(q, h->reftable_off, m->reftable_count * QCOW2_REFTABLE_ENTRY_BYTES,
                   META_KIND_REFTABLE));
    for (uint64_t i = 0; i < m->reftable_count; i++)
        if (is_aligned(m->reftable[i], qcow2_cluster_size(q)))
            TRY(note_table(q, m->reftable[i], m->reftable[i] != 0, META_KIND_REFBLOCK));
    TRY(note_l2_tables(q));
    TRY(note_table(q, h->snapshots_off, q->snapshots_len, META_KIND_SNAPSHOTS));
    if (q->extensions.has_bitmaps)
        TRY(note_table(q, bitmaps->directory_off, bitmaps->directory_len, META_KIND_BITMAPS));
    return gather_inactive(q);
}

int overlap_open(struct qcow2 *q)
{
    q->meta->overlaps.secret = secret();
    TRY(resize(&q->meta->overlaps, FIRST_SLOT_BITS));
    return note_all(q);
}

void overlap_close(struct meta *m)
{
    free(m->overlaps.slots);
    free(m->overlaps.past_end);
    piece_vec_release(&m->overlaps.inactive);
}

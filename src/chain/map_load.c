/* SPDX-License-Identifier: Apache-2.0
 *
 * Resolving one window of a chain. What no layer seen so far has is a sorted list of holes; it
 * starts as the whole window. Layers are taken from the top, and what a layer has leaves the
 * holes; when no hole is left, what lies below is never read. While the page cache has their
 * tables, layers are taken one by one. From the first on that must be waited for, they come in
 * batches of 1, 2, 4, ... whose tables are read together, then decoded in layer order.
 *
 * A layer that ends before the window does has nothing to say beyond its end, and what lies
 * below it is not seen there either: such a hole belongs to the layer above it (as QEMU's map
 * attributes it). Space that a layer only reserves (unallocated subclusters of a cluster that has
 * a place) matters to such holes alone: it is the place that QEMU's map shows for them.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "bytes.h"
#include "checked.h"
#include "map_run.h"
#include "map_tables.h"

#define SECTOR         512u
#define PLANNED_TABLES 4096u

DEFINE_VEC(range_vec, struct qimg_range)

struct loader {
    struct qimg_image *image;
    struct qimg_range window;
    size_t table_cap;
    struct blanks *blanks; /* one a layer */
    struct range_vec holes, spare;
    struct packed_run_vec found; /* in guest order within one layer */
    struct extent_vec extents;   /* of one layer */
    struct table_ref_vec refs;   /* of one layer */
    struct table_batch batch;
    bool cold; /* tables had to be waited for */
};

static void loader_release(struct loader *l)
{
    range_vec_release(&l->holes);
    range_vec_release(&l->spare);
    packed_run_vec_release(&l->found);
    extent_vec_release(&l->extents);
    table_ref_vec_release(&l->refs);
    table_batch_release(&l->batch);
}

/* --- holes ------------------------------------------------------------------------------- */

/* From the first hole's begin to the last one's end, below @limit. */
static struct qimg_range hull(const struct loader *l, uint64_t limit)
{
    if (l->holes.count == 0)
        return (struct qimg_range){ 0 };
    const uint64_t begin = l->holes.items[0].off;
    const uint64_t end = min_u64(range_end(l->holes.items[l->holes.count - 1]), limit);
    return (struct qimg_range){ begin, end > begin ? end - begin : 0 };
}

/* The first hole from index @from on that ends after @off. */
static size_t hole_after(const struct range_vec *holes, size_t from, uint64_t off)
{
    size_t low = from, high = holes->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (range_end(holes->items[middle]) > off)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int keep_holes(struct range_vec *to, const struct qimg_range *from, size_t count)
{
    TRY(range_vec_reserve(to, count));
    if (count)
        memcpy(to->items + to->count, from, count * sizeof(*from));
    to->count += count;
    return 0;
}

/* --- what a layer has ---------------------------------------------------------------------- */

static const uint8_t run_kinds[] = {
    [EXTENT_ZERO] = RUN_ZERO,
    [EXTENT_DATA] = RUN_DATA,
    [EXTENT_COMPRESSED] = RUN_COMPRESSED,
    [EXTENT_BAD] = RUN_BAD,
    [EXTENT_RESERVED] = RUN_UNALLOCATED,
};

/* The part @piece of @e. */
static int add_run(struct loader *l, unsigned layer, const struct extent *e,
                   struct qimg_range piece)
{
    uint64_t host_off = e->host_off;
    if (host_off != QIMG_NO_OFFSET && e->kind != EXTENT_COMPRESSED)
        host_off += piece.off - e->guest_off + l->image->layers[layer].window_off;
    return packed_run_vec_push(&l->found, (struct packed_run){
                                              .guest_off = piece.off,
                                              .host_off = host_off,
                                              .packed_len = e->packed_len,
                                              .layer = (uint16_t)layer,
                                              .kind = run_kinds[e->kind],
                                              .codec = e->codec,
                                          });
}

/* Gives the parts of @e that are holes to @layer. *from is the first hole that may overlap; holes
 * before it are decided (kept or gone). */
static int take_extent(struct loader *l, unsigned layer, const struct extent *e, size_t *from)
{
    const uint64_t end = e->guest_off + e->len;
    size_t i = hole_after(&l->holes, *from, e->guest_off);
    TRY(keep_holes(&l->spare, l->holes.items + *from, i - *from));
    for (; i < l->holes.count; i++) {
        struct qimg_range *hole = &l->holes.items[i];
        const uint64_t hole_end = range_end(*hole);
        if (hole->off >= end)
            break;
        const uint64_t begin = max_u64(hole->off, e->guest_off);
        if (hole->off < begin)
            TRY(range_vec_push(&l->spare, (struct qimg_range){ hole->off, begin - hole->off }));
        const uint64_t stop = min_u64(hole_end, end);
        TRY(add_run(l, layer, e, (struct qimg_range){ begin, stop - begin }));
        if (stop < hole_end) {
            *hole = (struct qimg_range){ stop, hole_end - stop };
            break;
        }
    }
    *from = i;
    return 0;
}

/* From where on nothing below @layer is looked at: what it reserves there is the map's answer. */
static uint64_t last_word_from(const struct loader *l, unsigned layer)
{
    return layer + 1 < l->image->layer_count ? l->image->layers[layer + 1].image->size : 0;
}

/* The part of @e from @off on. */
static struct extent extent_from(struct extent e, uint64_t off)
{
    const uint64_t skip = off > e.guest_off ? min_u64(off - e.guest_off, e.len) : 0;
    e.guest_off += skip;
    e.host_off += skip;
    e.len -= skip;
    return e;
}

/* Takes what l->extents says out of the holes. */
static int take_extents(struct loader *l, unsigned layer)
{
    if (l->extents.count == 0)
        return 0;
    size_t from = 0;
    l->spare.count = 0;
    for (size_t i = 0; i < l->extents.count; i++) {
        struct extent e = l->extents.items[i];
        if (e.kind == EXTENT_RESERVED)
            e = extent_from(e, last_word_from(l, layer));
        if (e.len > 0)
            TRY(take_extent(l, layer, &e, &from));
    }
    TRY(keep_holes(&l->spare, l->holes.items + from, l->holes.count - from));
    const struct range_vec holes = l->holes;
    l->holes = l->spare;
    l->spare = holes;
    return 0;
}

/* Holes past the end of @layer are nobody's: they show as the layer above's. */
static int cut_at_end_of(struct loader *l, unsigned layer)
{
    const uint64_t size = l->image->layers[layer].image->size;
    size_t i = hole_after(&l->holes, 0, size);
    const size_t first = i;
    uint64_t begin = 0;
    for (; i < l->holes.count; i++) {
        const struct qimg_range hole = l->holes.items[i];
        begin = max_u64(hole.off, size);
        TRY(packed_run_vec_push(&l->found, (struct packed_run){
                                               .guest_off = begin,
                                               .host_off = QIMG_NO_OFFSET,
                                               .layer = (uint16_t)(layer - 1),
                                               .kind = RUN_UNALLOCATED,
                                           }));
    }
    if (first == l->holes.count)
        return 0;
    struct qimg_range *cut = &l->holes.items[first];
    const bool keeps_head = cut->off < size;
    if (keeps_head)
        cut->len = size - cut->off;
    l->holes.count = first + keeps_head;
    return 0;
}

/* --- planning ------------------------------------------------------------------------------ */

/* Guest bytes that 4 KiB of an image's tables describe, or more. */
static uint64_t slice_guest(const struct image *image)
{
    return (uint64_t)image->cluster_size * 512;
}

/* A stretch of any length may name tables that say nothing; few of them are in memory at once. */
static int plan_range(struct loader *l, unsigned layer, struct qimg_range want)
{
    const struct image *image = l->image->layers[layer].image;
    const uint64_t most = image->table_span * PLANNED_TABLES;
    while (want.len > 0) {
        const size_t before = l->refs.count;
        const uint64_t len = min_u64(most - want.off % most, want.len);
        TRY(image->ops->map_plan(image, (struct qimg_range){ want.off, len }, &l->refs));
        table_refs_drop_blank(image, &l->blanks[layer], &l->refs, before);
        want.off += len;
        want.len -= len;
    }
    return 0;
}

/* Plans the tables of @layer for all holes; holes that are close share a plan, so that no slice
 * of a table is planned twice. */
static int plan_layer(struct loader *l, unsigned layer)
{
    const struct image *image = l->image->layers[layer].image;
    const uint64_t gap = slice_guest(image);
    l->refs.count = 0;
    for (size_t i = 0; i < l->holes.count;) {
        struct qimg_range want = l->holes.items[i++];
        if (want.off >= image->size)
            break;
        while (i < l->holes.count && l->holes.items[i].off - range_end(want) < gap) {
            want.len = range_end(l->holes.items[i]) - want.off;
            i++;
        }
        TRY(plan_range(l, layer, range_clip(want, image->size)));
    }
    return 0;
}

/* Is there nothing to read for it beforehand: no tables, or tables that live in memory? */
static bool maps_directly(const struct image *image)
{
    return image->writing || !image->ops->map_plan;
}

/* Plans layers from @first on until @batch of them have tables, or the cap is reached. Returns
 * the layer behind the last planned one. */
static int plan_batch(struct loader *l, unsigned first, unsigned batch, unsigned *end)
{
    table_batch_clear(&l->batch);
    unsigned i = first;
    for (unsigned planned = 0; i < l->image->layer_count && planned < batch; i++) {
        const struct image *image = l->image->layers[i].image;
        if (maps_directly(image)) {
            planned++;
            continue;
        }
        TRY(plan_layer(l, i));
        size_t bytes = 0;
        for (size_t k = 0; k < l->refs.count; k++)
            bytes += l->refs.items[k].len;
        if (i > first && l->batch.bytes + bytes > l->table_cap)
            break;
        for (size_t k = 0; k < l->refs.count; k++)
            TRY(table_batch_add(&l->batch, i, &l->refs.items[k]));
        planned += l->refs.count > 0;
    }
    *end = i;
    return 0;
}

/* --- decoding ------------------------------------------------------------------------------ */

/* @raw: the table's bytes; NULL where they could not be read. */
static int decode_table(struct loader *l, unsigned layer, const struct table_ref *ref,
                        const uint8_t *raw, struct qimg_range want)
{
    const struct image *image = l->image->layers[layer].image;
    const size_t before = l->extents.count;
    const uint64_t begin = max_u64(want.off, ref->guest.off);
    const uint64_t end = min_u64(range_end(want), range_end(ref->guest));
    if (begin >= end)
        return 0;
    const struct qimg_range part = { begin, end - begin };
    if (!raw)
        return extent_vec_add(&l->extents, (struct extent){ .guest_off = begin,
                                                            .len = part.len,
                                                            .host_off = QIMG_NO_OFFSET,
                                                            .kind = EXTENT_BAD });
    TRY(image->ops->map_decode(image, part, ref, raw, &l->extents));
    if (l->extents.count == before && bytes_are_zero(raw, ref->len))
        blanks_note(&l->blanks[layer], (struct qimg_range){ ref->host_off, ref->len });
    return 0;
}

/* What an image that is being written knows better than its file. */
static int map_written(struct loader *l, struct image *image, struct qimg_range want)
{
    struct qimg_error unsaid; /* reading there says it */
    const size_t before = l->extents.count;
    const int rc = image->ops->write->map(image, want, &l->extents, &unsaid);
    if (rc >= 0 || rc == -ENOMEM)
        return rc;
    l->extents.count = before;
    return extent_vec_add(&l->extents, (struct extent){ .guest_off = want.off,
                                                        .len = want.len,
                                                        .host_off = QIMG_NO_OFFSET,
                                                        .kind = EXTENT_BAD });
}

/* What the file has at @off of a raw window, at most @len: whole sectors of the window, those that
 * have any data are data. What the file cannot tell is data. */
static struct io_extent window_extent(const struct layer *layer, uint64_t off, uint64_t len)
{
    struct io_extent e = { .off = off, .len = len, .data = true };
    struct io_extent found;
    const uint64_t at = layer->window_off + off;

    if (io_extents(layer->image->file, at, &found) < 0 || found.off > at ||
        found.off + found.len <= at)
        return e;
    const uint64_t there = found.off + found.len - at;
    if (there >= len) {
        e.data = found.data;
        return e;
    }
    e.data = found.data || there < SECTOR;
    e.len = min_u64(e.data ? align_up(there, SECTOR) : align_down(there, SECTOR), len);
    return e;
}

static int map_window(struct loader *l, const struct layer *layer, struct qimg_range want)
{
    while (want.len > 0) {
        struct io_extent e = { .off = want.off, .len = want.len, .data = true };
        if (!layer->image->writing)
            e = window_extent(layer, want.off, want.len);
        TRY(extent_vec_add(&l->extents,
                           (struct extent){ .guest_off = e.off,
                                            .len = e.len,
                                            .host_off = e.off,
                                            .kind = e.data ? EXTENT_DATA : EXTENT_ZERO }));
        want.off += e.len;
        want.len -= e.len;
    }
    return 0;
}

static int map_direct(struct loader *l, unsigned layer, struct qimg_range want)
{
    struct image *image = l->image->layers[layer].image;
    if (l->image->layers[layer].windowed)
        return map_window(l, &l->image->layers[layer], want);
    return image->writing ? map_written(l, image, want)
                          : image->ops->map_direct(image, want, &l->extents);
}

/* *next is the batch's first table not decoded yet; advanced past those of @layer. */
static int resolve_layer(struct loader *l, unsigned layer, size_t *next)
{
    const struct image *image = l->image->layers[layer].image;
    if (layer > 0)
        TRY(cut_at_end_of(l, layer));
    const struct qimg_range want = hull(l, image->size);
    l->extents.count = 0;
    if (maps_directly(image) && want.len > 0)
        TRY(map_direct(l, layer, want));
    for (; *next < l->batch.tables.count; ++*next) {
        const struct batch_table *table = &l->batch.tables.items[*next];
        if (table->layer != layer)
            break;
        TRY(decode_table(l, layer, &table->ref, table_batch_bytes(&l->batch, table), want));
    }
    return take_extents(l, layer);
}

static int resolve_batch(struct loader *l, unsigned first, unsigned batch, unsigned *end)
{
    size_t next = 0;
    TRY(plan_batch(l, first, batch, end));
    TRY(table_batch_read(&l->batch));
    for (unsigned layer = first; layer < *end && l->holes.count > 0; layer++)
        TRY(resolve_layer(l, layer, &next));
    return 0;
}

/* One layer whose tables, if it has any, need not be waited for; -EAGAIN where they must be, with
 * nothing done. One small buffer, used again and again, stays in the processor's cache. */
static int resolve_cached(struct loader *l, unsigned layer)
{
    const struct image *image = l->image->layers[layer].image;
    size_t none = 0;
    table_batch_clear(&l->batch);
    if (maps_directly(image))
        return resolve_layer(l, layer, &none);
    if (l->cold)
        return -EAGAIN;
    TRY(plan_layer(l, layer));
    const struct qimg_range want = hull(l, image->size);
    l->extents.count = 0;
    for (size_t i = 0; i < l->refs.count; i++) {
        const struct table_ref *ref = &l->refs.items[i];
        const uint8_t *raw;
        TRY(table_batch_peek(&l->batch, layer, ref, &raw));
        TRY(decode_table(l, layer, ref, raw, want));
    }
    if (layer > 0)
        TRY(cut_at_end_of(l, layer));
    return take_extents(l, layer);
}

static int resolve_all(struct loader *l)
{
    unsigned batch = 1;
    for (unsigned first = 0, end; first < l->image->layer_count && l->holes.count > 0;
         first = end) {
        end = first + 1;
        const int rc = resolve_cached(l, first);
        if (rc == 0)
            continue;
        if (rc == -ENOMEM)
            return rc;
        l->cold = true;
        TRY(resolve_batch(l, first, batch, &end));
        batch *= 2;
    }
    for (size_t i = 0; i < l->holes.count; i++)
        TRY(packed_run_vec_push(&l->found, (struct packed_run){
                                               .guest_off = l->holes.items[i].off,
                                               .host_off = QIMG_NO_OFFSET,
                                               .layer = (uint16_t)(l->image->layer_count - 1),
                                               .kind = RUN_UNALLOCATED,
                                           }));
    return 0;
}

/* --- the result ---------------------------------------------------------------------------- */

static int by_guest_off(const void *a, const void *b)
{
    const struct packed_run *x = a, *y = b;
    return compare_u64(x->guest_off, y->guest_off);
}

static void sort_runs(struct packed_run_vec *runs)
{
    for (size_t i = 1; i < runs->count; i++)
        if (runs->items[i - 1].guest_off > runs->items[i].guest_off) {
            qsort(runs->items, runs->count, sizeof(runs->items[0]), by_guest_off);
            return;
        }
}

static void merge_runs(struct packed_run_vec *runs)
{
    size_t kept = 0;
    for (size_t i = 1; i < runs->count; i++)
        if (!packed_run_continues(&runs->items[kept], &runs->items[i]))
            runs->items[++kept] = runs->items[i];
    runs->count = kept + 1;
    struct packed_run *fitted = realloc(runs->items, runs->count * sizeof(runs->items[0]));
    if (fitted) {
        runs->items = fitted;
        runs->room = runs->count;
    }
}

int map_load(struct qimg_image *image, struct qimg_range window, size_t table_cap,
             struct blanks *blanks, struct packed_run_vec *out)
{
    struct loader l = {
        .image = image,
        .window = window,
        .table_cap = table_cap,
        .blanks = blanks,
        .batch.image = image,
    };
    assert(window.len > 0 && range_within(window, image->size));
    int rc = range_vec_push(&l.holes, window);
    if (rc == 0)
        rc = resolve_all(&l);
    if (rc == 0) {
        assert(l.found.count > 0);
        sort_runs(&l.found);
        assert(l.found.items[0].guest_off == window.off);
        merge_runs(&l.found);
        *out = l.found;
        l.found = (struct packed_run_vec){ 0 };
    }
    loader_release(&l);
    return rc;
}

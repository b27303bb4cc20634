/* SPDX-License-Identifier: Apache-2.0
 *
 * The merged map's windows: which part of the guest's disk is resolved, for how long it stays,
 * and look-ups in it. Invariants: (1) windows do not overlap and are sorted; (2) a window's runs
 * change only by splices, under the lock; (3) memory of all windows stays within the budget, the
 * one just loaded aside; (4) no window is so large that full fragmentation would take more than
 * a quarter of the budget, so (3) can always be kept; only stretches that no table says anything of
 * are one window each, however long, which goes when splices have brought it more runs than that.
 *
 * Threads: the index is under a read-write lock that is never held during I/O; loads take turns
 * on a mutex of their own, so that reads of what is resolved go on meanwhile.
 */
#include "map.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "bits.h"
#include "checked.h"
#include "cleanup.h"
#include "map_run.h"
#include "map_tables.h"
#include "map_windows.h"
#include "writing.h"

#define WINDOW_MIN     (64 * KiB)
#define TABLE_SLICE    (4 * KiB)  /* of each layer's tables: what the first window asks for */
#define TABLE_LARGEST  (64 * KiB) /* and what the largest does */
#define BARE_TABLES    4096       /* at most so many are looked for at once */
#define RAW_WINDOW     (64 * MiB) /* the same where no layer has tables */
#define RAW_LARGEST    (16 * GiB)
#define TABLES_AT_ONCE (2 * MiB) /* enough to keep a device busy, little enough for the caches */

static_assert(TABLES_AT_ONCE <= LIMIT_TABLE_BATCH, "a batch of tables is bounded");

struct chain_map {
    struct qimg_image *image;
    uint64_t smallest, largest; /* windows, powers of two */
    uint64_t bare_step;         /* guest bytes that no layer has more than BARE_TABLES for */

    pthread_rwlock_t lock; /* of windows */
    struct windows windows;

    pthread_mutex_t loading; /* of what follows, and of loading itself */
    unsigned growth;         /* the next window is smallest << growth */
    uint64_t last_end;       /* of the window loaded last */
    struct blanks *blanks;   /* one a layer: parts of its tables. Under the image's lock as well */
    unsigned blanks_count;

    struct { /* one window being loaded before it is asked for */
        struct work work;
        pthread_mutex_t lock; /* of busy */
        pthread_cond_t idle;
        bool busy;
        uint64_t off;
    } ahead;
};

/* --- sizes ------------------------------------------------------------------------------------ */

static uint64_t pow2_floor(uint64_t n)
{
    return n ? UINT64_C(1) << (63 - __builtin_clzll(n)) : 0;
}

/* Guest bytes that @bytes of an image's tables describe. */
static uint64_t table_guest(const struct image *image, uint64_t bytes)
{
    return bytes / 8 * image->cluster_size;
}

static void choose_sizes(struct chain_map *map)
{
    const struct qimg_image *image = map->image;
    uint64_t unit = UINT64_MAX;
    map->bare_step = UINT64_MAX;
    for (unsigned i = 0; i < image->layer_count; i++) {
        const struct image *layer = image->layers[i].image;
        unit = min_u64(unit, layer->map_unit);
        if (!layer->ops->map_plan)
            continue;
        map->smallest = max_u64(map->smallest, table_guest(layer, TABLE_SLICE));
        map->largest = max_u64(map->largest, table_guest(layer, TABLE_LARGEST));
        map->bare_step = min_u64(map->bare_step, layer->table_span * BARE_TABLES);
    }
    if (map->largest == 0) {
        map->smallest = RAW_WINDOW;
        map->largest = RAW_LARGEST;
    }
    const uint64_t runs = max_u64(map->windows.budget / 4 / sizeof(struct packed_run), 1);
    const uint64_t held = max_u64(pow2_floor(runs) * pow2_floor(unit), WINDOW_MIN); /* (4) */
    map->largest = max_u64(min_u64(map->largest, held), WINDOW_MIN);
    map->smallest = min_u64(max_u64(map->smallest, WINDOW_MIN), map->largest);
    map->windows.most_runs = map->largest / pow2_floor(unit);
}

int chain_map_new(struct qimg_image *image, uint64_t budget, struct chain_map **out)
{
    struct chain_map *map = calloc(1, sizeof(*map));
    if (!map)
        return -ENOMEM;
    map->blanks = calloc(image->layer_count, sizeof(*map->blanks));
    if (!map->blanks) {
        free(map);
        return -ENOMEM;
    }
    map->image = image;
    map->windows.budget = budget;
    map->windows.in_total = &image->context->map_bytes;
    map->blanks_count = image->layer_count;
    pthread_rwlock_init(&map->lock, NULL);
    pthread_mutex_init(&map->loading, NULL);
    pthread_mutex_init(&map->ahead.lock, NULL);
    pthread_cond_init(&map->ahead.idle, NULL);
    choose_sizes(map);
    *out = map;
    return 0;
}

static void await_ahead(struct chain_map *map)
{
    pthread_mutex_lock(&map->ahead.lock);
    while (map->ahead.busy)
        pthread_cond_wait(&map->ahead.idle, &map->ahead.lock);
    pthread_mutex_unlock(&map->ahead.lock);
}

void chain_map_free(struct chain_map *map)
{
    if (!map)
        return;
    await_ahead(map);
    windows_release(&map->windows);
    for (unsigned i = 0; i < map->blanks_count; i++)
        blanks_release(&map->blanks[i]);
    free(map->blanks);
    pthread_rwlock_destroy(&map->lock);
    pthread_mutex_destroy(&map->loading);
    pthread_mutex_destroy(&map->ahead.lock);
    pthread_cond_destroy(&map->ahead.idle);
    free(map);
}

/* --- loading ---------------------------------------------------------------------------------- */

/* The window to load for @off: aligned, between its neighbours. Returns false where @off is
 * resolved already. */
static bool choose_window(struct chain_map *map, uint64_t off, struct qimg_range *out)
{
    const uint64_t size = min_u64(map->smallest << map->growth, map->largest);
    uint64_t begin = align_down(off, size);
    uint64_t end = min_u64(size, map->image->size - begin) + begin;

    pthread_rwlock_rdlock(&map->lock);
    const size_t i = window_after(&map->windows, off);
    const bool missing = i == map->windows.all.count || map->windows.all.items[i]->guest.off > off;
    if (i > 0)
        begin = max_u64(begin, range_end(map->windows.all.items[i - 1]->guest));
    if (i < map->windows.all.count)
        end = min_u64(end, map->windows.all.items[i]->guest.off);
    pthread_rwlock_unlock(&map->lock);
    *out = (struct qimg_range){ begin, end - begin };
    return missing;
}

/* Has no layer a table that says anything of @range? */
static int is_bare(const struct chain_map *map, struct qimg_range range, bool *bare)
{
    const struct qimg_image *image = map->image;
    struct table_ref_vec refs = { 0 };
    int rc = 0;
    *bare = true;
    for (unsigned i = 0; rc == 0 && *bare && i < image->layer_count; i++) {
        struct image *layer = image->layers[i].image;
        const struct qimg_range part = range_clip(range, layer->size);
        if (part.len == 0)
            continue;
        if (!layer->ops->map_plan)
            *bare = false;
        else if (layer->writing)
            *bare = layer->ops->write->bare(layer, part);
        else
            rc = layer->ops->map_plan(layer, part, &refs);
        table_refs_drop_blank(layer, &map->blanks[i], &refs, 0);
        *bare = *bare && refs.count == 0;
    }
    table_ref_vec_release(&refs);
    return rc;
}

/* A disk of a pebibyte may have no table at all: where @guest has none, it goes on as far as there
 * is none, in steps twice as long each time, but never so long that what is found could be many
 * tables. */
static int extend_bare(struct chain_map *map, struct qimg_range *guest)
{
    uint64_t limit = map->image->size;
    bool bare;

    TRY(is_bare(map, *guest, &bare));
    pthread_rwlock_rdlock(&map->lock);
    const size_t next = window_after(&map->windows, guest->off);
    if (next < map->windows.all.count)
        limit = map->windows.all.items[next]->guest.off;
    pthread_rwlock_unlock(&map->lock);
    for (uint64_t step = guest->len; bare && range_end(*guest) < limit; step *= 2) {
        step = min_u64(step, map->bare_step);
        const struct qimg_range more = { range_end(*guest),
                                         min_u64(step, limit - range_end(*guest)) };
        TRY(is_bare(map, more, &bare));
        guest->len += bare ? more.len : 0;
    }
    return 0;
}

/* Windows grow while memory is plenty or the disk is read in order; when windows had to go, the
 * next random miss starts small again. */
static void learn(struct chain_map *map, struct qimg_range loaded, bool evicted)
{
    const bool in_order = loaded.off == map->last_end;
    map->last_end = range_end(loaded);
    if (evicted && !in_order)
        map->growth = 0;
    else if (map->smallest << map->growth < map->largest)
        map->growth += in_order ? 2 : 1;
}

/* Needs map->loading, and the image's lock. */
static int load_window_locked(struct chain_map *map, uint64_t off)
{
    struct qimg_range guest;
    if (!choose_window(map, off, &guest))
        return 0;
    TRY(extend_bare(map, &guest));
    struct window *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->guest = guest;
    bool evicted = false;
    int rc = map_load(map->image, guest, TABLES_AT_ONCE, map->blanks, &w->runs);
    if (rc == 0) {
        pthread_rwlock_wrlock(&map->lock);
        rc = windows_insert(&map->windows, w, &evicted);
        pthread_rwlock_unlock(&map->lock);
    }
    if (rc < 0) {
        window_free(w);
        return rc;
    }
    atomic_fetch_add_explicit(&map->image->context->map_misses, 1, memory_order_relaxed);
    learn(map, guest, evicted);
    return 0;
}

/* Tables of an image that is being written hold still meanwhile. */
static int load_window(struct chain_map *map, uint64_t off)
{
    chain_lock(map->image);
    pthread_mutex_lock(&map->loading);
    const int rc = load_window_locked(map, off);
    pthread_mutex_unlock(&map->loading);
    chain_unlock(map->image);
    return rc;
}

/* --- loading ahead ---------------------------------------------------------------------------- */

/* The first byte from @off on that is not resolved; UINT64_MAX: it had better stay so. */
static uint64_t first_gap(struct chain_map *map, uint64_t off)
{
    const uint64_t far = off + map->largest;
    pthread_rwlock_rdlock(&map->lock);
    const bool memory_is_short = map->windows.bytes > map->windows.budget / 4;
    for (size_t i = window_after(&map->windows, off);
         i < map->windows.all.count && map->windows.all.items[i]->guest.off <= off; i++)
        off = range_end(map->windows.all.items[i]->guest);
    pthread_rwlock_unlock(&map->lock);
    return memory_is_short || off > far || off >= map->image->size ? UINT64_MAX : off;
}

/* A failure is ignored: who asks for the window meets it again. */
static void load_ahead(struct work *work)
{
    struct chain_map *map =
        (struct chain_map *)((char *)work - offsetof(struct chain_map, ahead.work));
    (void)!load_window(map, map->ahead.off);
    pthread_mutex_lock(&map->ahead.lock);
    map->ahead.busy = false;
    pthread_cond_signal(&map->ahead.idle);
    pthread_mutex_unlock(&map->ahead.lock);
}

void chain_map_ahead(struct chain_map *map, uint64_t off)
{
    const uint64_t gap = first_gap(map, off);
    if (gap == UINT64_MAX)
        return;
    pthread_mutex_lock(&map->ahead.lock);
    const bool busy = map->ahead.busy;
    map->ahead.busy = true;
    pthread_mutex_unlock(&map->ahead.lock);
    if (busy)
        return;
    map->ahead.off = gap;
    map->ahead.work.run = load_ahead;
    workers_submit(map->image->context->workers, &map->ahead.work);
}

/* --- changes ---------------------------------------------------------------------------------- */

static void splice_window(struct chain_map *map, size_t i, const struct packed_run_vec *with,
                          uint64_t with_end)
{
    struct window *w = map->windows.all.items[i];
    const uint64_t before = window_bytes(w);
    pthread_rwlock_wrlock(&map->lock);
    if (packed_runs_splice(&w->runs, range_end(w->guest), with, with_end) < 0)
        windows_drop(&map->windows, i);
    else
        windows_changed(&map->windows, i, before);
    pthread_rwlock_unlock(&map->lock);
}

static void reload_part(struct chain_map *map, size_t i, struct qimg_range part)
{
    struct packed_run_vec now = { 0 };
    if (map_load(map->image, part, TABLES_AT_ONCE, map->blanks, &now) == 0) {
        splice_window(map, i, &now, range_end(part));
    } else {
        pthread_rwlock_wrlock(&map->lock);
        windows_drop(&map->windows, i);
        pthread_rwlock_unlock(&map->lock);
    }
    packed_run_vec_release(&now);
}

/* The part of @range in the window @i; nothing where that begins behind it. */
static struct qimg_range part_in(const struct chain_map *map, size_t i, struct qimg_range range)
{
    const struct qimg_range window = map->windows.all.items[i]->guest;
    const uint64_t begin = max_u64(window.off, range.off);
    const uint64_t end = min_u64(range_end(window), range_end(range));
    return (struct qimg_range){ begin, end > begin ? end - begin : 0 };
}

static void keep_budget(struct chain_map *map)
{
    if (map->windows.bytes <= map->windows.budget)
        return;
    pthread_rwlock_wrlock(&map->lock);
    (void)windows_make_room(&map->windows, 0);
    pthread_rwlock_unlock(&map->lock);
}

/* Only here, in loads and in forget() do windows come and go, all under the image's lock: the
 * index may be looked at without map->lock. From the last to the first, as some may be dropped. */
void chain_map_splice(struct chain_map *map, struct qimg_range range)
{
    range = range_clip(range, map->image->size);
    for (size_t i = window_after(&map->windows, range_end(range)) + 1; i-- > 0;) {
        if (i == map->windows.all.count)
            continue;
        const struct qimg_range part = part_in(map, i, range);
        if (part.len > 0)
            reload_part(map, i, part);
        else if (range_end(map->windows.all.items[i]->guest) <= range.off)
            break;
    }
    keep_budget(map);
}

/* Does @w say already what @run, up to @end, says? */
static bool says(const struct window *w, const struct packed_run *run, uint64_t end)
{
    const size_t i = packed_run_at(&w->runs, run->guest_off);
    const struct packed_run *have = &w->runs.items[i];
    const uint64_t have_end =
        i + 1 < w->runs.count ? w->runs.items[i + 1].guest_off : range_end(w->guest);
    return have_end >= end && packed_run_continues(have, run);
}

void chain_map_splice_data(struct chain_map *map, struct qimg_range range, uint64_t host_off)
{
    range = range_clip(range, map->image->size);
    for (size_t i = window_after(&map->windows, range_end(range)) + 1; i-- > 0;) {
        if (i == map->windows.all.count)
            continue;
        const struct qimg_range part = part_in(map, i, range);
        struct packed_run run = { .guest_off = part.off,
                                  .host_off = host_off + (part.off - range.off),
                                  .kind = RUN_DATA };
        const struct packed_run_vec with = { .items = &run, .count = 1 };
        if (part.len > 0 && !says(map->windows.all.items[i], &run, range_end(part)))
            splice_window(map, i, &with, range_end(part));
        else if (range_end(map->windows.all.items[i]->guest) <= range.off)
            break;
    }
    keep_budget(map);
}

void chain_map_forget(struct chain_map *map)
{
    pthread_rwlock_wrlock(&map->lock);
    windows_drop_all(&map->windows);
    for (unsigned i = 0; i < map->blanks_count; i++)
        blanks_forget(&map->blanks[i]);
    map->smallest = map->largest = 0;
    choose_sizes(map);
    pthread_rwlock_unlock(&map->lock);
}

/* --- looking up ----------------------------------------------------------------------------- */

static struct run unpack_run(const struct qimg_image *image, const struct packed_run *packed,
                             struct qimg_range part)
{
    struct run run = { .guest_off = part.off,
                       .len = part.len,
                       .host_off = packed->host_off,
                       .packed_len = packed->packed_len,
                       .layer = packed->layer,
                       .kind = packed->kind,
                       .codec = packed->codec };
    if (packed->kind == RUN_COMPRESSED) {
        const uint32_t cluster = image->layers[packed->layer].image->cluster_size;
        run.skip = (uint32_t)(part.off & (cluster - 1));
    } else if (packed->host_off != QIMG_NO_OFFSET) {
        run.host_off += part.off - packed->guest_off;
    }
    return run;
}

/* Does @b go on where @a stops, so that one run says both? */
static bool goes_on(const struct run *a, const struct run *b)
{
    if (a->kind != b->kind || a->layer != b->layer || a->kind == RUN_COMPRESSED)
        return false;
    if (a->host_off == QIMG_NO_OFFSET || b->host_off == QIMG_NO_OFFSET)
        return a->host_off == b->host_off;
    return a->host_off + a->len == b->host_off;
}

/* Where look-ups put runs. */
struct run_sink {
    struct run *out;
    size_t max, count;
    struct qimg_range left; /* not answered yet */
};

/* Adds what @w says about the rest, while there is room. */
static void take_runs(const struct chain_map *map, const struct window *w, struct run_sink *sink)
{
    for (size_t i = packed_run_at(&w->runs, sink->left.off);
         i < w->runs.count && sink->left.len > 0; i++) {
        const uint64_t run_end =
            i + 1 < w->runs.count ? w->runs.items[i + 1].guest_off : range_end(w->guest);
        const uint64_t len = min_u64(run_end - sink->left.off, sink->left.len);
        const struct run run =
            unpack_run(map->image, &w->runs.items[i], (struct qimg_range){ sink->left.off, len });
        if (sink->count > 0 && goes_on(&sink->out[sink->count - 1], &run)) {
            sink->out[sink->count - 1].len += len;
        } else {
            if (sink->count == sink->max)
                return;
            sink->out[sink->count++] = run;
        }
        sink->left.off += len;
        sink->left.len -= len;
    }
}

/* Answers from what is resolved. Returns false where a window is missing. */
static bool look(struct chain_map *map, struct run_sink *sink)
{
    bool resolved = true;
    pthread_rwlock_rdlock(&map->lock);
    while (sink->left.len > 0 && resolved) {
        struct window *w = window_at(&map->windows, sink->left.off);
        resolved = w != NULL;
        if (!w)
            break;
        const uint64_t tick = atomic_load_explicit(&map->windows.ticks, memory_order_relaxed);
        if (atomic_load_explicit(&w->used, memory_order_relaxed) != tick)
            atomic_store_explicit(&w->used, tick, memory_order_relaxed);
        const uint64_t before = sink->left.off;
        take_runs(map, w, sink);
        if (sink->left.off < range_end(w->guest) || sink->left.off == before)
            break; /* all answered, or no more room */
    }
    pthread_rwlock_unlock(&map->lock);
    return resolved;
}

int chain_map_lookup(struct chain_map *map, struct qimg_range want, struct run *out, size_t max,
                     struct qimg_error *err)
{
    assert(max > 0);
    struct run_sink sink = { out, max, 0, range_clip(want, map->image->size) };
    if (sink.left.len == 0)
        return 0;
    bool missed = false;
    while (!look(map, &sink)) {
        missed = true;
        if (sink.count == max)
            break;
        const int rc = load_window(map, sink.left.off);
        if (rc < 0)
            return rc == -ENOMEM ? qimg_fail_memory(err)
                                 : qimg_fail_errno(err, -rc, "Could not load mapping tables");
    }
    if (!missed)
        atomic_fetch_add_explicit(&map->image->context->map_hits, 1, memory_order_relaxed);
    return (int)sink.count;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A walk over all tables of a stranger's image: are they inside the file, do they overlap, where
 * does the last byte lie that they speak of, and what would reading the whole disk cost?
 *
 * Bounds, whatever the file says: (1) an L2 table is read once however many entries point at it,
 * and counted as often as they do; (2) bytes read are under max_table_bytes, and no more than the
 * file may have, by its length and its storage: else tables overlap, or lie in holes; (3)
 * remembered are at most max_tables places, and a bit for each cluster of the file, under
 * max_map_bytes. What passes one of them is "cost-tables", and the walk ends there.
 *
 * Problems of one kind are reported once: the first one, and how many there are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_walk.h"
#include "base_limits.h"
#include "checked.h"
#include "cleanup.h"

enum problem { OUTSIDE, OVERLAP, DATA_OUTSIDE, DATA_OVERLAP, ENTRIES, PROBLEMS };

static const char *const problem_ids[PROBLEMS] = {
    [OUTSIDE] = "tables-outside",    [OVERLAP] = "tables-overlap",  [DATA_OUTSIDE] = "data-outside",
    [DATA_OVERLAP] = "data-overlap", [ENTRIES] = "entries-corrupt",
};

/* One place of metadata in the file. */
struct place {
    uint64_t off, len;
    const char *what;
};

DEFINE_VEC(place_vec, struct place)

/* An L2 table, and how often the active L1 (and any other) points at it. */
struct l2_ref {
    uint64_t off;
    uint64_t guest_off; /* where the first of them puts it */
    uint32_t active;
    bool in_snapshot;
};

DEFINE_VEC(l2_ref_vec, struct l2_ref)

struct walk {
    struct qcow2 *q;
    const struct audit_request *request;
    struct audit_facts *facts;
    struct place_vec places; /* sorted by off once all are there */
    struct l2_ref_vec tables;
    uint8_t *used; /* a bit for each cluster of the file that active data lies in */
    uint64_t bytes_read;
    uint64_t plausible; /* bytes of tables that the file may have */
    uint64_t clusters;  /* of the file */
    struct {
        uint64_t count;
        char first[256];
    } problems[PROBLEMS];
    bool too_much;
};

static void walk_release(struct walk *w)
{
    place_vec_release(&w->places);
    l2_ref_vec_release(&w->tables);
    free(w->used);
}

PRINTF_LIKE(3, 4)
static void note(struct walk *w, enum problem p, const char *fmt, ...)
{
    va_list args;

    if (w->problems[p].count++ > 0)
        return;
    va_start(args, fmt);
    (void)vsnprintf(w->problems[p].first, sizeof(w->problems[p].first), fmt, args);
    va_end(args);
}

static uint64_t cluster_size(const struct walk *w)
{
    return qcow2_cluster_size(w->q);
}

static uint64_t file_size(const struct walk *w)
{
    return w->q->geometry.file_size;
}

/* --- bounds (2), (3) ------------------------------------------------------------------------ */

/* Some file systems store what they can pack; new tables are holes. */
#define PACKED_MOST 16u
#define NEW_TABLES  (64 * MiB)

static int measure(struct walk *w, struct qimg_error *err)
{
    struct io_stat st;
    const int rc = io_stat(w->q->image.file, &st);

    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not get image size");
    w->plausible = min_u64(file_size(w), NEW_TABLES + PACKED_MOST * st.allocated) + cluster_size(w);
    return 0;
}

static bool may_read(struct walk *w, uint64_t len)
{
    const uint64_t most = w->request->max_table_bytes, file = w->plausible;

    if (len <= min_u64(most, file) - w->bytes_read) {
        w->bytes_read += len;
        return true;
    }
    if (!w->too_much && most <= file)
        audit_tell(w->request, "cost-tables", NULL,
                   "its tables are longer than the %" PRIu64 " bytes that may be read of them",
                   most);
    else if (!w->too_much)
        audit_tell(w->request, "cost-tables", NULL,
                   "its tables are longer than the file, with what is stored of it, can hold");
    w->too_much = true;
    return false;
}

static bool may_keep(struct walk *w, size_t count)
{
    if (count < w->request->max_tables)
        return true;
    if (!w->too_much)
        audit_tell(w->request, "cost-tables", NULL, "it has more than %" PRIu64 " tables",
                   w->request->max_tables);
    w->too_much = true;
    return false;
}

/* --- places --------------------------------------------------------------------------------- */

static bool is_inside(const struct walk *w, struct qimg_range at)
{
    return range_within(at, file_size(w));
}

static int add_place(struct walk *w, struct qimg_range at, const char *what)
{
    if (at.len == 0 || !may_keep(w, w->places.count))
        return 0;
    if (is_inside(w, at))
        w->facts->end = max_u64(w->facts->end, range_end(at));
    else
        note(w, OUTSIDE, "%s at %#" PRIx64 " (%" PRIu64 " bytes) passes the end of the file", what,
             at.off, at.len);
    return place_vec_push(&w->places, (struct place){ at.off, at.len, what });
}

static int by_off(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return x->off != y->off ? compare_u64(x->off, y->off) : compare_u64(x->len, y->len);
}

/* Offsets are whatever the file says: a place that passes 2^64 ends there. */
static uint64_t place_end(const struct place *p)
{
    uint64_t end;

    return add_fits(p->off, p->len, &end) ? end : UINT64_MAX;
}

static void sort_places(struct walk *w)
{
    uint64_t end = 0;
    const char *before = NULL;

    if (w->places.count)
        qsort(w->places.items, w->places.count, sizeof(struct place), by_off);
    for (size_t i = 0; i < w->places.count; i++) {
        const struct place *p = &w->places.items[i];
        if (before && p->off < end)
            note(w, OVERLAP, "%s at %#" PRIx64 " overlaps %s", p->what, p->off, before);
        if (place_end(p) > end) {
            end = place_end(p);
            before = p->what;
        }
    }
}

/* The place that @at touches, or NULL. (Overlapping places were reported before.) */
static const struct place *find_place(const struct walk *w, struct qimg_range at)
{
    size_t low = 0, high = w->places.count;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (place_end(&w->places.items[mid]) <= at.off)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < w->places.count && w->places.items[low].off < at.off + at.len)
        return &w->places.items[low];
    return NULL;
}

/* --- gathering ------------------------------------------------------------------------------ */

static int read_words(struct walk *w, uint64_t off, size_t count, uint64_t **out,
                      struct qimg_error *err)
{
    AUTO_FREE uint64_t *words = malloc(count ? count * 8 : 1);

    if (!words)
        return qimg_fail_memory(err);
    const int rc = io_read_exact(w->q->image.file, off, words, count * 8, NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read a table at %#" PRIx64, off);
    for (size_t i = 0; i < count; i++)
        words[i] = load_be64(&words[i]);
    *out = TAKE(words);
    return 0;
}

static int add_refcount_blocks(struct walk *w, struct qimg_error *err)
{
    const struct qcow2_header *h = &w->q->header;
    const uint64_t len = (uint64_t)h->reftable_clusters << h->cluster_bits;
    const struct qimg_range table = { h->reftable_off, len };
    AUTO_FREE uint64_t *words = NULL;

    if (add_place(w, table, "the refcount table") < 0)
        return qimg_fail_memory(err);
    if (len > LIMIT_QCOW2_REFTABLE_BYTES || !is_inside(w, table) || !may_read(w, len))
        return 0;
    TRY(read_words(w, h->reftable_off, len / 8, &words, err));
    for (size_t i = 0; i < len / 8 && !w->too_much; i++) {
        const uint64_t off = words[i] & QCOW2_REFTABLE_OFFSET_MASK;
        if (off &&
            add_place(w, (struct qimg_range){ off, cluster_size(w) }, "a refcount block") < 0)
            return qimg_fail_memory(err);
    }
    return 0;
}

/* One word of @what, the entry @index of an L1 table. */
static int add_l2(struct walk *w, uint64_t word, uint32_t index, bool active, const char *what)
{
    uint64_t off = 0;
    const enum qcow2_l1_kind kind = qcow2_l1_decode(word, &w->q->geometry, &off);
    const struct l2_ref ref = { .off = off,
                                .guest_off = (uint64_t)index
                                             << qcow2_l2_coverage_bits(&w->q->geometry),
                                .active = active,
                                .in_snapshot = !active };

    if (kind == QCOW2_L1_ABSENT)
        return 0;
    if (kind == QCOW2_L1_TABLE)
        return may_keep(w, w->tables.count) ? l2_ref_vec_push(&w->tables, ref) : 0;
    note(w, kind == QCOW2_L1_UNALIGNED ? ENTRIES : OUTSIDE,
         "entry %" PRIu32 " of %s points at %#" PRIx64 ", %s", index, what, off,
         kind == QCOW2_L1_UNALIGNED ? "which is not aligned" : "past the end of the file");
    return 0;
}

static int add_l1(struct walk *w, uint64_t l1_off, uint32_t l1_count, bool active,
                  struct qimg_error *err)
{
    const uint64_t len = (uint64_t)l1_count * QCOW2_L1_ENTRY_BYTES;
    const struct qimg_range table = { l1_off, len };
    const char *what = active ? "the L1 table" : "a snapshot's L1 table";
    AUTO_FREE uint64_t *words = NULL;

    if (add_place(w, table, what) < 0)
        return qimg_fail_memory(err);
    if (len > LIMIT_QCOW2_L1_BYTES || !is_inside(w, table) || !may_read(w, len))
        return 0;
    TRY(read_words(w, l1_off, l1_count, &words, err));
    for (uint32_t i = 0; i < l1_count && !w->too_much; i++)
        if (add_l2(w, words[i], i, active, what) < 0)
            return qimg_fail_memory(err);
    return 0;
}

static int by_table(const void *a, const void *b)
{
    const struct l2_ref *x = a, *y = b;

    return x->off != y->off ? compare_u64(x->off, y->off) : compare_u64(x->guest_off, y->guest_off);
}

/* (1): one entry a table. */
static int merge_tables(struct walk *w, struct qimg_error *err)
{
    struct l2_ref_vec *t = &w->tables;
    size_t kept = 0;

    if (t->count)
        qsort(t->items, t->count, sizeof(struct l2_ref), by_table);
    for (size_t i = 0; i < t->count; i++) {
        struct l2_ref *last = kept ? &t->items[kept - 1] : NULL;
        if (!last || last->off != t->items[i].off) {
            t->items[kept++] = t->items[i];
            continue;
        }
        last->active += t->items[i].active;
        last->in_snapshot |= t->items[i].in_snapshot;
    }
    t->count = kept;
    for (size_t i = 0; i < kept; i++) {
        if (t->items[i].active > 1)
            note(w, OVERLAP,
                 "%" PRIu32 " entries of the L1 table point at one L2 table, at %#" PRIx64,
                 t->items[i].active, t->items[i].off);
        const struct qimg_range at = { t->items[i].off, cluster_size(w) };
        if (add_place(w, at, "an L2 table") < 0)
            return qimg_fail_memory(err);
    }
    return 0;
}

static int gather(struct walk *w, struct qimg_error *err)
{
    const struct qcow2 *q = w->q;
    const struct qcow2_bitmaps_ext *b = &q->extensions.bitmaps;
    const struct qcow2_crypto_ext *c = &q->extensions.crypto;
    int rc = add_place(w, (struct qimg_range){ 0, min_u64(cluster_size(w), file_size(w)) },
                       "the header's cluster");

    if (rc == 0)
        rc = add_place(w, (struct qimg_range){ q->header.snapshots_off, q->snapshots_len },
                       "the snapshot table");
    if (rc == 0 && q->extensions.has_bitmaps)
        rc = add_place(w, (struct qimg_range){ b->directory_off, b->directory_len },
                       "the bitmap directory");
    if (rc == 0 && q->extensions.has_crypto)
        rc = add_place(w, (struct qimg_range){ c->off, c->len }, "the LUKS header");
    for (size_t i = 0; rc == 0 && i < q->bitmaps.count; i++)
        rc = add_place(w,
                       (struct qimg_range){ q->bitmaps.items[i].table_off,
                                            (uint64_t)q->bitmaps.items[i].table_count * 8 },
                       "a bitmap's table");
    if (rc < 0)
        return qimg_fail_memory(err);
    TRY(add_refcount_blocks(w, err));
    TRY(add_l1(w, q->header.l1_off, q->header.l1_count, true, err));
    w->facts->table_bytes = (uint64_t)q->header.l1_count * QCOW2_L1_ENTRY_BYTES;
    for (size_t i = 0; i < q->snapshots.count && !w->too_much; i++)
        TRY(add_l1(w, q->snapshots.items[i].l1_off, q->snapshots.items[i].l1_count, false, err));
    return merge_tables(w, err);
}

/* --- entries -------------------------------------------------------------------------------- */

static void add_capped(uint64_t *sum, uint64_t more, uint64_t times)
{
    uint64_t product;

    if (!mul_fits(more, times, &product) || !add_fits(*sum, product, sum))
        *sum = UINT64_MAX;
}

/* A second active use of one host cluster is nothing that a writer makes. */
static void use_cluster(struct walk *w, uint64_t host_off)
{
    const uint64_t index = host_off >> w->q->header.cluster_bits;
    uint8_t *byte = &w->used[index / 8];
    const uint8_t bit = (uint8_t)(1u << (index % 8));

    if (*byte & bit)
        note(w, DATA_OVERLAP, "two guest clusters share the host cluster at %#" PRIx64, host_off);
    *byte |= bit;
}

static void audit_range(struct walk *w, struct qimg_range at, const char *what)
{
    const struct place *p = find_place(w, at);

    if (p)
        note(w, OVERLAP, "%s at %#" PRIx64 " overlaps %s", what, at.off, p->what);
    w->facts->end = max_u64(w->facts->end, min_u64(at.off + at.len, file_size(w)));
}

static void audit_data(struct walk *w, const struct l2_ref *ref, const struct qcow2_cluster *c)
{
    const struct qimg_range at = { c->host_off, cluster_size(w) };

    if (c->host_off == QIMG_NO_OFFSET || w->q->geometry.data_file)
        return;
    if (at.off >= file_size(w)) {
        note(w, DATA_OUTSIDE, "a data cluster at %#" PRIx64 " begins past the end of the file",
             at.off);
        return;
    }
    audit_range(w, at, "a data cluster");
    if (ref->active)
        use_cluster(w, at.off);
}

static void audit_entry(struct walk *w, const struct l2_ref *ref, struct qcow2_l2_entry e,
                        uint64_t guest_off)
{
    const struct qcow2_cluster c = qcow2_l2_decode(e, guest_off, &w->q->geometry);
    struct audit_facts *f = w->facts;

    switch (c.kind) {
    case QCOW2_KIND_ABSENT:
        return;
    case QCOW2_KIND_BAD:
        note(w, c.fault == QCOW2_FAULT_PACKED_PAST_END ? DATA_OUTSIDE : ENTRIES,
             "the entry for guest offset %#" PRIx64 " is %#" PRIx64, guest_off, e.word);
        return;
    case QCOW2_KIND_COMPRESSED:
        audit_range(w, (struct qimg_range){ c.host_off, c.packed_len }, "a packed cluster");
        add_capped(&f->packed_bytes, c.packed_len, ref->active);
        add_capped(&f->unpacked_bytes, cluster_size(w), ref->active);
        return;
    case QCOW2_KIND_ZERO:
        audit_data(w, ref, &c);
        return;
    case QCOW2_KIND_DATA:
    case QCOW2_KIND_MIXED:
        audit_data(w, ref, &c);
        if (c.kind == QCOW2_KIND_DATA || c.alloc)
            add_capped(&f->data_bytes, cluster_size(w), ref->active);
        return;
    }
}

static void audit_table(struct walk *w, const struct l2_ref *ref, const uint8_t *raw)
{
    const struct qcow2_geometry *g = &w->q->geometry;
    const uint64_t count = UINT64_C(1) << g->l2_bits;

    add_capped(&w->facts->table_bytes, cluster_size(w), ref->active);
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *at = raw + (i << g->entry_bits);
        const struct qcow2_l2_entry e = { load_be64(at), g->extended_l2 ? load_be64(at + 8) : 0 };
        if (e.word || e.bitmap)
            audit_entry(w, ref, e, ref->guest_off + (i << g->cluster_bits));
    }
}

static int walk_tables(struct walk *w, struct qimg_error *err)
{
    AUTO_FREE uint8_t *raw = malloc(cluster_size(w));

    if (!raw)
        return qimg_fail_memory(err);
    for (size_t i = 0; i < w->tables.count; i++) {
        if (!may_read(w, cluster_size(w)))
            return 0;
        const int rc =
            io_read_exact(w->q->image.file, w->tables.items[i].off, raw, cluster_size(w), NULL);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "Could not read the L2 table at %#" PRIx64,
                                   w->tables.items[i].off);
        audit_table(w, &w->tables.items[i], raw);
    }
    return 0;
}

static int make_map(struct walk *w, struct qimg_error *err)
{
    w->clusters = div_up(file_size(w), cluster_size(w));
    if (w->clusters / 8 >= w->request->max_map_bytes) {
        audit_tell(w->request, "cost-tables", NULL, "its file has %" PRIu64 " clusters",
                   w->clusters);
        w->too_much = true;
        return 0;
    }
    w->used = calloc(1, (size_t)(w->clusters / 8 + 1));
    return w->used ? 0 : qimg_fail_memory(err);
}

static void tell_problems(struct walk *w)
{
    for (size_t p = 0; p < PROBLEMS; p++) {
        const uint64_t more = w->problems[p].count - 1;
        if (w->problems[p].count == 1)
            audit_tell(w->request, problem_ids[p], NULL, "%s", w->problems[p].first);
        else if (w->problems[p].count > 1)
            audit_tell(w->request, problem_ids[p], NULL, "%s (and %" PRIu64 " more)",
                       w->problems[p].first, more);
    }
}

int qcow2_audit_tables(struct qcow2 *q, const struct audit_request *request,
                       struct audit_facts *facts, struct qimg_error *err)
{
    AUTO(walk_release) struct walk w = { .q = q, .request = request, .facts = facts };

    TRY(measure(&w, err));
    TRY(gather(&w, err));
    sort_places(&w);
    if (!w.too_much)
        TRY(make_map(&w, err));
    if (!w.too_much)
        TRY(walk_tables(&w, err));
    tell_problems(&w);
    facts->mapped = !w.too_much;
    return 0;
}

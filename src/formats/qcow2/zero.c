/* SPDX-License-Identifier: Apache-2.0
 *
 * Zeros and discards that are a matter of tables alone. What each means for each kind of cluster,
 * with and without a backing file, in versions 2 and 3 and with subclusters, is QEMU's meaning
 * (docs/formats/qcow2.md has the table).
 */
#include <assert.h>

#include "checked.h"
#include "meta_internal.h"

/* In one call, so that the lock is let go at times. */
#define MOST_CLUSTERS (UINT64_C(1) << 20)
#define MOST_RAW      (16 * MiB) /* of a raw data file, which is zeroed here */

enum action {
    ACTION_NOTHING, /* reads as zeros already, or is left alone */
    ACTION_ENTRY,   /* the entry becomes request.entry */
    ACTION_DATA,    /* the host must write zeros */
};

/* One cluster, or a part of it, and what becomes of its entry. */
struct change {
    struct cluster_view view;
    uint64_t begin, end; /* bytes of the cluster; end may lie behind the image's */
    struct qcow2_l2_entry entry;
    bool frees; /* the old entry's space */
};

static bool holds_space(const struct cluster_view *v)
{
    return v->cluster.host_off != QIMG_NO_OFFSET;
}

/* "Reads as zeros, no space". */
static struct qcow2_l2_entry zero_entry(const struct qcow2 *q)
{
    const struct qcow2_cluster c = { .kind = QCOW2_KIND_ZERO, .host_off = QIMG_NO_OFFSET };

    return qcow2_l2_encode(&c, false, &q->geometry);
}

/* "Reads as zeros", in the space that it has. */
static struct qcow2_l2_entry reserved_entry(const struct qcow2 *q, const struct cluster_view *v)
{
    const struct qcow2_cluster c = { .kind = QCOW2_KIND_ZERO, .host_off = v->cluster.host_off };

    return qcow2_l2_encode(&c, v->entry.word & QCOW2_COPIED, &q->geometry);
}

static enum action settle(struct change *c)
{
    const struct qcow2_l2_entry old = c->view.entry;

    return old.word == c->entry.word && old.bitmap == c->entry.bitmap ? ACTION_NOTHING
                                                                      : ACTION_ENTRY;
}

/* --- zero ----------------------------------------------------------------------------------- */

static enum action zero_whole(const struct qcow2 *q, struct change *c, unsigned flags)
{
    const struct cluster_view *v = &c->view;

    if (q->geometry.v2) {
        if (has_backing(q))
            return ACTION_DATA;
        c->frees = true;
        c->entry = (struct qcow2_l2_entry){ 0 };
        return settle(c);
    }
    c->frees = flags & WRITE_MAY_UNMAP || v->cluster.kind == QCOW2_KIND_COMPRESSED;
    c->entry = c->frees || !holds_space(v) ? zero_entry(q) : reserved_entry(q, v);
    return settle(c);
}

/* A part of a standard cluster: fine if the rest reads as zeros, as far as is known here. */
static enum action zero_part(const struct qcow2 *q, struct change *c)
{
    const enum qcow2_kind kind = c->view.cluster.kind;

    if (kind == QCOW2_KIND_ZERO)
        return ACTION_NOTHING;
    if (kind != QCOW2_KIND_ABSENT || has_backing(q))
        return ACTION_DATA;
    if (q->geometry.v2)
        return ACTION_NOTHING;
    c->frees = true;
    c->entry = zero_entry(q);
    return settle(c);
}

/* Some subclusters. Cuts @c to those of one treatment. A part of one is all of it where the rest
 * reads as zeros, as far as is known here. */
static enum action zero_subclusters(const struct qcow2 *q, struct change *c)
{
    const uint64_t unit = UINT64_C(1) << q->geometry.subcluster_bits;
    uint64_t first = align_up(c->begin, unit), last = align_down(c->end, unit);
    struct qcow2_cluster cluster = c->view.cluster;

    if (cluster.kind == QCOW2_KIND_COMPRESSED)
        return ACTION_DATA;
    if (first != c->begin || first >= last) { /* less than one */
        first = align_down(c->begin, unit);
        last = first + unit;
        c->end = min_u64(c->end, last);
        if (cluster.zero >> (first / unit) & 1)
            return ACTION_NOTHING;
        if (cluster.alloc >> (first / unit) & 1 || has_backing(q))
            return ACTION_DATA;
    } else {
        c->end = last;
    }
    const uint32_t bits = (uint32_t)((UINT64_C(1) << last / unit) - (UINT64_C(1) << first / unit));
    cluster.kind = QCOW2_KIND_MIXED;
    cluster.alloc &= ~bits;
    cluster.zero |= bits;
    c->entry = qcow2_l2_encode(&cluster, c->view.entry.word & QCOW2_COPIED, &q->geometry);
    return settle(c);
}

static enum action zero_action(const struct qcow2 *q, struct change *c, unsigned flags)
{
    /* What lies behind the end of the image is nobody's. */
    const uint64_t cs = qcow2_cluster_size(q);
    const uint64_t whole = min_u64(cs, q->image.size - c->view.guest_off);

    if (c->end == whole)
        c->end = cs;
    if (c->begin == 0 && c->end == cs)
        return zero_whole(q, c, flags);
    return q->geometry.extended_l2 ? zero_subclusters(q, c) : zero_part(q, c);
}

/* --- discard -------------------------------------------------------------------------------- */

static enum action discard_action(const struct qcow2 *q, struct change *c)
{
    const struct cluster_view *v = &c->view;

    if (!has_backing(q) && !holds_space(v))
        return ACTION_NOTHING;
    c->frees = true;
    c->entry = q->geometry.v2 ? (struct qcow2_l2_entry){ 0 } : zero_entry(q);
    return settle(c);
}

/* --- both ----------------------------------------------------------------------------------- */

static struct change change_of(const struct qcow2 *q, uint64_t guest_off, struct qimg_range want)
{
    const uint64_t cs = qcow2_cluster_size(q);
    const uint64_t cluster = align_down(guest_off, cs);

    return (struct change){ .view = { .guest_off = cluster },
                            .begin = guest_off - cluster,
                            .end = min_u64(range_end(want) - cluster, cs) };
}

/* Guest offset behind @c. */
static uint64_t change_end(const struct qcow2 *q, const struct change *c)
{
    return min_u64(c->view.guest_off + c->end, q->image.size);
}

static int check_plans(const struct qcow2 *q, uint64_t cluster)
{
    const struct qimg_range one = { cluster, qcow2_cluster_size(q) };

    return plans_free_until(q, one, false) == cluster ? -EAGAIN : 0;
}

/* Space in an external data file can go at once: both its old content and zeros are right until
 * the entry is durable. */
static void punch_data_file(struct qcow2 *q, const struct change *c)
{
    const uint64_t at = c->view.guest_off;

    if (!holds_space(&c->view))
        return;
    q->meta->data_unsynced = true;
    (void)!io_punch(q->image.data_file, (struct qimg_range){ at, change_end(q, c) - at });
}

static int apply(struct qcow2 *q, const struct change *c)
{
    TRY(l2_entry_set(q, c->view.guest_off, c->entry));
    if (!c->frees)
        return 0;
    if (q->geometry.data_file)
        punch_data_file(q, c);
    return l2_entry_unref(q, c->view.entry, RELEASE_PUNCH);
}

/* Room for dirty tables: the next call flushes. */
static bool enough(const struct qcow2 *q)
{
    return q->meta->dirty.count * q->meta->page_size > META_BUDGET;
}

/* One step of zero(): 1 where it was the last of its treatment. */
static int zero_step(struct qcow2 *q, struct qimg_range want, unsigned flags,
                     struct write_zeroed *out)
{
    struct change c = change_of(q, want.off + out->len, want);

    TRY(check_plans(q, c.view.guest_off));
    TRY(view_cluster(q, c.view.guest_off, &c.view));
    const enum action action = zero_action(q, &c, flags);
    if (out->len > 0 && out->as_data != (action == ACTION_DATA))
        return 1;
    if (action == ACTION_ENTRY)
        TRY(apply(q, &c));
    out->as_data = action == ACTION_DATA;
    out->len = min_u64(change_end(q, &c), range_end(want)) - want.off;
    return 0;
}

/* A raw data file must say so itself, and durably before the tables do. */
static int zero_raw(struct qcow2 *q, struct qimg_range *want, unsigned flags)
{
    if (!(q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
        return 0;
    want->len = min_u64(want->len, align_up(want->off + 1, MOST_RAW) - want->off);
    qcow2_bitmaps_record(q, *want);
    q->meta->data_unsynced = true;
    return io_zero(q->image.data_file, *want, flags & WRITE_MAY_UNMAP);
}

int qcow2_zero(struct image *image, struct qimg_range want, unsigned flags,
               struct write_zeroed *out, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    int rc = 0;

    assert(want.len > 0 && range_within(want, image->size));
    TRY(write_enter(q, err));
    *out = (struct write_zeroed){ 0 };
    rc = zero_raw(q, &want, flags);
    for (uint64_t i = 0; rc == 0 && out->len < want.len && i < MOST_CLUSTERS && !enough(q); i++)
        rc = zero_step(q, want, flags, out);
    if (!out->as_data && out->len > 0)
        qcow2_bitmaps_record(q, (struct qimg_range){ want.off, out->len });
    return out->len > 0 ? 0 : write_result(q, rc, "write", err);
}

static int discard_cluster(struct qcow2 *q, uint64_t guest_off, struct qimg_range want)
{
    struct change c = change_of(q, guest_off, want);

    TRY(check_plans(q, guest_off));
    TRY(view_cluster(q, guest_off, &c.view));
    return discard_action(q, &c) == ACTION_ENTRY ? apply(q, &c) : 0;
}

/* The whole clusters of @want; one that the end of the image cuts is whole. */
static struct qimg_range whole_clusters(const struct qcow2 *q, struct qimg_range want)
{
    const uint64_t cs = qcow2_cluster_size(q), begin = align_up(want.off, cs);
    uint64_t end = range_end(want);

    if (end != q->image.size)
        end = align_down(end, cs);
    return (struct qimg_range){ begin, end > begin ? end - begin : 0 };
}

int qcow2_discard(struct image *image, struct qimg_range want, uint64_t *done,
                  struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    const struct qimg_range whole = whole_clusters(q, want);
    const uint64_t cs = qcow2_cluster_size(q);
    uint64_t at = whole.off, count = 0;
    int rc = 0;

    assert(want.len > 0 && range_within(want, image->size));
    TRY(write_enter(q, err));
    *done = want.len;
    if (whole.len == 0 || (q->geometry.v2 && has_backing(q)))
        return 0;
    for (; rc == 0 && at < range_end(whole) && count < MOST_CLUSTERS && !enough(q); count++) {
        rc = discard_cluster(q, at, whole);
        if (rc == 0)
            at += cs;
    }
    if (at == whole.off && rc < 0)
        return write_result(q, rc, "discard", err);
    if (at < range_end(whole))
        *done = at - want.off;
    qcow2_bitmaps_record(q, (struct qimg_range){ want.off, *done });
    return 0;
}

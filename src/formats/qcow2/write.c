/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest writes: where the bytes go, what must be filled around them, and the new links once they
 * are there. A plan takes consecutive clusters that need the same:
 *   IN_PLACE  the host cluster is ours alone and has data in all (sub)clusters touched
 *   RELINK    it is ours, but the entry says zeros or nothing for some of them
 *   ALLOC     there is none, or a snapshot shares it, or it is packed
 * With an external data file the host cluster is always there: the one with the guest's offset.
 *
 * Plans under way are in a list. Until a plan is committed or aborted nobody else may change the
 * entries of its clusters; plans in place tolerate each other. So the entry that commit replaces
 * is the one that begin saw.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checked.h"
#include "meta_internal.h"

#define MOST_CLUSTERS (UINT64_C(1) << 20) /* in one plan */

/* --- entries --------------------------------------------------------------------------------- */

static int bad_entry(struct qcow2 *q, const struct cluster_view *v)
{
    char why[120];

    if (v->cluster.fault != QCOW2_FAULT_UNALIGNED && v->cluster.fault != QCOW2_FAULT_NOT_IDENTITY)
        return -EIO;
    snprintf(why, sizeof(why),
             "Cluster allocation offset %#" PRIx64 " unaligned (guest offset: %#" PRIx64 ")",
             v->entry.word & QCOW2_OFFSET_MASK, v->guest_off);
    return meta_mark_corrupt(q, why);
}

int view_cluster(struct qcow2 *q, uint64_t guest_off, struct cluster_view *out)
{
    *out = (struct cluster_view){ .guest_off = guest_off };
    TRY(l2_entry_get(q, guest_off, &out->entry));
    out->cluster = qcow2_l2_decode(out->entry, guest_off, &q->geometry);
    out->copied = q->geometry.data_file || out->entry.word & QCOW2_COPIED;
    if (out->cluster.kind != QCOW2_KIND_BAD)
        return 0;
    return bad_entry(q, out);
}

/* --- plans under way ------------------------------------------------------------------------ */

void plan_add(struct qcow2 *q, struct write_plan *plan)
{
    plan->next = q->meta->plans;
    plan->link = &q->meta->plans;
    if (plan->next)
        plan->next->link = &plan->next;
    q->meta->plans = plan;
}

static void plan_remove(struct write_plan *plan)
{
    *plan->link = plan->next;
    if (plan->next)
        plan->next->link = plan->link;
    plan->next = NULL;
    plan->link = NULL;
}

uint64_t plans_free_until(const struct qcow2 *q, struct qimg_range clusters, bool map_only)
{
    uint64_t end = range_end(clusters);

    for (const struct write_plan *p = q->meta->plans; p; p = p->next) {
        if (map_only && p->how == WRITE_IN_PLACE)
            continue;
        if (p->clusters.off < end && range_end(p->clusters) > clusters.off)
            end = max_u64(p->clusters.off, clusters.off);
    }
    return end;
}

/* --- one cluster ---------------------------------------------------------------------------- */

/* The part of a cluster that is asked for, in bytes from its start: 0 <= begin < end <= size. */
struct part {
    uint64_t begin, end;
};

static struct part part_of(const struct qcow2 *q, uint64_t guest_off, struct qimg_range want)
{
    const uint64_t cs = qcow2_cluster_size(q);

    return (struct part){ max_u64(want.off, guest_off) - guest_off,
                          min_u64(range_end(want) - guest_off, cs) };
}

/* Bits of the subclusters that @part touches. */
static uint32_t subcluster_bits(const struct qcow2 *q, struct part part)
{
    const unsigned bits = q->geometry.subcluster_bits;
    const uint64_t first = part.begin >> bits, last = (part.end - 1) >> bits;

    return (uint32_t)((UINT64_C(2) << last) - (UINT64_C(1) << first));
}

static bool has_host(const struct cluster_view *v)
{
    return v->cluster.host_off != QIMG_NO_OFFSET && v->cluster.kind != QCOW2_KIND_COMPRESSED;
}

static enum write_how how_to_write(const struct qcow2 *q, const struct cluster_view *v,
                                   struct part part)
{
    if (v->cluster.kind == QCOW2_KIND_DATA)
        return v->copied ? WRITE_IN_PLACE : WRITE_ALLOC;
    if (q->geometry.data_file || (has_host(v) && v->copied)) {
        const uint32_t touched = subcluster_bits(q, part);
        if (v->cluster.kind == QCOW2_KIND_MIXED && (v->cluster.alloc & touched) == touched)
            return WRITE_IN_PLACE;
        return WRITE_RELINK;
    }
    return WRITE_ALLOC;
}

/* Where the plan's bytes must begin and end in this cluster, so that all subclusters that will be
 * linked are whole. */
static struct part whole_part(const struct qcow2 *q, const struct cluster_view *v,
                              enum write_how how, struct part part)
{
    const uint64_t unit = UINT64_C(1) << q->geometry.subcluster_bits;
    const uint64_t cs = qcow2_cluster_size(q);
    uint32_t alloc = v->cluster.alloc;

    if (how == WRITE_IN_PLACE)
        return part;
    if (!q->geometry.extended_l2 || v->cluster.kind == QCOW2_KIND_COMPRESSED)
        return (struct part){ 0, cs };
    struct part out = { align_down(part.begin, unit), align_up(part.end, unit) };
    if (how == WRITE_RELINK) { /* what has data already needs no filling */
        if (alloc >> (part.begin / unit) & 1)
            out.begin = part.begin;
        if (alloc >> ((part.end - 1) / unit) & 1)
            out.end = part.end;
        return out;
    }
    if (alloc) { /* shared data moves along */
        out.begin = min_u64(out.begin, (uint64_t)__builtin_ctz(alloc) * unit);
        out.end = max_u64(out.end, (uint64_t)(32 - __builtin_clz(alloc)) * unit);
    }
    return out;
}

static enum write_fill fill_of(const struct qcow2 *q, const struct cluster_view *v, bool fresh)
{
    const enum qcow2_kind kind = v->cluster.kind;
    const bool zeros = kind == QCOW2_KIND_ZERO || (kind == QCOW2_KIND_ABSENT && !has_backing(q));

    if (!zeros)
        return WRITE_FILL_OLD;
    return fresh ? WRITE_FILL_NONE : WRITE_FILL_ZEROS;
}

static struct write_edge edge_of(uint64_t len, enum write_fill fill)
{
    if (len == 0 || fill == WRITE_FILL_NONE)
        return (struct write_edge){ 0, WRITE_FILL_NONE };
    return (struct write_edge){ len, fill };
}

/* --- begin ---------------------------------------------------------------------------------- */

/* Clusters that a plan may take: the same treatment, one behind the other on the host. */
struct run {
    struct cluster_view first, last;
    uint64_t count, host_off;
    enum write_how how;
};

static int find_run(struct qcow2 *q, struct qimg_range want, struct run *run)
{
    const uint64_t cs = qcow2_cluster_size(q);
    const uint64_t begin = align_down(want.off, cs);
    const uint64_t end = align_up(range_end(want), cs);

    run->count = 0;
    for (uint64_t at = begin; at < end && run->count < MOST_CLUSTERS; at += cs) {
        struct cluster_view v;
        const int rc = view_cluster(q, at, &v);
        if (rc < 0 && run->count > 0)
            return 0; /* the next plan will say so */
        TRY(rc);
        const enum write_how how = how_to_write(q, &v, part_of(q, at, want));
        const uint64_t host = q->geometry.data_file ? at : v.cluster.host_off;
        if (run->count == 0) {
            *run = (struct run){ .first = v, .how = how, .host_off = host };
        } else if (how != run->how ||
                   (how != WRITE_ALLOC && host != run->host_off + run->count * cs)) {
            return 0;
        }
        run->last = v;
        run->count++;
    }
    return 0;
}

/* Cuts @run behind @count clusters. */
static int run_cut(struct qcow2 *q, struct run *run, uint64_t count)
{
    if (count >= run->count)
        return 0;
    run->count = count;
    return view_cluster(q, run->first.guest_off + (count - 1) * qcow2_cluster_size(q), &run->last);
}

/* Takes away what plans under way hold. */
static int run_avoid_plans(struct qcow2 *q, struct run *run)
{
    const uint64_t cs = qcow2_cluster_size(q);
    const struct qimg_range clusters = { run->first.guest_off, run->count * cs };
    const uint64_t end = plans_free_until(q, clusters, run->how == WRITE_IN_PLACE);

    if (end == clusters.off)
        return -EAGAIN;
    return run_cut(q, run, (end - clusters.off) / cs);
}

/* Tables first, so that commit needs no space. */
static int prepare_tables(struct qcow2 *q, const struct run *run)
{
    const uint64_t coverage = UINT64_C(1) << qcow2_l2_coverage_bits(&q->geometry);
    const uint64_t end = run->last.guest_off + 1;

    for (uint64_t at = run->first.guest_off; at < end; at = align_down(at, coverage) + coverage)
        TRY(l2_table_prepare(q, at));
    return 0;
}

/* Fills in what the caller needs, and what commit will. */
static void plan_fill(struct qcow2 *q, const struct run *run, struct qimg_range want, bool fresh,
                      struct write_plan *plan)
{
    const uint64_t cs = qcow2_cluster_size(q), first = run->first.guest_off;
    const uint64_t last = run->last.guest_off;
    const uint64_t end = min_u64(range_end(want), last + cs);
    const struct qimg_range guest = { want.off, end - want.off };
    const struct part head = whole_part(q, &run->first, run->how, part_of(q, first, guest));
    const struct part tail = whole_part(q, &run->last, run->how, part_of(q, last, guest));
    uint64_t tail_end = last + tail.end;

    if (q->geometry.data_file) /* it is as long as the disk, to the byte */
        tail_end = max_u64(end, min_u64(tail_end, q->image.size));
    *plan = (struct write_plan){
        .guest = guest,
        .host_off = run->host_off + (guest.off - first),
        .head = edge_of(guest.off - (first + head.begin), fill_of(q, &run->first, fresh)),
        .tail = edge_of(tail_end - end, fill_of(q, &run->last, fresh)),
        .in_place = run->how == WRITE_IN_PLACE,
        .clusters = { first, run->count * cs },
        .host_cluster = run->host_off,
        .how = (uint8_t)run->how,
    };
    const uint64_t linked = first + head.begin;
    plan->linked =
        range_clip((struct qimg_range){ linked, last + tail.end - linked }, q->image.size);
}

static int begin_run(struct qcow2 *q, struct qimg_range want, struct run *run, bool *fresh)
{
    const uint64_t cs = qcow2_cluster_size(q);
    uint64_t got = 0;

    *fresh = false;
    TRY(find_run(q, want, run));
    TRY(run_avoid_plans(q, run));
    if (run->how != WRITE_IN_PLACE)
        TRY(prepare_tables(q, run));
    if (run->how == WRITE_ALLOC) {
        TRY(clusters_alloc_upto(q, run->count, &run->host_off, &got));
        *fresh = clusters_fresh(q, run->host_off);
        return run_cut(q, run, got);
    }
    if (q->geometry.data_file)
        return 0;
    return overlap_check(q, (struct qimg_range){ run->host_off, run->count * cs }, 0);
}

int write_enter(struct qcow2 *q, struct qimg_error *err)
{
    assert(q->meta);
    if (meta_failed(q) < 0)
        return write_result(q, meta_failed(q), "write", err);
    return meta_make_room(q, err);
}

int write_result(struct qcow2 *q, int rc, const char *what, struct qimg_error *err)
{
    const char *corruption = meta_corruption(q);

    if (rc >= 0)
        return rc;
    if (corruption)
        return qimg_fail(err, -rc, "%s", corruption);
    return qimg_fail_errno(err, -rc, "%s failed", what);
}

int qcow2_write_begin(struct image *image, struct qimg_range want, struct write_plan *plan,
                      struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    struct run run;
    bool fresh;

    assert(want.len > 0 && range_within(want, image->size));
    TRY(write_enter(q, err));
    const int rc = begin_run(q, want, &run, &fresh);
    if (rc < 0)
        return write_result(q, rc, "write", err);
    plan_fill(q, &run, want, fresh, plan);
    plan_add(q, plan);
    return 0;
}

/* --- commit --------------------------------------------------------------------------------- */

/* What the entry of the cluster at @v becomes when @plan's bytes are there. */
static struct qcow2_l2_entry entry_after(const struct qcow2 *q, const struct cluster_view *v,
                                         const struct write_plan *plan)
{
    struct qcow2_cluster c = { .kind = QCOW2_KIND_DATA,
                               .host_off =
                                   plan->host_cluster + (v->guest_off - plan->clusters.off) };

    if (q->geometry.extended_l2) {
        const struct part part = whole_part(q, v, plan->how, part_of(q, v->guest_off, plan->guest));
        const uint32_t written = subcluster_bits(q, part);
        c.kind = QCOW2_KIND_MIXED;
        c.alloc = written | (plan->how == WRITE_RELINK ? v->cluster.alloc : 0);
        c.zero = v->cluster.kind == QCOW2_KIND_COMPRESSED ? 0 : v->cluster.zero & ~written;
    }
    return qcow2_l2_encode(&c, true, &q->geometry);
}

static int link_cluster(struct qcow2 *q, const struct write_plan *plan, uint64_t guest_off)
{
    struct cluster_view v;

    TRY(view_cluster(q, guest_off, &v));
    TRY(l2_entry_set(q, guest_off, entry_after(q, &v, plan)));
    return plan->how == WRITE_ALLOC ? l2_entry_unref(q, v.entry, RELEASE_KEEP) : 0;
}

static int link_packed(struct qcow2 *q, const struct write_plan *plan)
{
    const struct qcow2_cluster c = { .kind = QCOW2_KIND_COMPRESSED,
                                     .host_off = plan->host_off,
                                     .packed_len = plan->packed_len };

    return l2_entry_set(q, plan->clusters.off, qcow2_l2_encode(&c, false, &q->geometry));
}

/* Gives back the host clusters of @plan from guest cluster @from on. */
static void give_back(struct qcow2 *q, const struct write_plan *plan, uint64_t from)
{
    const uint64_t done = from - plan->clusters.off;

    if (plan->how == WRITE_ALLOC)
        clusters_cancel(
            q, (struct qimg_range){ plan->host_cluster + done, plan->clusters.len - done });
    if (plan->how == WRITE_PACKED && done == 0)
        clusters_cancel(q, clusters_of(q, (struct qimg_range){ plan->host_off, plan->packed_len }));
}

static int link_all(struct qcow2 *q, const struct write_plan *plan)
{
    const uint64_t cs = qcow2_cluster_size(q);

    if (plan->how == WRITE_IN_PLACE)
        return 0;
    for (uint64_t at = plan->clusters.off; at < range_end(plan->clusters); at += cs) {
        const int rc = plan->how == WRITE_PACKED ? link_packed(q, plan) : link_cluster(q, plan, at);
        if (rc < 0) {
            give_back(q, plan, at);
            return rc;
        }
    }
    return 0;
}

int qcow2_write_commit(struct image *image, struct write_plan *plan, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);

    q->meta->data_unsynced = true;
    plan_remove(plan);
    int rc = meta_failed(q);
    qcow2_bitmaps_record(q, plan->guest); /* of a failure a part may be linked all the same */
    if (rc == 0)
        rc = link_all(q, plan);
    return rc < 0 ? write_result(q, rc, "write", err) : 0;
}

void qcow2_write_abort(struct image *image, struct write_plan *plan)
{
    struct qcow2 *q = qcow2_of(image);

    q->meta->data_unsynced = true; /* some of it may be there */
    plan_remove(plan);
    if (meta_failed(q) == 0)
        give_back(q, plan, plan->clusters.off);
}

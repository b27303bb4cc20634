/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of check or repair, from the snapshot table to the bits of the header, and how findings
 * are reported. Which step comes when is QEMU's order (check.h); how repair keeps the image safe at
 * every moment is in repair.c.
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"

#define FOUND_AT_ONCE 65536u /* findings kept in memory to be explained */
#define QUEUE_DEPTH   64u

static const struct {
    const char *id, *structure, *mend;
    enum qimg_check_severity severity;
} problems[] = {
#define PROBLEM_ROW(name, id, severity, structure, text, mend) \
    [PROBLEM_##name] = { id, structure, mend, QIMG_CHECK_##severity },
    PROBLEMS(PROBLEM_ROW)
#undef PROBLEM_ROW
};

/* --- telling -------------------------------------------------------------------------------- */

static void tell(const struct check *c, const struct found *f)
{
    const struct qimg_check_finding finding = {
        .id = problems[f->problem].id,
        .severity = problems[f->problem].severity,
        .repaired = f->repaired,
        .text = f->text ? f->text : "out of memory",
        .structure = problems[f->problem].structure,
        .mend = problems[f->problem].mend,
        .host_off = f->host_off,
        .guest = f->guest,
        .by_program = f->problem == PROBLEM_SNAPSHOT_TABLE || f->problem == PROBLEM_SNAPSHOT_READ ||
                      f->problem == PROBLEM_REBUILD_FAILED,
    };

    c->request->finding(c->request->user, &finding);
}

/* Explains the findings that were kept back, and reports them. */
static int tell_found(struct check *c)
{
    const int rc = c->found.count ? check_explain(c) : 0;

    for (size_t i = 0; i < c->found.count; i++) {
        tell(c, &c->found.items[i]);
        free(c->found.items[i].text);
    }
    c->found.count = 0;
    return rc;
}

void check_report(struct check *c, enum problem problem, struct place place, bool repaired,
                  const char *fmt, ...)
{
    struct found f = {
        .problem = problem, .repaired = repaired, .host_off = place.host_off, .guest = place.guest
    };
    char text[1024];
    va_list ap;

    c->heard++;
    if (c->silent || !c->request->finding)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    f.guest.len =
        f.guest.off < c->q->image.size ? min_u64(f.guest.len, c->q->image.size - f.guest.off) : 0;
    f.text = text;
    if (c->request->explain) {
        f.text = strdup(text);
        if (f.text && found_vec_push(&c->found, f) == 0) {
            /* A walk within a walk: each has its own tables. */
            if (c->found.count >= FOUND_AT_ONCE)
                (void)!tell_found(c);
            return;
        }
        free(f.text);
        f.text = text;
    }
    tell(c, &f);
}

/* --- refcounts ------------------------------------------------------------------------------ */

/* What refers to what before anything is mended: so that no table is written that is also the
 * guest's data. Counts what was looked at, and the refcount blocks, whose turn to be told of comes
 * later. */
static int keep_before(struct check *c)
{
    struct qimg_check_result *const res = c->res;
    struct qimg_check_result found = { 0 };
    const bool silent = c->silent, fix_errors = c->fix_errors;
    const uint64_t heard = c->heard;
    const size_t hot = c->hot.count;
    struct counts mem = c->mem;

    TRY(counts_copy(&mem, &c->mem));
    c->res = &found;
    c->silent = true;
    c->fix_errors = false;
    const int rc = check_blocks(c);
    c->res = res;
    c->silent = silent;
    c->fix_errors = fix_errors;
    c->heard = heard;
    c->hot.count = hot;
    c->rebuild = false;
    c->before = c->mem;
    c->mem = mem;
    return rc;
}

/* Reports what the look heard; what was mended by that is looked at again. */
static int tell_heard(struct check *c)
{
    const uint64_t mends = c->mends;

    TRY(check_tell(c));
    TRY(mender_flush(&c->mender));
    if (c->mends == mends && !c->extended)
        return 0;
    if (c->extended)
        TRY(check_load_counts(c));
    c->extended = false;
    return check_look(c);
}

/* Counts all references in mem, and reports what is wrong with them. */
static int count_all(struct check *c)
{
    c->suspects = 0;
    TRY(check_look(c));
    if (c->fix_leaks && !c->before.cells)
        TRY(keep_before(c));
    if (c->heard || c->hot.count)
        TRY(tell_heard(c));
    TRY(check_hot_clip(c));
    c->phase = CHECK_COUNTING;
    TRY(check_blocks(c));
    TRY(mender_flush(&c->mender));
    if (!c->extended)
        return 0;
    c->extended = false;
    return check_load_counts(c);
}

static uint64_t all_count_bytes(const struct check *c)
{
    return counts_bytes(&c->mem) + counts_bytes(&c->disk) + counts_bytes(&c->before);
}

/* What the new structures replaced is not referred to any more: given back. */
static int free_replaced(struct check *c, uint64_t *highest, struct qimg_check_result *fresh)
{
    struct qimg_check_result *const res = c->res;
    const bool fix_errors = c->fix_errors;

    c->res = fresh;
    c->fix_errors = false;
    c->rebuild = false;
    const int rc = check_compare(c, true, highest);
    c->res = res;
    c->fix_errors = fix_errors;
    return rc;
}

static int count_again(struct check *c)
{
    const bool fix_errors = c->fix_errors;

    c->fix_errors = false; /* it is reported again, not mended again */
    c->rebuild = false;
    counts_release(&c->before); /* what was replaced stands in nobody's way any more */
    int rc = check_load_counts(c);
    if (rc == 0)
        rc = count_all(c);
    c->fix_errors = fix_errors;
    return rc;
}

/* Learns the length of the file. */
static int measure(struct check *c)
{
    struct io_stat st;

    TRY(io_stat(c->q->image.file, &st));
    c->file_size = st.size;
    c->q->geometry.file_size = st.size;
    return 0;
}

static int rebuild(struct check *c, uint64_t *highest)
{
    const struct qimg_check_result before = *c->res;
    struct qimg_check_result fresh = { 0 };
    struct qimg_error err;

    qimg_error_clear(&err);
    REPORT(c, REBUILDING, AT(c->q->header.reftable_off), true);
    const int rc = repair_rebuild(c, false, &err);
    if (rc < 0) {
        REPORT(c, REBUILD_FAILED, NOWHERE, false, err.text);
        c->res->check_errors++;
        return rc;
    }
    c->res->corruptions = 0;
    c->res->leaks = 0;
    TRY(measure(c));
    TRY(count_again(c));
    TRY(free_replaced(c, highest, &fresh));
    if (c->rebuild)
        REPORT(c, STILL_BROKEN, NOWHERE, false);
    if (c->res->corruptions < before.corruptions)
        c->res->corruptions_fixed += before.corruptions - c->res->corruptions;
    if (c->res->leaks < before.leaks)
        c->res->leaks_fixed += before.leaks - c->res->leaks;
    c->res->leaks += fresh.leaks;
    return 0;
}

static int mend_in_place(struct check *c, const struct qimg_check_result *before, uint64_t *highest)
{
    if (c->rebuild) {
        REPORT(c, NEEDS_REBUILD, AT(c->q->header.reftable_off), false);
        c->res->check_errors++;
        return -EIO;
    }
    if (c->two_in_one || (!c->res->leaks && !c->res->corruptions))
        return 0;
    *c->res = *before;
    return check_compare(c, true, highest);
}

static int check_refcounts(struct check *c)
{
    struct qimg_check_result before;
    uint64_t highest = 0;

    c->res->total_clusters = div_up(c->q->image.size, qcow2_cluster_size(c->q));
    int rc = check_load_counts(c);
    if (rc < 0) {
        c->res->check_errors++;
        return rc;
    }
    TRY(count_all(c));
    before = *c->res;
    TRY(check_compare(c, false, &highest));
    if (c->fix_errors && (c->rebuild || c->two_in_one))
        TRY(rebuild(c, &highest));
    else if (c->fix_errors || c->fix_leaks)
        TRY(mend_in_place(c, &before, &highest));
    c->res->count_bytes = max_u64(c->res->count_bytes, all_count_bytes(c));

    TRY(repair_counts(c, true));
    TRY(check_copied(c));
    TRY(mender_flush(&c->mender));
    TRY(repair_counts(c, false));
    c->res->image_end_offset = (highest + 1) << c->q->header.cluster_bits;
    return 0;
}

/* --- the snapshot table --------------------------------------------------------------------- */

/* The new table is placed by a rebuild: so it is counted and linked by the same header write. */
static int rewrite_snapshots(struct check *c, struct qimg_error *err)
{
    struct qimg_check_result ignored = { 0 };
    uint64_t highest;

    c->res = &ignored;
    TRY(measure(c));
    TRY(count_again(c)); /* in the state that is on disk now */
    TRY(repair_rebuild(c, true, err));
    TRY(measure(c));
    TRY(count_again(c));
    TRY(free_replaced(c, &highest, &ignored));
    TRY(repair_counts(c, true));
    TRY(check_copied(c));
    TRY(mender_flush(&c->mender));
    return repair_counts(c, false);
}

static int fix_snapshots(struct check *c, struct qimg_check_result *res)
{
    struct qimg_error err;

    if (!res->corruptions || !c->fix_errors)
        return 0;
    qimg_error_clear(&err);
    c->silent = true;
    const int rc = rewrite_snapshots(c, &err);
    c->silent = false;
    c->res = res;
    if (rc < 0) {
        res->check_errors++;
        REPORT(c, SNAPSHOT_WRITE, AT(c->snapshots_off), false, strerror(-rc));
        return rc;
    }
    res->corruptions_fixed += res->corruptions;
    res->corruptions = 0;
    return 0;
}

/* --- all ------------------------------------------------------------------------------------ */

static void add_result(struct qimg_check_result *to, const struct qimg_check_result *more)
{
    to->corruptions += more->corruptions;
    to->leaks += more->leaks;
    to->check_errors += more->check_errors;
    to->corruptions_fixed += more->corruptions_fixed;
    to->leaks_fixed += more->leaks_fixed;
}

static int run(struct check *c, struct qimg_check_result *out)
{
    struct qimg_check_result snapshots = { 0 }, refcounts = { 0 };

    c->res = &snapshots;
    int rc = measure(c);
    if (rc == 0)
        rc = check_read_snapshots(c);
    if (rc == 0) {
        c->res = &refcounts;
        rc = check_refcounts(c);
        *out = refcounts;
    }
    if (rc == 0)
        rc = fix_snapshots(c, &snapshots);
    add_result(out, &snapshots);
    if (rc < 0)
        return rc;
    if ((c->fix_errors || c->fix_leaks) && !out->check_errors && !out->corruptions)
        return repair_mark_clean(c);
    return 0;
}

static void release(struct check *c)
{
    counts_release(&c->mem);
    counts_release(&c->disk);
    counts_release(&c->before);
    census_release(&c->census);
    page_vec_release(&c->loud_pages);
    repair_forget_metadata(c);
    hot_cluster_vec_release(&c->hot);
    hot_table_vec_release(&c->hot_tables);
    check_snapshots_release(&c->snapshots);
    mender_release(&c->mender);
    io_queue_free(c->queue);
    for (size_t i = 0; i < c->found.count; i++)
        free(c->found.items[i].text);
    found_vec_release(&c->found);
    free(c->reftable);
    free(c->block_state);
    free(c->one_block_bytes);
}

/* The image goes on being used: what it holds in memory follows what was written. */
static int reload(struct qcow2 *q, struct qimg_error *err)
{
    return qcow2_l1_load(q, q->header.l1_off, q->header.l1_count, err);
}

int qcow2_check(struct image *image, const struct check_request *request,
                struct qimg_check_result *result, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    const struct io_queue_profile profile = { .depth = QUEUE_DEPTH,
                                              .direct = image->file->options.direct,
                                              .large = true };
    struct check c = {
        .q = q,
        .request = request,
        .fix_errors = request->fix == QIMG_CHECK_FIX_ALL,
        .fix_leaks = request->fix != QIMG_CHECK_FIX_NONE,
        .refcount_max = UINT64_MAX >> (64 - (1u << q->header.refcount_order)),
        .mender = { .file = image->file, .undo = request->undo },
        .one_block = UINT64_MAX,
    };

    *result = (struct qimg_check_result){ 0 };
    int rc = io_queue_new(image->file->engine, &profile, &c.queue);
    if (rc == 0)
        rc = run(&c, result);
    const int told = tell_found(&c);
    const int ended = request->undo ? undo_finish(request->undo) : 0;
    release(&c);
    rc = rc < 0 ? rc : ended < 0 ? ended : told;
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Check failed");
    return request->fix == QIMG_CHECK_FIX_NONE ? 0 : reload(q, err);
}

/* --- dirty images --------------------------------------------------------------------------- */

static void pass_on(void *user, const struct qimg_check_finding *finding)
{
    const struct image_open_options *options = user;

    if (options->said)
        options->said(options->user, finding->text);
}

int qcow2_repair_dirty(struct qcow2 *q, const struct image_open_options *options,
                       struct qimg_error *err)
{
    const struct check_request request = { .fix = QIMG_CHECK_FIX_ALL,
                                           .finding = pass_on,
                                           .user = (void *)(uintptr_t)options };
    struct qimg_check_result result;
    int rc = qcow2_check(&q->image, &request, &result, err);

    if (rc == 0 && result.check_errors)
        rc = -EIO;
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not repair dirty image") : 0;
}

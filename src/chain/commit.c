/* SPDX-License-Identifier: Apache-2.0
 *
 * Commit: what the overlays above a base hold is written into the base, as a guest would write it,
 * in this order:
 *
 *   1. the base grows to the overlay's size, where it is smaller (one write of its header)
 *   2. data is copied, what reads as zeros is zeroed, through the base's write engine
 *   3. the base is ended: all of it is durable, its bitmaps know of it
 *   4. the overlay is emptied (one write of its header)
 *
 * Until 4. the overlay hides all that changes below it, so that it reads the same at every moment.
 * The chain is cut in two for it (commit_base.h): a map of the overlays alone says what to copy,
 * and never looks at tables of the base, which change meanwhile.
 */
#include "qimg/commit.h"

#include <string.h>

#include "admin.h"
#include "base_limits.h"
#include "bits.h"
#include "chain_admin.h"
#include "cleanup.h"
#include "commit_base.h"
#include "copy.h"
#include "dependants.h"
#include "explain.h"
#include "qimg/admin.h"
#include "qimg/write.h"
#include "run_read.h"

#define WINDOW 8

/* A chunk this long fits a processor's cache from reading to writing. */
#define CHUNK (512 * KiB)

/* Zeros are written a piece at a time, so that progress is seen. */
#define ZERO_STEP (256 * MiB)

struct commit {
    struct copy_job job; /* first member */
    const struct qimg_commit_options *options;
    struct qimg_image *overlays, *base;
    struct copy_cursor cursor; /* through the overlays */
};

/* --- the plan ------------------------------------------------------------------------------- */

/* Does the base show through? What no overlay has, unless one between ends before it. */
static bool is_base(const struct commit *c, const struct run *run)
{
    return run->kind == RUN_UNALLOCATED && run->layer == c->overlays->layer_count - 1;
}

/* The next run that concerns the base. Returns 1, or 0 at the end. */
static int next_run(struct commit *c, struct run *run, struct qimg_error *err)
{
    while (c->cursor.at < c->cursor.end) {
        TRY(copy_cursor_peek(&c->cursor, run, err));
        if (run->kind == RUN_BAD)
            return explain_run(c->overlays, run, err);
        if (!is_base(c, run))
            return 1;
        copy_cursor_advance(&c->cursor, run->len);
    }
    return 0;
}

/* How much of @run goes into the slot now; 0: it is full. Cuts lie where the base's clusters end;
 * a packed cluster is cut only where it does not even fit an empty slot. */
static uint64_t take_len(const struct commit *c, const struct copy_slot *slot,
                         const struct run *run)
{
    const uint64_t room = c->job.slot_size - slot->used;
    const uint64_t unit = max_u64(c->base->layers[0].image->map_unit, 4 * KiB);

    if (slot->pieces.count == COPY_PIECES || room == 0)
        return 0;
    if (run->len <= room)
        return run->len;
    if (run->kind == RUN_COMPRESSED && slot->pieces.count > 0)
        return 0;
    const uint64_t cut = align_down(run->guest_off + room, unit);
    if (cut > run->guest_off)
        return cut - run->guest_off;
    return slot->pieces.count > 0 ? 0 : room;
}

static int plan_zeros(struct commit *c, struct copy_slot *slot, const struct run *run,
                      struct qimg_error *err)
{
    const uint64_t len = min_u64(run->len, ZERO_STEP);
    const struct copy_write zeros = { .range = { run->guest_off, len } };

    if (copy_write_vec_push(&slot->writes, zeros) < 0)
        return qimg_fail_memory(err);
    slot->work += len;
    copy_cursor_advance(&c->cursor, len);
    return 0;
}

static int plan_data(struct commit *c, struct copy_slot *slot, struct run run, uint64_t len,
                     struct qimg_error *err)
{
    run.len = len;
    if (!copy_slot_fetch(slot, c->overlays, &run, run.guest_off))
        return qimg_fail_memory(err);
    slot->work += len;
    copy_cursor_advance(&c->cursor, len);
    return 0;
}

static int plan_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct commit *c = (struct commit *)job;
    struct run run;
    int rc;

    while (slot->writes.count < COPY_PIECES && slot->work < ZERO_STEP &&
           (rc = next_run(c, &run, err)) != 0) {
        TRY(rc);
        if (run_is_zero(&run)) {
            TRY(plan_zeros(c, slot, &run, err));
            continue;
        }
        const uint64_t len = take_len(c, slot, &run);
        if (len == 0)
            break;
        TRY(plan_data(c, slot, run, len, err));
    }
    return slot->work > 0;
}

/* Pieces that continue each other are written as one. */
static int transform_slot(const struct copy_job *job, struct copy_slot *slot)
{
    const struct copy_piece *pieces = slot->pieces.items;

    (void)job;
    for (size_t i = 0, end; i < slot->pieces.count; i = end) {
        struct copy_write write = { .range = { pieces[i].off, 0 }, .data = pieces[i].buf };
        for (end = i;
             end < slot->pieces.count && pieces[end].off == write.range.off + write.range.len;
             end++)
            write.range.len += pieces[end].run.len;
        TRY(copy_write_vec_push(&slot->writes, write));
    }
    return 0;
}

static int finish_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    (void)job;
    if (slot->result == 0)
        return 0;
    return qimg_fail_errno(err, -slot->result, "error while %s at byte %llu",
                           slot->write_failed ? "writing" : "reading",
                           (unsigned long long)slot->failed_off);
}

/* --- the job -------------------------------------------------------------------------------- */

static void restart(struct commit *c)
{
    copy_cursor_init(&c->cursor, c->overlays, c->overlays->size);
}

static int count_work(struct commit *c, struct qimg_error *err)
{
    struct run run;
    int rc;

    while ((rc = next_run(c, &run, err)) > 0) {
        c->job.total += run.len;
        copy_cursor_advance(&c->cursor, run.len);
    }
    restart(c);
    return rc;
}

static void set_up_job(struct commit *c)
{
    static const struct copy_ops ops = {
        .plan = plan_slot,
        .transform = transform_slot,
        .finish = finish_slot,
    };
    struct copy_job *job = &c->job;
    uint64_t size;

    job->ops = &ops;
    job->image = c->base;
    job->window = WINDOW;
    job->direct = c->base->layers[0].image->file->options.direct;
    job->rate_limit = c->options->rate_limit;
    job->progress = c->options->progress;
    job->user = c->options->user;
    size = copy_in_worker(job) ? CHUNK : LIMIT_COPY_BUFFER;
    for (unsigned i = 0; i < c->overlays->layer_count; i++)
        size = max_u64(size, c->overlays->layers[i].image->cluster_size);
    job->slot_size =
        (size_t)min_u64(max_u64(size, c->base->layers[0].image->cluster_size), LIMIT_COPY_BUFFER);
    restart(c);
}

static int grow_base(struct commit *c, struct qimg_error *err)
{
    const struct qimg_resize_options larger = { .size = c->overlays->size };

    return c->base->size < larger.size ? qimg_image_resize(c->base, &larger, err) : 0;
}

static int copy(struct commit *c, struct qimg_error *err)
{
    struct qimg_error unheard;

    TRY(grow_base(c, err));
    set_up_job(c);
    int rc = c->job.progress ? count_work(c, err) : 0;
    if (rc == 0 && c->job.progress && c->job.progress(c->job.user, 0, c->job.total) != 0)
        rc = qimg_fail(err, ECANCELED, "the job was cancelled");
    else if (rc == 0)
        rc = copy_run(&c->job, err);
    /* What was written is kept, and known to the bitmaps, whatever failed. */
    const int ended = qimg_image_finish(c->base, rc < 0 ? &unheard : err);
    return rc < 0 ? rc : ended;
}

/* QEMU tells no more than the errno: ours goes below it. */
static int job_failed(struct qimg_error *err)
{
    const int code = err->code;
    AUTO_FREE char *why = strdup(err->text);

    if (code == ECANCELED)
        return -code;
    (void)qimg_fail_errno(err, code, "Block job failed");
    return why ? qimg_hint(err, "%s", why) : -code;
}

static int empty(struct qimg_image *image, bool *emptied, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;

    if (!top->ops->admin || !top->ops->admin->empty)
        return 0;
    int rc = chain_admin_begin(image, err);
    if (rc == 0)
        rc = top->ops->admin->empty(top, err);
    chain_admin_end(image);
    *emptied = rc == 0;
    return rc;
}

/* --- who else reads the base ---------------------------------------------------------------- */

static int mind_dependants(const struct qimg_commit_options *options,
                           const struct qimg_image *image, unsigned layer, unsigned *count,
                           struct qimg_error *err)
{
    struct dependants_search search = {
        .chain = image, .last = layer, .found = options->dependant, .user = options->user
    };

    for (size_t i = 0; options->dependants && options->dependants[i]; i++)
        TRY(dependants_find(&search, options->dependants[i], err));
    *count = search.count;
    if (search.count == 0 || options->break_dependants)
        return 0;
    return qimg_fail(err, EBUSY, "%u other image%s on '%s': nothing was changed", search.count,
                     search.count == 1 ? " depends" : "s depend", image->layers[layer].name);
}

/* --- all of it ------------------------------------------------------------------------------ */

static int run(struct commit *c, unsigned layer, struct qimg_commit_result *result,
               struct qimg_error *err)
{
    TRY(commit_base_split(c->overlays, layer, &c->base, err));
    const int rc = copy(c, err);
    result->copied = c->job.ledger.written;
    result->zeroed = c->job.ledger.zeroed;
    if (rc < 0)
        return job_failed(err);
    if (c->options->base || c->options->keep_overlay)
        return 0;
    return empty(c->overlays, &result->emptied, err);
}

int qimg_commit(struct qimg_context *context, const struct qimg_commit_options *options,
                struct qimg_commit_result *result, struct qimg_error *err)
{
    struct commit c = { .job.context = context, .options = options };
    struct qimg_open_options how = options->open;
    unsigned layer;

    *result = (struct qimg_commit_result){ 0 };
    how.writable = true;
    TRY(qimg_image_open(context, options->name, &how, &c.overlays, err));
    int rc = commit_base_find(c.overlays, options->base, options->name, &layer, err);
    if (rc == 0)
        rc = mind_dependants(options, c.overlays, layer, &result->dependants, err);
    if (rc == 0)
        rc = run(&c, layer, result, err);
    qimg_image_close(c.base);
    qimg_image_close(c.overlays);
    return rc;
}

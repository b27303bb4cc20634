/* SPDX-License-Identifier: Apache-2.0
 *
 * The job of pull.h: spans that are OPEN go through the pipeline, the old chain's bytes in one
 * half of a slot and the other chain's in the other, and what differs into the overlay. What is
 * read comes from layers below the overlay only, so nothing that is written meanwhile changes it.
 */
#include <string.h>

#include "bits.h"
#include "pull_job.h"
#include "run_read.h"
#include "writing.h"

/* --- planning ------------------------------------------------------------------------------- */

/* Has the overlay a place for this cluster, empty as it may be? (One with subclusters can.) */
static int has_place(const struct pull_job *j, uint64_t off, bool *placed)
{
    struct qimg_image *overlay = j->pull->overlay;
    struct image *top = overlay->layers[0].image;
    const struct qimg_range cluster = { off, min_u64(top->cluster_size, overlay->size - off) };
    struct extent_vec extents = { 0 };
    struct qimg_error unsaid;

    chain_lock(overlay);
    const int rc = top->writing ? top->ops->write->map(top, cluster, &extents, &unsaid)
                                : image_map(top, cluster, &extents, &unsaid);
    chain_unlock(overlay);
    *placed = false;
    for (size_t i = 0; rc == 0 && i < extents.count; i++)
        *placed |= extents.items[i].host_off != QIMG_NO_OFFSET;
    extent_vec_release(&extents);
    return rc;
}

/* Adds the first @len bytes of a part. */
static int add_part(const struct pull_job *j, struct copy_slot *slot, const struct pair *part,
                    uint64_t len)
{
    struct pair_batch *batch = &j->batches[slot->index];
    struct run run[2] = { part->run[0], part->run[1] };

    if (part->tag == SPAN_OWN) /* keeps its place, is not fetched */
        run[0].kind = run[1].kind = RUN_ZERO;
    TRY(pair_batch_add(batch, slot, run, len));
    batch->pairs.items[batch->pairs.count - 1].tag = part->tag;
    if (part->tag < SPAN_OPEN || !j->pull->compare)
        pair_batch_first_only(batch);
    return 0;
}

/* A unit that is more than one part goes into a slot as a whole; an empty one has room for it. */
static int add_unit(struct pull_job *j, struct copy_slot *slot)
{
    const struct pair_batch *batch = &j->batches[slot->index];
    const struct pair_vec *parts = &j->walk.parts;
    const bool fits = j->span.len <= slot->job->slot_size / 2 - batch->used;

    if (batch->pairs.count > 0 && (!fits || batch->pairs.count + parts->count > COPY_PIECES / 2))
        return 0;
    for (size_t i = 0; i < parts->count; i++)
        TRY(add_part(j, slot, &parts->items[i], parts->items[i].len));
    j->span.len = 0;
    return 1;
}

/* How much of a part that is whole units goes into the slot now. Where not all of it does, slots
 * end with clusters, so that they are written side by side. */
static uint64_t take_len(const struct pull_job *j, const struct copy_slot *slot)
{
    const struct pair *part = &j->walk.parts.items[0];
    const uint64_t cluster = j->pull->overlay->layers[0].image->cluster_size;
    const uint64_t room = pair_batch_room(&j->batches[slot->index], slot, part->run);
    const uint64_t end = align_down(part->off + room, cluster);

    if (room == part->len)
        return room;
    return end > part->off ? end - part->off : align_down(room, j->walk.unit);
}

static int add_units(struct pull_job *j, struct copy_slot *slot)
{
    struct pair *part = &j->walk.parts.items[0];
    uint64_t len = take_len(j, slot);

    if (len == 0)
        return 0;
    TRY(add_part(j, slot, part, len));
    j->span.off += len;
    j->span.len -= len;
    part->off += len;
    part->len -= len;
    for (int side = 0; side < 2; side++)
        part->run[side] = run_part(&part->run[side], len, part->len);
    return 1;
}

/* Packing into an overlay with subclusters: cluster by cluster, to see which can be packed. */
static int add_cluster(struct pull_job *j, struct copy_slot *slot, struct qimg_error *err)
{
    struct pair_vec *parts = &j->walk.parts;
    bool placed;

    const int rc = has_place(j, j->span.off, &placed);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "error while reading image metadata");
    for (size_t i = 0; placed && i < parts->count; i++)
        if (parts->items[i].tag == SPAN_OPEN)
            parts->items[i].tag = PART_PLACED;
    return add_unit(j, slot);
}

static void count_span(struct pull_job *j)
{
    uint64_t *const of[] = {
        [SPAN_OWN] = &j->out->own, [SPAN_EQUAL] = &j->out->proved, [SPAN_OPEN] = &j->out->looked
    };
    *of[j->span.kind] += j->span.len;
}

/* The next span that is to be read; the others are done with. Returns as pull_walk_next(). */
static int next_open(struct pull_job *j, struct qimg_error *err)
{
    while (j->span.len == 0) {
        const int rc = pull_walk_next(&j->walk, &j->span, err);
        if (rc <= 0)
            return rc;
        count_span(j);
        if (j->span.kind == SPAN_OPEN)
            break;
        j->copy.done += j->span.len;
        j->span.len = 0;
        TRY(copy_tell(&j->copy, err));
    }
    return 1;
}

/* One step of the plan: 1 = go on, 0 = the slot is full, or all is planned. */
static int plan_step(struct pull_job *j, struct copy_slot *slot, struct qimg_error *err)
{
    int rc = next_open(j, err);
    if (rc <= 0)
        return rc;
    if (j->walk.by_unit)
        rc = add_cluster(j, slot, err);
    else
        rc = j->walk.parts.count > 1 ? add_unit(j, slot) : add_units(j, slot);
    return rc == -ENOMEM ? qimg_fail_memory(err) : rc;
}

static int plan_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct pull_job *j = (struct pull_job *)job;
    struct pair_batch *batch = &j->batches[slot->index];
    struct qimg_image *const side[2] = { j->pull->overlay, j->pull->other };
    int rc;

    pair_batch_clear(batch);
    do
        rc = plan_step(j, slot, err);
    while (rc > 0);
    /* What lies before a failure comes first; the failure will be there again. Out of memory, the
     * slot may have a part of a unit only. */
    if (rc == -ENOMEM || (rc < 0 && batch->used == 0))
        return rc;
    if (pair_batch_fetch(batch, slot, side) < 0)
        return qimg_fail_memory(err);
    return batch->used > 0;
}

/* --- the outcome ---------------------------------------------------------------------------- */

static int read_failed(const struct pull_job *j, const struct copy_slot *slot,
                       struct qimg_error *err)
{
    bool old = false;

    for (size_t i = 0; i < slot->pieces.count; i++) {
        const struct copy_piece *piece = &slot->pieces.items[i];
        if (piece->off == slot->failed_off && piece->image == j->pull->overlay)
            old |= run_read(piece->image, &piece->run, piece->buf) < 0;
    }
    context_note(j->copy.context, QIMG_NOTE_DEBUG, "reading the %s chain at %llu: %s",
                 old ? "old" : "new", (unsigned long long)slot->failed_off,
                 strerror(-slot->result));
    return qimg_fail(err, -slot->result, "error while reading from %s backing file",
                     old ? "old" : "new");
}

static int finish_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    if (slot->result == 0)
        return 0;
    if (slot->write_failed)
        return qimg_fail_errno(err, -slot->result, "Error while writing to COW image");
    return read_failed((struct pull_job *)job, slot, err);
}

/* --- the job -------------------------------------------------------------------------------- */

static void set_up(struct pull_job *j)
{
    static const struct copy_ops ops = {
        .plan = plan_slot,
        .transform = pull_find_differences,
        .finish = finish_slot,
    };
    const struct pull *pull = j->pull;
    const size_t slot_size = pair_slot_size(pull->overlay, pull->other);

    j->copy = (struct copy_job){
        .ops = &ops,
        .context = pull->overlay->context,
        .image = pull->overlay,
        .keep_space = true,
        .slot_size = slot_size,
        .scratch_size = pull->options->compress ? slot_size / 2 : 0,
        .window = 8,
        .rate_limit = pull->options->rate_limit,
        .progress = pull->options->progress,
        .user = pull->options->user,
        .total = pull->overlay->size,
    };
    j->copy.direct = pull->overlay->layers[0].image->file->options.direct ||
                     (pull->other && pull->other->layers[0].image->file->options.direct);
}

static int run_job(struct pull_job *j, struct qimg_error *err)
{
    set_up(j);
    j->batches = calloc(j->copy.window, sizeof(*j->batches));
    if (!j->batches)
        return qimg_fail_memory(err);
    const int rc = copy_run(&j->copy, err);
    j->out->read = j->copy.ledger.read;
    j->out->copied = j->copy.ledger.written;
    j->out->zeroed = j->copy.ledger.zeroed;
    for (unsigned i = 0; i < j->copy.window; i++)
        pair_batch_release(&j->batches[i]);
    free(j->batches);
    return rc;
}

/* QEMU says nothing. */
static int warn_of_snapshots(const struct qimg_image *overlay, struct qimg_error *err)
{
    const struct layer *top = &overlay->layers[0];
    struct qimg_info info = { 0 };

    if (overlay->context->gate.policy == QIMG_POLICY_QEMU)
        return 0;
    const int rc = top->image->ops->describe(top->image, &info, err);
    if (rc == 0 && info.snapshot_count > 0)
        context_note(overlay->context, QIMG_NOTE_WARNING,
                     "the %zu internal snapshots of '%s' are not looked at: what they do not hold "
                     "themselves they will read from the new backing file",
                     info.snapshot_count, top->name);
    qimg_info_release(&info);
    return rc;
}

int pull_check(const struct qimg_image *overlay, const struct qimg_pull_options *options,
               struct qimg_error *err)
{
    const struct image *top = overlay->layers[0].image;
    const bool packs = top->ops->write && top->ops->write->packed_begin && !top->data_file;

    if (options->compress && !packs)
        return qimg_fail(err, ENOTSUP, "Compression not supported for this file format");
    return warn_of_snapshots(overlay, err);
}

/* Only an image that is being written knows how it packs. */
static int begin_packing(const struct pull *pull, struct qimg_error *err)
{
    if (!pull->options->compress)
        return 0;
    chain_lock(pull->overlay);
    const int rc = chain_writing_begin(pull->overlay, err);
    chain_unlock(pull->overlay);
    return rc;
}

int pull_run(const struct pull *pull, struct qimg_pull_result *out, struct qimg_error *err)
{
    const struct image *top = pull->overlay->layers[0].image;
    struct pull_job j = { .pull = pull, .out = out, .unit = top->map_unit };
    struct qimg_error unheard;

    *out = (struct qimg_pull_result){ 0 };
    TRY(begin_packing(pull, err));
    pull_walk_init(&j.walk, pull);
    const int rc = run_job(&j, err);
    pull_walk_release(&j.walk);
    if (rc == 0)
        return chain_writing_end(pull->overlay, err);
    (void)!chain_writing_end(pull->overlay, &unheard); /* the first failure is the one to tell */
    return rc;
}

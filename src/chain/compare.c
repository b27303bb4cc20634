/* SPDX-License-Identifier: Apache-2.0
 *
 * Compare: do two images show the guest the same bytes? Ranges that both maps send to the same
 * bytes of the same file, or that are zero in both, are proved equal without reading. What
 * remains is read side by side through the pipeline; the first difference in guest order decides.
 */
#include "bits.h"
#include "pair.h"
#include "run_read.h"

#define SECTOR 512u

/* What belongs to one slot of the pipeline. */
struct batch {
    struct pair_batch pairs;
    enum qimg_compare_verdict verdict;
    uint64_t offset; /* of what differs */
};

struct compare {
    struct copy_job job; /* first member */
    const struct qimg_compare_options *options;
    struct qimg_compare_result *result;
    struct pair_cursor cursor;
    struct qimg_image *side[2];
    struct batch *batches; /* by slot->index */
};

/* QEMU sees whole sectors; the last one is filled up with zeros. */
static uint64_t padded_size(const struct qimg_image *image)
{
    return align_up(image->size, SECTOR);
}

/* --- what the maps say ---------------------------------------------------------------------- */

/* The part of QEMU's block status that both must share in strict mode. */
struct status {
    bool data, zero, allocated, has_offset;
    bool to_end; /* one range up to the image's end: QEMU tells this apart, too */
};

static struct status status_of(const struct qimg_image *image, const struct run *run)
{
    return (struct status){
        .data = run->kind == RUN_DATA || run->kind == RUN_COMPRESSED,
        .zero = run_is_zero(run),
        .allocated = run->kind != RUN_UNALLOCATED,
        .has_offset = run->kind != RUN_COMPRESSED && run->host_off != QIMG_NO_OFFSET,
        .to_end = run->guest_off + run->len >= image->size,
    };
}

static bool same_status(const struct status *a, const struct status *b)
{
    return a->data == b->data && a->zero == b->zero && a->allocated == b->allocated &&
           a->has_offset == b->has_offset && a->to_end == b->to_end;
}

/* --- planning ------------------------------------------------------------------------------- */

static int map_failed(struct compare *c, unsigned side, int rc, struct qimg_error *err)
{
    if (err->code)
        context_note(c->job.context, QIMG_NOTE_DEBUG, "%s", err->text);
    c->result->stage = QIMG_COMPARE_MAPPING;
    return qimg_fail(err, -rc, "Sector allocation test failed for %s",
                     c->side[side]->layers[0].name);
}

/* The longest range at the cursor in which each side is one run. */
static int peek_both(struct compare *c, struct run run[2], bool *alike, struct qimg_error *err)
{
    unsigned failed;
    const int rc = pair_cursor_peek(&c->cursor, run, &failed, err);
    if (rc < 0)
        return map_failed(c, failed, rc, err);
    const struct status a = status_of(c->side[0], &run[0]);
    const struct status b = status_of(c->side[1], &run[1]);
    *alike = same_status(&a, &b);
    (void)pair_clip(run);
    return 0;
}

/* One step of the plan: 1 = go on, 0 = the slot is full (or decided). */
static int plan_step(struct compare *c, struct copy_slot *slot, struct batch *batch,
                     struct qimg_error *err)
{
    struct run run[2];
    bool alike = false;

    TRY(peek_both(c, run, &alike, err));
    if (c->options->strict && !alike) {
        if (batch->pairs.used > 0)
            return 0;
        batch->verdict = QIMG_COMPARE_STATUS;
        batch->offset = pair_cursor_at(&c->cursor);
        return 0;
    }
    if (pair_proved_equal(c->side[0], c->side[1], run)) {
        c->result->proved_bytes += run[0].len;
        c->job.done += run[0].len;
        pair_cursor_advance(&c->cursor, run[0].len);
        return 1;
    }
    const uint64_t len = pair_batch_room(&batch->pairs, slot, run);
    if (len == 0)
        return 0;
    if (pair_batch_add(&batch->pairs, slot, run, len) < 0)
        return qimg_fail_memory(err);
    pair_cursor_advance(&c->cursor, len);
    return 1;
}

static int plan_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct compare *c = (struct compare *)job;
    struct batch *batch = &c->batches[slot->index];
    int rc = 1;

    pair_batch_clear(&batch->pairs);
    batch->verdict = QIMG_COMPARE_IDENTICAL;
    while (rc > 0 && !pair_cursor_at_end(&c->cursor))
        rc = plan_step(c, slot, batch, err);
    /* What lies before a failure comes first; the failure will be there again. */
    if (rc < 0 && batch->pairs.used == 0)
        return rc;
    if (pair_batch_fetch(&batch->pairs, slot, c->side) < 0)
        return qimg_fail_memory(err);
    return batch->pairs.used > 0 || batch->verdict != QIMG_COMPARE_IDENTICAL;
}

/* --- comparing ------------------------------------------------------------------------------ */

static int compare_slot(const struct copy_job *job, struct copy_slot *slot)
{
    struct batch *batch = &((const struct compare *)job)->batches[slot->index];
    const struct pair_vec *pairs = &batch->pairs.pairs;

    for (size_t i = 0; i < pairs->count; i++) {
        const struct pair *pair = &pairs->items[i];
        if (pair_equal(pair, 0, pair->len))
            continue;
        uint64_t at = 0;
        while (pair_equal(pair, at, min_u64(SECTOR, pair->len - at)))
            at += SECTOR;
        batch->verdict = QIMG_COMPARE_CONTENT;
        batch->offset = pair->off + at;
        return 0;
    }
    return 0;
}

static int read_failed(struct compare *c, const struct copy_slot *slot, struct qimg_error *err)
{
    const struct copy_piece *failed = slot->pieces.items;

    for (size_t i = 0; i < slot->pieces.count; i++)
        if (slot->pieces.items[i].off == slot->failed_off)
            failed = &slot->pieces.items[i];
    c->result->stage = QIMG_COMPARE_READING;
    return qimg_fail_errno(err, -slot->result, "Error while reading offset %llu of %s",
                           (unsigned long long)slot->failed_off, failed->image->layers[0].name);
}

static int finish_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct compare *c = (struct compare *)job;
    const struct batch *batch = &c->batches[slot->index];

    if (slot->result < 0)
        return read_failed(c, slot, err);
    c->result->read_bytes += slot->work;
    c->result->verdict = batch->verdict;
    c->result->offset = batch->offset;
    return batch->verdict == QIMG_COMPARE_IDENTICAL ? 0 : 1;
}

/* --- the job -------------------------------------------------------------------------------- */

static int run_job(struct compare *c, uint64_t end, struct qimg_error *err)
{
    static const struct copy_ops ops = {
        .plan = plan_slot,
        .transform = compare_slot,
        .finish = finish_slot,
    };

    c->job.ops = &ops;
    c->job.slot_size = pair_slot_size(c->side[0], c->side[1]);
    c->job.window = 8;
    c->job.total = end;
    c->job.progress = c->options->progress;
    c->job.user = c->options->user;
    pair_cursor_init(&c->cursor, c->side[0], c->side[1], end);
    for (int side = 0; side < 2; side++)
        c->job.direct |= c->side[side]->layers[0].image->file->options.direct;
    c->batches = calloc(c->job.window, sizeof(*c->batches));
    if (!c->batches)
        return qimg_fail_memory(err);
    int rc = copy_run(&c->job, err);
    for (unsigned i = 0; i < c->job.window; i++)
        pair_batch_release(&c->batches[i].pairs);
    free(c->batches);
    return rc;
}

int qimg_compare(struct qimg_context *context, const struct qimg_compare_options *options,
                 struct qimg_compare_result *out, struct qimg_error *err)
{
    struct compare c = { .job.context = context,
                         .options = options,
                         .result = out,
                         .side = { options->a, options->b } };
    const uint64_t size_a = padded_size(options->a), size_b = padded_size(options->b);
    const uint64_t common = min_u64(size_a, size_b);

    *out = (struct qimg_compare_result){ .verdict = QIMG_COMPARE_IDENTICAL };
    if (options->strict && size_a != size_b) {
        out->verdict = QIMG_COMPARE_SIZE;
        out->size_mismatch = true;
        return 0;
    }
    int rc = run_job(&c, max_u64(size_a, size_b), err);

    /* QEMU says so once the common part was found equal. */
    out->size_mismatch =
        size_a != size_b && (out->verdict == QIMG_COMPARE_IDENTICAL || out->offset >= common);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Compare: do two images show the guest the same bytes? Ranges that both maps send to the same
 * bytes of the same file, or that are zero in both, are proved equal without reading. What remains
 * is read side by side through the pipeline; the first difference in guest order decides, unless
 * the caller wants all differences.
 */
#include "bits.h"
#include "differ.h"
#include "pair.h"
#include "run_read.h"

#define SECTOR 512u

/* The plan reports progress each so many steps: it may be long before a slot is filled. */
#define STEPS_TO_TELL 4096

DEFINE_VEC(difference_vec, struct qimg_compare_difference)

/* What belongs to one slot of the pipeline. */
struct batch {
    struct pair_batch pairs;
    struct difference_vec unlike; /* of another status, in guest order: the plan's */
    struct difference_vec found;  /* of other content, likewise: the transform's */
};

struct compare {
    struct copy_job job; /* first member */
    const struct qimg_compare_options *options;
    struct qimg_compare_result *result;
    struct pair_cursor cursor;
    struct qimg_image *side[2];
    struct batch *batches; /* by slot->index */
    struct differ differ;
    uint64_t common; /* bytes that both have */
    bool ended;      /* nothing behind what is planned can change the verdict */
    unsigned steps;
};

static bool wants_all(const struct compare *c)
{
    return c->options->difference != NULL;
}

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

/* The status of the begin of @run, which is cut to what has one. Data in a hole of the file are
 * zeros as well, where QEMU looks for such. */
static struct status status_of(const struct qimg_image *image, struct run *run)
{
    const struct layer *layer = &image->layers[run->layer];
    struct io_extent stored = { .len = run->len, .data = true };

    if (run->kind == RUN_DATA && layer->image->ops->data_may_be_holes(layer->image))
        stored = layer_extent(layer, run->host_off, run->len);
    *run = run_part(run, 0, stored.len);
    return (struct status){
        .data = run->kind == RUN_DATA || run->kind == RUN_COMPRESSED,
        .zero = run_is_zero(run) || !stored.data,
        .allocated = run->kind != RUN_UNALLOCATED,
        .has_offset = run->kind != RUN_COMPRESSED && run->host_off != QIMG_NO_OFFSET,
        .to_end = run->guest_off + run->len >= image->size,
    };
}

enum likeness { ALIKE, ENDS_DIFFER, UNLIKE };

static enum likeness likeness_of(const struct status *a, const struct status *b)
{
    if (a->data != b->data || a->zero != b->zero || a->allocated != b->allocated ||
        a->has_offset != b->has_offset)
        return UNLIKE;
    return a->to_end == b->to_end ? ALIKE : ENDS_DIFFER;
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

/* The longest range at the cursor in which each side is one run, and in strict mode, whether they
 * have one status; what only one image has is not of another status, but of another size. */
static int peek_both(struct compare *c, struct run run[2], enum likeness *likeness,
                     struct qimg_error *err)
{
    unsigned failed;
    const int rc = pair_cursor_peek(&c->cursor, run, &failed, err);
    if (rc < 0)
        return map_failed(c, failed, rc, err);
    *likeness = ALIKE;
    if (c->options->strict && pair_cursor_at(&c->cursor) < c->common) {
        const struct status a = status_of(c->side[0], &run[0]);
        const struct status b = status_of(c->side[1], &run[1]);
        *likeness = likeness_of(&a, &b);
    }
    (void)pair_clip(run);
    return 0;
}

static struct qimg_compare_side side_of(const struct qimg_image *image, const struct run *run)
{
    static const enum qimg_extent_kind kinds[] = {
        [RUN_UNALLOCATED] = QIMG_UNALLOCATED,
        [RUN_ZERO] = QIMG_ZERO,
        [RUN_DATA] = QIMG_DATA,
        [RUN_COMPRESSED] = QIMG_COMPRESSED,
    };
    return (struct qimg_compare_side){
        .kind = kinds[run->kind],
        .layer = run->layer,
        .past_end = run->guest_off >= image->size,
    };
}

/* @range lies in both runs. */
static int push_difference(const struct compare *c, struct difference_vec *to,
                           enum qimg_compare_verdict why, struct qimg_range range,
                           const struct run run[2])
{
    const struct qimg_compare_difference difference = {
        .range = range,
        .why = why,
        .side = { side_of(c->side[0], &run[0]), side_of(c->side[1], &run[1]) },
    };
    return difference_vec_push(to, difference);
}

/* The next @len bytes are of another status; 0: QEMU says so, but there is nothing to report. */
static int note_unlike(struct compare *c, struct batch *batch, const struct run run[2],
                       uint64_t len, struct qimg_error *err)
{
    const struct qimg_range range = { .off = pair_cursor_at(&c->cursor), .len = len };

    c->ended = !wants_all(c);
    if (push_difference(c, &batch->unlike, QIMG_COMPARE_STATUS, range, run) < 0)
        return qimg_fail_memory(err);
    return 0;
}

static int show_life(struct compare *c, struct qimg_error *err)
{
    return ++c->steps % STEPS_TO_TELL == 0 ? copy_tell(&c->job, err) : 0;
}

/* One step of the plan: 1 = go on, 0 = the slot is full. */
static int plan_step(struct compare *c, struct copy_slot *slot, struct batch *batch,
                     struct qimg_error *err)
{
    struct run run[2];
    enum likeness likeness = ALIKE;

    TRY(peek_both(c, run, &likeness, err));
    const bool proved = pair_proved_equal(c->side[0], c->side[1], run);
    const uint64_t len = proved ? run[0].len : pair_batch_room(&batch->pairs, slot, run);
    if (len == 0 || batch->unlike.count == COPY_PIECES)
        return 0;
    if (likeness != ALIKE)
        TRY(note_unlike(c, batch, run, likeness == UNLIKE ? len : 0, err));
    if (c->ended)
        return 1;
    if (proved) {
        c->result->proved_bytes += len;
        c->job.done += len;
    } else if (pair_batch_add(&batch->pairs, slot, run, len) < 0) {
        return qimg_fail_memory(err);
    }
    pair_cursor_advance(&c->cursor, len);
    TRY(show_life(c, err));
    return 1;
}

static bool is_empty(const struct batch *batch)
{
    return batch->pairs.used == 0 && batch->unlike.count == 0;
}

static int plan_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct compare *c = (struct compare *)job;
    struct batch *batch = &c->batches[slot->index];
    int rc = 1;

    pair_batch_clear(&batch->pairs);
    batch->unlike.count = 0;
    batch->found.count = 0;
    while (rc > 0 && !c->ended && !pair_cursor_at_end(&c->cursor))
        rc = plan_step(c, slot, batch, err);
    /* What lies before a failure comes first; the failure will be there again. */
    if (rc == -ECANCELED || (rc < 0 && is_empty(batch)))
        return rc;
    if (pair_batch_fetch(&batch->pairs, slot, c->side) < 0)
        return qimg_fail_memory(err);
    return !is_empty(batch);
}

/* --- comparing ------------------------------------------------------------------------------ */

/* How far from @at on the sectors of @pair are all equal, or all different. */
static uint64_t end_of_alike(const struct pair *pair, uint64_t at, bool equal)
{
    while (at < pair->len && pair_equal(pair, at, min_u64(SECTOR, pair->len - at)) == equal)
        at += min_u64(SECTOR, pair->len - at);
    return at;
}

/* Finds the first difference of @pair, or all. */
static int compare_pair(const struct compare *c, const struct pair *pair,
                        struct difference_vec *found)
{
    uint64_t at = 0;

    if (pair_equal(pair, 0, pair->len))
        return 0;
    while ((at = end_of_alike(pair, at, true)) < pair->len) {
        const uint64_t end = end_of_alike(pair, at, false);
        const struct qimg_range range = { .off = pair->off + at, .len = end - at };
        TRY(push_difference(c, found, QIMG_COMPARE_CONTENT, range, pair->run));
        if (!wants_all(c))
            return 0;
        at = end;
    }
    return 0;
}

static int compare_slot(const struct copy_job *job, struct copy_slot *slot)
{
    const struct compare *c = (const struct compare *)job;
    struct batch *batch = &c->batches[slot->index];
    const struct pair_vec *pairs = &batch->pairs.pairs;

    for (size_t i = 0; i < pairs->count; i++) {
        TRY(compare_pair(c, &pairs->items[i], &batch->found));
        if (!wants_all(c) && batch->found.count > 0)
            return 0;
    }
    return 0;
}

static uint64_t end_of(const struct qimg_compare_difference *difference)
{
    return difference->range.off + difference->range.len;
}

/* Tells of @unlike where the content is the same: of the rest, found[*next] and its followers tell.
 * The status is looked at first, and decides where both differ. */
static void add_unlike(struct differ *differ, const struct qimg_compare_difference *unlike,
                       const struct difference_vec *found, size_t *next)
{
    struct qimg_compare_difference part = *unlike;
    uint64_t at = part.range.off;

    differ_decide(differ, QIMG_COMPARE_STATUS, at);
    while (at < end_of(unlike)) {
        const struct qimg_compare_difference *content =
            *next < found->count ? &found->items[*next] : NULL;
        const bool inside = content && content->range.off < end_of(unlike);
        part.range.off = at;
        part.range.len = (inside ? content->range.off : end_of(unlike)) - at;
        if (part.range.len > 0)
            differ_add(differ, &part);
        at = end_of(inside ? content : unlike);
        if (inside)
            differ_add(differ, &found->items[(*next)++]);
    }
}

static void add_differences(struct differ *differ, const struct batch *batch)
{
    const struct difference_vec *found = &batch->found;
    size_t next = 0;

    for (size_t i = 0; i < batch->unlike.count; i++) {
        const struct qimg_compare_difference *unlike = &batch->unlike.items[i];
        while (next < found->count && found->items[next].range.off < unlike->range.off)
            differ_add(differ, &found->items[next++]);
        add_unlike(differ, unlike, found, &next);
    }
    while (next < found->count)
        differ_add(differ, &found->items[next++]);
}

static int read_failed(struct compare *c, const struct copy_slot *slot, struct qimg_error *err)
{
    c->result->stage = QIMG_COMPARE_READING;
    if (slot->result == -ENOMEM) /* perhaps of comparing, where there is no piece to blame */
        return qimg_fail_memory(err);
    const struct copy_piece *failed = &slot->pieces.items[slot->failed_piece];
    return qimg_fail_errno(err, -slot->result, "Error while reading offset %llu of %s",
                           (unsigned long long)slot->failed_off, failed->image->layers[0].name);
}

static int finish_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct compare *c = (struct compare *)job;

    if (slot->result < 0)
        return read_failed(c, slot, err);
    c->result->read_bytes += slot->work;
    add_differences(&c->differ, &c->batches[slot->index]);
    return differ_decided(&c->differ) && !wants_all(c);
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
    for (unsigned i = 0; i < c->job.window; i++) {
        pair_batch_release(&c->batches[i].pairs);
        difference_vec_release(&c->batches[i].unlike);
        difference_vec_release(&c->batches[i].found);
    }
    free(c->batches);
    differ_end(&c->differ);
    return rc;
}

/* What only the longer one has, to the byte; nothing where QEMU sees as many sectors. */
static struct qimg_range tail_of(const struct qimg_image *a, const struct qimg_image *b)
{
    const uint64_t from = min_u64(a->size, b->size), to = max_u64(a->size, b->size);
    const bool differ = padded_size(a) != padded_size(b);
    return (struct qimg_range){ .off = from, .len = differ ? to - from : 0 };
}

int qimg_compare(struct qimg_context *context, const struct qimg_compare_options *options,
                 struct qimg_compare_result *out, struct qimg_error *err)
{
    struct compare c = { .job.context = context,
                         .options = options,
                         .result = out,
                         .side = { options->a, options->b } };
    const uint64_t size_a = padded_size(options->a), size_b = padded_size(options->b);

    *out = (struct qimg_compare_result){ .verdict = QIMG_COMPARE_IDENTICAL };
    differ_init(&c.differ, options, out, tail_of(options->a, options->b));
    if (options->strict && size_a != size_b) {
        differ_decide(&c.differ, QIMG_COMPARE_SIZE, 0);
        out->size_mismatch = true;
        if (!options->difference)
            return 0;
    }
    c.common = min_u64(size_a, size_b);
    int rc = run_job(&c, max_u64(size_a, size_b), err);

    /* QEMU says so once the common part was found equal. */
    if (size_a != size_b && (out->verdict == QIMG_COMPARE_IDENTICAL || out->offset >= c.common))
        out->size_mismatch = true;
    return rc;
}

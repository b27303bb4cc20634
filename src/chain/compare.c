/* SPDX-License-Identifier: Apache-2.0
 *
 * Compare: do two images show the guest the same bytes? Ranges that both maps send to the same
 * bytes of the same file, or that are zero in both, are proved equal without reading. What
 * remains is read side by side through the pipeline; the first difference in guest order decides.
 */
#include <string.h>

#include "base_limits.h"
#include "copy.h"
#include "explain.h"
#include "run_read.h"
#include "sparse.h"

#define SECTOR 512u

/* Bytes of each side in a slot, at least. */
#define CHUNK (512 * KiB)

/* A range that both sides are fetched for. A side without bytes is all zeros. */
struct pair {
    uint64_t off, len;
    struct run run[2];
    const uint8_t *bytes[2];
};

DEFINE_VEC(pair_vec, struct pair)

/* What belongs to one slot of the pipeline. */
struct batch {
    struct pair_vec pairs;
    size_t used; /* bytes of each half of the slot's buffer */
    enum qimg_compare_verdict verdict;
    uint64_t offset; /* of what differs */
};

struct compare {
    struct copy_job job; /* first member */
    const struct qimg_compare_options *options;
    struct qimg_compare_result *result;
    struct copy_cursor side[2];
    struct batch *batches; /* by slot->index */
};

static struct qimg_image *image_of(const struct compare *c, int side)
{
    return side ? c->options->b : c->options->a;
}

/* QEMU sees whole sectors; the last one is filled up with zeros. */
static uint64_t padded_size(const struct qimg_image *image)
{
    return align_up(image->size, SECTOR);
}

/* --- what the maps say ---------------------------------------------------------------------- */

/* Both take the same stored bytes: what they read is equal, whatever it is. */
static bool same_bytes(const struct compare *c, const struct run run[2])
{
    const struct run *a = &run[0], *b = &run[1];

    if (a->kind != b->kind || a->host_off != b->host_off || a->host_off == QIMG_NO_OFFSET)
        return false;
    if (a->kind == RUN_COMPRESSED &&
        (a->packed_len != b->packed_len || a->skip != b->skip || a->codec != b->codec ||
         c->options->a->layers[a->layer].image->cluster_size !=
             c->options->b->layers[b->layer].image->cluster_size))
        return false;
    if (a->kind != RUN_DATA && a->kind != RUN_COMPRESSED)
        return false;
    return io_same_file(layer_data_file(&c->options->a->layers[a->layer]),
                        layer_data_file(&c->options->b->layers[b->layer]));
}

static bool proved_equal(const struct compare *c, const struct run run[2])
{
    return (run_is_zero(&run[0]) && run_is_zero(&run[1])) || same_bytes(c, run);
}

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

/* QEMU tells apart what of the last sector is in the file and what is not. */
static void cut_at_padding(const struct qimg_image *image, struct run *run)
{
    if (run->kind != RUN_DATA)
        return;
    const uint64_t padding = layer_padding(&image->layers[run->layer], run->host_off, run->len);
    if (padding == run->len)
        run->kind = RUN_ZERO;
    else if (padding > 0)
        *run = run_part(run, 0, run->len - padding);
}

static int peek_side(struct compare *c, int side, struct run *run, struct qimg_error *err)
{
    int rc = copy_cursor_peek(&c->side[side], run, err);
    if (rc == 0 && run->kind == RUN_BAD)
        rc = explain_run(image_of(c, side), run, err);
    if (rc == 0)
        cut_at_padding(image_of(c, side), run);
    if (rc == 0)
        return 0;
    if (err->code)
        context_note(c->job.context, QIMG_NOTE_DEBUG, "%s", err->text);
    c->result->stage = QIMG_COMPARE_MAPPING;
    return qimg_fail(err, -rc, "Sector allocation test failed for %s",
                     image_of(c, side)->layers[0].name);
}

/* The longest range at the cursors in which each side is one run. */
static int peek_both(struct compare *c, struct run run[2], bool *alike, struct qimg_error *err)
{
    TRY(peek_side(c, 0, &run[0], err));
    TRY(peek_side(c, 1, &run[1], err));
    const struct status a = status_of(image_of(c, 0), &run[0]);
    const struct status b = status_of(image_of(c, 1), &run[1]);
    *alike = same_status(&a, &b);
    const uint64_t len = min_u64(run[0].len, run[1].len);
    run[0] = run_part(&run[0], 0, len);
    run[1] = run_part(&run[1], 0, len);
    return 0;
}

static void advance(struct compare *c, uint64_t len)
{
    copy_cursor_advance(&c->side[0], len);
    copy_cursor_advance(&c->side[1], len);
}

/* How much of both runs goes into the slot now; 0: it is full. */
static uint64_t take_len(const struct compare *c, const struct batch *batch,
                         const struct run run[2])
{
    const uint64_t room = c->job.slot_size / 2 - batch->used;
    const bool packed = run[0].kind == RUN_COMPRESSED || run[1].kind == RUN_COMPRESSED;

    if (batch->pairs.count == COPY_PIECES / 2 || room == 0)
        return 0;
    if (run[0].len <= room)
        return run[0].len;
    return packed && batch->used > 0 ? 0 : room;
}

/* The halves of the buffer keep in step, so that the bytes of a pair lie at the same place. */
static int add_pair(const struct compare *c, struct copy_slot *slot, struct batch *batch,
                    const struct run run[2], uint64_t len)
{
    struct pair pair = { .off = c->side[0].at, .len = len };

    for (int side = 0; side < 2; side++) {
        pair.run[side] = run_part(&run[side], 0, len);
        if (!run_is_zero(&run[side]))
            pair.bytes[side] = slot->buf + batch->used + (side ? c->job.slot_size / 2 : 0);
    }
    batch->used += len;
    slot->work += len;
    return pair_vec_push(&batch->pairs, pair);
}

/* All of one side, then all of the other: neighbours in a file stay neighbours in the list. */
static int fetch_pairs(const struct compare *c, struct copy_slot *slot, const struct batch *batch)
{
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < batch->pairs.count; i++) {
            const struct pair *pair = &batch->pairs.items[i];
            if (!pair->bytes[side])
                continue;
            const struct copy_piece piece = {
                .image = image_of(c, side),
                .run = pair->run[side],
                .off = pair->off,
                .buf = (uint8_t *)(uintptr_t)pair->bytes[side],
            };
            TRY(copy_piece_vec_push(&slot->pieces, piece));
        }
    }
    return 0;
}

/* One step of the plan: 1 = go on, 0 = the slot is full (or decided). */
static int plan_step(struct compare *c, struct copy_slot *slot, struct batch *batch,
                     struct qimg_error *err)
{
    struct run run[2];
    bool alike;

    TRY(peek_both(c, run, &alike, err));
    if (c->options->strict && !alike) {
        if (batch->pairs.count > 0)
            return 0;
        batch->verdict = QIMG_COMPARE_STATUS;
        batch->offset = c->side[0].at;
        return 0;
    }
    if (proved_equal(c, run)) {
        c->result->proved_bytes += run[0].len;
        c->job.done += run[0].len;
        advance(c, run[0].len);
        return 1;
    }
    const uint64_t len = take_len(c, batch, run);
    if (len == 0)
        return 0;
    if (add_pair(c, slot, batch, run, len) < 0)
        return qimg_fail_memory(err);
    advance(c, len);
    return 1;
}

static int plan_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct compare *c = (struct compare *)job;
    struct batch *batch = &c->batches[slot->index];
    int rc = 1;

    batch->pairs.count = 0;
    batch->used = 0;
    batch->verdict = QIMG_COMPARE_IDENTICAL;
    while (rc > 0 && c->side[0].at < c->side[0].end)
        rc = plan_step(c, slot, batch, err);
    /* What lies before a failure comes first; the failure will be there again. */
    if (rc < 0 && batch->pairs.count == 0)
        return rc;
    if (fetch_pairs(c, slot, batch) < 0)
        return qimg_fail_memory(err);
    return batch->pairs.count > 0 || batch->verdict != QIMG_COMPARE_IDENTICAL;
}

/* --- comparing ------------------------------------------------------------------------------ */

/* Are the @len bytes at @at of the pair the same? */
static bool equal(const struct pair *pair, uint64_t at, size_t len)
{
    if (!pair->bytes[0])
        return sparse_is_zero(pair->bytes[1] + at, len);
    if (!pair->bytes[1])
        return sparse_is_zero(pair->bytes[0] + at, len);
    return memcmp(pair->bytes[0] + at, pair->bytes[1] + at, len) == 0;
}

static int compare_slot(const struct copy_job *job, struct copy_slot *slot)
{
    struct batch *batch = &((const struct compare *)job)->batches[slot->index];

    for (size_t i = 0; i < batch->pairs.count; i++) {
        const struct pair *pair = &batch->pairs.items[i];
        if (equal(pair, 0, pair->len))
            continue;
        uint64_t at = 0;
        while (equal(pair, at, min_u64(SECTOR, pair->len - at)))
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

/* Per side, room for whole clusters of compressing images. */
static size_t choose_slot_size(const struct compare *c)
{
    uint64_t size = CHUNK;

    for (int side = 0; side < 2; side++) {
        const struct qimg_image *image = image_of(c, side);
        for (unsigned i = 0; i < image->layer_count; i++)
            size = max_u64(size, image->layers[i].image->cluster_size);
    }
    return (size_t)min_u64(2 * size, LIMIT_COPY_BUFFER);
}

static int run_job(struct compare *c, uint64_t end, struct qimg_error *err)
{
    static const struct copy_ops ops = {
        .plan = plan_slot,
        .transform = compare_slot,
        .finish = finish_slot,
    };

    c->job.ops = &ops;
    c->job.slot_size = choose_slot_size(c);
    c->job.window = 8;
    c->job.total = end;
    c->job.progress = c->options->progress;
    c->job.user = c->options->user;
    for (int side = 0; side < 2; side++) {
        copy_cursor_init(&c->side[side], image_of(c, side), end);
        c->job.direct |= image_of(c, side)->layers[0].image->file->options.direct;
    }
    c->batches = calloc(c->job.window, sizeof(*c->batches));
    if (!c->batches)
        return qimg_fail_memory(err);
    int rc = copy_run(&c->job, err);
    for (unsigned i = 0; i < c->job.window; i++)
        pair_vec_release(&c->batches[i].pairs);
    free(c->batches);
    return rc;
}

int qimg_compare(struct qimg_context *context, const struct qimg_compare_options *options,
                 struct qimg_compare_result *out, struct qimg_error *err)
{
    struct compare c = { .job.context = context, .options = options, .result = out };
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Convert: copies the guest's bytes of one or several images, one behind the other, into a raw
 * file or device. A plan for the pipeline: what the map says is zero is never read, zeros found
 * in data are not written where the target reads as zeros anyway (-S).
 */
#include <assert.h>
#include <string.h>

#include "base_limits.h"
#include "checked.h"
#include "convert_target.h"
#include "copy.h"
#include "explain.h"
#include "run_read.h"
#include "sparse.h"

#define SECTOR 512u

/* A chunk this long fits a processor's cache from reading to writing. */
#define CHUNK (512 * KiB)

/* Progress is told in steps of this, or of shorter runs, as QEMU tells it: in its buffers. */
#define PROGRESS_STEP (2 * MiB)

/* Zeros are written a piece at a time, so that progress is seen. */
#define ZERO_STEP (256 * MiB)

struct convert {
    struct copy_job job; /* first member */
    const struct qimg_convert_options *options;
    struct convert_target target;
    struct sparse_rule rule;
    uint64_t size; /* of all sources together */

    /* The plan's place: source number @source begins at @base of the target. */
    struct copy_cursor cursor;
    size_t source;
    uint64_t base;
    uint64_t step; /* bytes planned since the last step of the progress */
};

/* QEMU sees whole sectors; the last one is filled up with zeros. */
static uint64_t padded_size(const struct qimg_image *image)
{
    return align_up(image->size, SECTOR);
}

/* --- planning ------------------------------------------------------------------------------- */

static void start_source(struct convert *c)
{
    if (c->source == c->options->source_count)
        return;
    struct qimg_image *image = c->options->sources[c->source];
    copy_cursor_init(&c->cursor, image, padded_size(image));
    c->cursor.salvage = c->job.salvage;
}

/* Goes to the next source where this one is at its end; false: that was the last. */
static bool select_source(struct convert *c)
{
    while (c->source < c->options->source_count && c->cursor.at == c->cursor.end) {
        c->base += c->cursor.end;
        c->source++;
        start_source(c);
    }
    return c->source < c->options->source_count;
}

static void restart(struct convert *c)
{
    c->source = 0;
    c->base = 0;
    start_source(c);
}

static int status_failed(const struct convert *c, int code, struct qimg_error *err)
{
    if (err->code)
        context_note(c->job.context, QIMG_NOTE_DEBUG, "%s", err->text);
    return qimg_fail_errno(err, code, "error while reading block status at offset %llu",
                           (unsigned long long)c->cursor.at);
}

static int peek(struct convert *c, struct run *run, struct qimg_error *err)
{
    int rc = copy_cursor_peek(&c->cursor, run, err);
    if (rc < 0)
        return status_failed(c, -rc, err);
    if (run->kind != RUN_BAD)
        return 0;
    (void)explain_run(c->cursor.image, run, err);
    return c->job.salvage ? 0 : status_failed(c, EIO, err);
}

/* Must the bytes of @run go through a buffer? */
static bool has_bytes(const struct convert *c, const struct run *run)
{
    return c->rule.min_len == 0 || !run_is_zero(run);
}

/* How much of @run goes into the slot now; 0: it is full. Cuts lie where the target's blocks
 * end; a compressed cluster is cut only where it does not even fit an empty slot. */
static uint64_t take_len(const struct convert *c, const struct copy_slot *slot,
                         const struct run *run)
{
    const uint64_t room = c->job.slot_size - slot->used;
    const uint64_t off = c->base + c->cursor.at;

    if (slot->pieces.count == COPY_PIECES || room == 0)
        return 0;
    if (run->len <= room)
        return run->len;
    if (run->kind == RUN_COMPRESSED && slot->pieces.count > 0)
        return 0;
    const uint64_t unit = min_u64(max_u64(c->rule.align, 4 * KiB), c->job.slot_size);
    const uint64_t cut = align_down(off + room, unit);
    if (cut > off)
        return cut - off;
    return slot->pieces.count > 0 ? 0 : room;
}

/* Zeros that the map knows of: nothing to read. */
static int plan_zeros(struct convert *c, struct copy_slot *slot, const struct run *run,
                      struct qimg_error *err)
{
    uint64_t len = run->len;

    if (!c->target.reads_zero) {
        len = min_u64(len, ZERO_STEP);
        const struct copy_write zeros = {
            .range = { .off = c->base + c->cursor.at, .len = len },
        };
        if (copy_write_vec_push(&slot->writes, zeros) < 0)
            return qimg_fail_memory(err);
    }
    copy_cursor_advance(&c->cursor, len);
    return 0;
}

/* @len bytes of @run are the slot's. The slot that ends a step stands for all of it. */
static void account(struct convert *c, struct copy_slot *slot, const struct run *run, uint64_t len)
{
    c->step += len;
    if (len < run->len && c->step < PROGRESS_STEP)
        return;
    slot->work += c->step;
    c->step = 0;
}

static int plan_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct convert *c = (struct convert *)job;

    while (slot->writes.count < COPY_PIECES && select_source(c)) {
        struct run run;
        TRY(peek(c, &run, err));
        if (!has_bytes(c, &run)) {
            TRY(plan_zeros(c, slot, &run, err));
            continue;
        }
        const uint64_t len = take_len(c, slot, &run);
        if (len == 0)
            break;
        const uint64_t off = c->base + c->cursor.at;
        account(c, slot, &run, len);
        run = run_part(&run, 0, len);
        if (!copy_slot_fetch(slot, c->cursor.image, &run, off))
            return qimg_fail_memory(err);
        slot->alone |= c->target.fresh && off + len == c->size;
        copy_cursor_advance(&c->cursor, len);
    }
    return slot->pieces.count > 0 || slot->writes.count > 0;
}

/* The bytes that will be read, which is what progress is counted in. */
static int count_work(struct convert *c, struct qimg_error *err)
{
    while (select_source(c)) {
        struct run run;
        TRY(peek(c, &run, err));
        if (has_bytes(c, &run))
            c->job.total += run.len;
        copy_cursor_advance(&c->cursor, run.len);
    }
    restart(c);
    return 0;
}

/* --- zero detection ------------------------------------------------------------------------- */

/* What is to be written of @len bytes at @off that lie in @buf. */
static int split_area(const struct convert *c, struct copy_slot *slot, uint64_t off,
                      const uint8_t *buf, uint64_t len)
{
    while (len > 0) {
        bool data;
        const size_t n = sparse_next(c->rule, off, buf, len, &data);
        const struct copy_write write = {
            .range = { .off = off, .len = n },
            .data = data ? buf : NULL,
        };
        if ((data || !c->target.reads_zero) && copy_write_vec_push(&slot->writes, write) < 0)
            return -ENOMEM;
        off += n;
        buf += n;
        len -= n;
    }
    return 0;
}

/* Where one block of the target is the measure, neighbouring pieces are one area. A longer one
 * is applied to each run of the map by itself, as QEMU does, so that the same holes come out. */
static size_t area_end(const struct convert *c, const struct copy_slot *slot, size_t first,
                       uint64_t *len)
{
    const struct copy_piece *pieces = slot->pieces.items;
    const bool merge = max_u64(c->rule.min_len, c->rule.align) <= 4 * KiB;
    size_t end = first + 1;

    *len = pieces[first].run.len;
    while (merge && end < slot->pieces.count && !pieces[end].done &&
           pieces[end].off == pieces[first].off + *len)
        *len += pieces[end++].run.len;
    return end;
}

static int transform_slot(const struct copy_job *job, struct copy_slot *slot)
{
    const struct convert *c = (const struct convert *)job;

    for (size_t i = 0, end; i < slot->pieces.count; i = end) {
        const struct copy_piece *piece = &slot->pieces.items[i];
        uint64_t len = 0;

        end = piece->done ? i + 1 : area_end(c, slot, i, &len);
        if (!piece->done)
            TRY(split_area(c, slot, piece->off, piece->buf, len));
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

static bool opened_direct(const struct qimg_image *image)
{
    return image->layers[0].image->file->options.direct;
}

/* Room for whole clusters of compressing images, and for what -S wants to see at once. */
static size_t choose_slot_size(const struct qimg_convert_options *options, bool in_worker)
{
    uint64_t size = in_worker ? CHUNK : LIMIT_COPY_BUFFER;

    for (size_t s = 0; s < options->source_count; s++)
        for (unsigned i = 0; i < options->sources[s]->layer_count; i++)
            size = max_u64(size, options->sources[s]->layers[i].image->cluster_size);
    size = max_u64(size, options->sparse_size);
    return (size_t)align_up(min_u64(size, LIMIT_COPY_BUFFER), 4 * KiB);
}

static void set_up_job(struct convert *c, const struct qimg_convert_options *options)
{
    static const struct copy_ops ops = {
        .plan = plan_slot,
        .transform = transform_slot,
        .finish = finish_slot,
    };
    struct copy_job *job = &c->job;

    /* Space that preallocation=full promises is written, like everything under -S 0. */
    const bool full = c->target.fresh && c->target.preallocation == PREALLOC_FULL;
    c->rule = sparse_rule_for(full ? 0 : options->sparse_size, c->target.file->request_align);
    job->ops = &ops;
    job->target = c->target.file;
    job->direct = c->target.file->options.direct;
    for (size_t s = 0; s < options->source_count; s++)
        job->direct |= opened_direct(options->sources[s]);
    job->window = options->parallel ? options->parallel : 8;
    job->any_order = options->out_of_order;
    job->salvage = options->salvage;
    job->offload = options->copy_offload;
    job->slot_size = choose_slot_size(options, copy_in_worker(job));
    job->rate_limit = options->rate_limit;
    job->progress = options->progress;
    job->user = options->user;
}

static int run(struct convert *c, struct qimg_error *err)
{
    restart(c);
    if (c->job.progress)
        TRY(count_work(c, err));
    TRY(copy_run(&c->job, err));
    return convert_target_complete(&c->target, err);
}

int qimg_convert(struct qimg_context *context, const struct qimg_convert_options *options,
                 struct qimg_error *err)
{
    struct convert c = { .job.context = context, .options = options };

    assert(options->parallel <= 16 && options->sparse_size % SECTOR == 0);
    for (size_t s = 0; s < options->source_count; s++)
        if (!add_fits(c.size, padded_size(options->sources[s]), &c.size))
            return qimg_fail(err, EFBIG, "The sources are too large together");
    TRY(convert_target_open(context, options, c.size, &c.target, err));
    set_up_job(&c, options);

    int rc = run(&c, err);
    convert_target_close(&c.target, rc < 0);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Which bytes of the sources are fetched, which parts of the target are zeroed, and which are left
 * as they are: what the map says is zero is never read, and where the target has a backing file,
 * only what the source's top image holds is copied (the rest is taken to be in the backing file,
 * as QEMU does).
 */
#include <assert.h>

#include "bits.h"
#include "checked.h"
#include "convert.h"
#include "explain.h"
#include "run_read.h"

#define SECTOR 512u

/* Progress is reported in steps of QEMU's buffers, or of shorter runs, as QEMU does. */
#define PROGRESS_STEP (2 * MiB)

/* Zeros are written a piece at a time, so that progress is seen. */
#define ZERO_STEP (256 * MiB)

/* QEMU sees whole sectors; the last one is filled up with zeros. */
static uint64_t source_size(const struct qimg_image *image)
{
    return align_up(image->size, SECTOR);
}

struct qimg_range convert_source_part(const struct qimg_convert_options *options,
                                      const struct qimg_image *image)
{
    return options->range ? *options->range : (struct qimg_range){ 0, source_size(image) };
}

/* --- the place -------------------------------------------------------------------------------- */

static void start_source(struct convert *c)
{
    if (c->source == c->options->source_count)
        return;
    struct qimg_image *image = c->options->sources[c->source];
    const struct qimg_range part = convert_source_part(c->options, image);
    copy_cursor_init(&c->cursor, image, range_end(part));
    c->cursor.at = part.off;
    c->cursor.salvage = c->job.salvage;
    c->base -= part.off; /* modulo 2^64: target_off() brings it back */
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

void convert_plan_restart(struct convert *c)
{
    c->source = 0;
    c->base = 0;
    c->settled_until = 0;
    c->step = 0;
    start_source(c);
}

static uint64_t target_off(const struct convert *c)
{
    return c->base + c->cursor.at;
}

static int status_failed(const struct convert *c, int code, struct qimg_error *err)
{
    if (err->code)
        context_note(c->job.context, QIMG_NOTE_DEBUG, "%s", err->text);
    if (c->options->dd_words)
        return convert_fail(c, code, false, c->cursor.at, err);
    return qimg_fail_errno(err, code, "error while reading block status at offset %llu",
                           (unsigned long long)c->cursor.at);
}

/* The run at the plan's place, not reaching over the end of the target's backing file. */
static int peek(struct convert *c, struct run *run, struct qimg_error *err)
{
    const uint64_t off = target_off(c), end = c->target.backing_end;

    int rc = copy_cursor_peek(&c->cursor, run, err);
    if (rc < 0)
        return status_failed(c, -rc, err);
    if (off < end && run->len > end - off)
        *run = run_part(run, 0, end - off);
    if (run->kind != RUN_BAD)
        return 0;
    (void)explain_run(c->cursor.image, run, err);
    return c->job.salvage ? 0 : status_failed(c, EIO, err);
}

/* --- what becomes of a run ------------------------------------------------------------------ */

/* What QEMU's block status of the source would make of it. */
static enum fate fate_of_run(const struct convert *c, const struct run *run)
{
    const bool above = c->target.has_backing && c->cursor.image->layer_count > 1;

    if (above && run->layer > 0)
        return FATE_LEAVE;
    if (!run_is_zero(run))
        return FATE_FETCH;
    if (target_off(c) >= c->target.backing_end)
        return FATE_LEAVE;
    return c->rule.min_len == 0 ? FATE_FETCH : FATE_ZERO;
}

/* How far from the plan's place on all is of the fate of @first, a run shorter than a unit; no
 * further than the end of that unit, and (as QEMU) of the target's backing file. */
static int common_fate(const struct convert *c, const struct run *first, uint64_t *len,
                       struct qimg_error *err)
{
    struct convert ahead = *c; /* only its place moves */
    const enum fate fate = fate_of_run(c, first);
    struct run run = *first;

    for (*len = 0; *len < c->unit && fate_of_run(&ahead, &run) == fate;) {
        *len += run.len;
        copy_cursor_advance(&ahead.cursor, run.len);
        if (ahead.cursor.at == ahead.cursor.end || target_off(&ahead) == c->target.backing_end)
            break;
        TRY(peek(&ahead, &run, err));
    }
    return 0;
}

/* The fate of the first *len bytes of @run. A unit that has bytes to be fetched is fetched as a
 * whole. */
static int choose(struct convert *c, const struct run *run, enum fate *fate, uint64_t *len,
                  struct qimg_error *err)
{
    const uint64_t off = target_off(c);

    *len = run->len;
    *fate = fate_of_run(c, run);
    if (off < c->settled_until) {
        if (*fate != FATE_FETCH || c->settled != FATE_FETCH)
            *len = min_u64(*len, c->settled_until - off);
        *fate = c->settled;
        return 0;
    }
    if (*fate == FATE_FETCH || c->unit == 1)
        return 0;
    assert(is_aligned(off, c->unit));
    if (*len < c->unit)
        TRY(common_fate(c, run, len, err));
    if (off + *len < c->size)
        *len = align_down(*len, c->unit);
    c->settled = *len > 0 ? *fate : FATE_FETCH;
    c->settled_until = off + (*len > 0 ? *len : c->unit);
    *fate = c->settled;
    *len = min_u64(run->len, c->settled_until - off);
    return 0;
}

/* @len bytes from the plan's place on are dealt with. */
static void advance(struct convert *c, enum fate fate, uint64_t len)
{
    const uint64_t end = align_up(target_off(c) + len, c->unit);

    if (fate == FATE_FETCH && end > c->settled_until) {
        c->settled = FATE_FETCH;
        c->settled_until = end;
    }
    copy_cursor_advance(&c->cursor, len);
}

/* --- slots ------------------------------------------------------------------------------------ */

/* How much of @len bytes of @run goes into the slot now; 0: it is full. Cuts lie where the target's
 * blocks end; a compressed cluster is cut only where it does not even fit an empty slot. */
static uint64_t take_len(const struct convert *c, const struct copy_slot *slot,
                         const struct run *run, uint64_t len)
{
    const uint64_t room = c->job.slot_size - slot->used;
    const uint64_t off = target_off(c);
    const bool between = is_aligned(off, c->unit);

    if ((slot->pieces.count >= COPY_PIECES && between) || room == 0)
        return 0;
    if (len <= room)
        return len;
    if (run->kind == RUN_COMPRESSED && slot->pieces.count > 0 && between)
        return 0;
    const uint64_t block = max_u64(c->unit, max_u64(c->rule.align, 4 * KiB));
    const uint64_t cut = align_down(off + room, min_u64(block, c->job.slot_size));
    if (cut > off)
        return cut - off;
    return slot->pieces.count > 0 && between ? 0 : room;
}

/* Zeros that the map knows of: nothing to read. */
static int plan_zeros(struct convert *c, struct copy_slot *slot, uint64_t len,
                      struct qimg_error *err)
{
    if (!c->target.reads_zero) {
        len = min_u64(len, ZERO_STEP);
        const struct copy_write zeros = { .range = { .off = target_off(c), .len = len } };
        if (copy_write_vec_push(&slot->writes, zeros) < 0)
            return qimg_fail_memory(err);
    }
    advance(c, FATE_ZERO, len);
    return 0;
}

/* The slot has taken @len of a run's @run_len bytes. The slot that ends a step stands for all of
 * it. */
static void account(struct convert *c, struct copy_slot *slot, uint64_t run_len, uint64_t len)
{
    c->step += len;
    if (len < run_len && c->step < PROGRESS_STEP)
        return;
    slot->work += c->step;
    c->step = 0;
}

/* The file system copies whole blocks of the target only: the rest of @run is another piece. */
static uint64_t offload_len(const struct convert *c, const struct run *run, uint64_t len)
{
    const uint64_t off = target_off(c), unit = c->grow;

    if (!c->job.offload || !c->job.image || run->kind != RUN_DATA)
        return len;
    if (!is_aligned(off, unit))
        return min_u64(len, align_up(off, unit) - off);
    return len > unit ? align_down(len, unit) : len;
}

/* 1: the slot has it; 0: the slot is full. */
static int plan_fetch(struct convert *c, struct copy_slot *slot, const struct run *run,
                      uint64_t len, struct qimg_error *err)
{
    const uint64_t taken = take_len(c, slot, run, offload_len(c, run, len));
    const uint64_t off = target_off(c);

    if (taken == 0)
        return 0;
    account(c, slot, len, taken);
    const struct run part = run_part(run, 0, taken);
    if (!copy_slot_fetch(slot, c->cursor.image, &part, off))
        return qimg_fail_memory(err);
    /* The unaligned end of a file that is written by O_DIRECT. */
    slot->alone |= c->target.file && c->target.fresh && off + taken == c->size;
    advance(c, FATE_FETCH, taken);
    return 1;
}

int convert_plan(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct convert *c = (struct convert *)job;

    while (slot->writes.count < COPY_PIECES && select_source(c)) {
        struct run run;
        uint64_t len;
        TRY(peek(c, &run, err));
        enum fate fate;
        TRY(choose(c, &run, &fate, &len, err));
        if (fate == FATE_FETCH) {
            const int fetched = plan_fetch(c, slot, &run, len, err);
            TRY(fetched);
            if (!fetched)
                break;
        } else if (fate == FATE_ZERO) {
            TRY(plan_zeros(c, slot, len, err));
        } else {
            advance(c, fate, len);
        }
    }
    return slot->pieces.count > 0 || slot->writes.count > 0;
}

int convert_plan_count(struct convert *c, struct qimg_error *err)
{
    while (select_source(c)) {
        struct run run;
        uint64_t len;
        TRY(peek(c, &run, err));
        enum fate fate;
        TRY(choose(c, &run, &fate, &len, err));
        if (fate == FATE_FETCH)
            c->job.total += len;
        advance(c, fate, len);
    }
    convert_plan_restart(c);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pull.h"

#include "bits.h"
#include "run_read.h"

void pull_walk_init(struct pull_walk *walk, const struct pull *pull)
{
    const struct image *top = pull->overlay->layers[0].image;
    const uint64_t unit = pull->options->compress ? top->cluster_size : top->map_unit;

    *walk = (struct pull_walk){ .pull = pull,
                                .unit = max_u64(unit, 512),
                                .by_unit = unit > top->map_unit };
    pair_cursor_init(&walk->cursor, pull->overlay, pull->other, pull->overlay->size);
}

void pull_walk_release(struct pull_walk *walk)
{
    pair_vec_release(&walk->parts);
}

/* QEMU comes upon wrong tables of either chain when it reads through them, but looks itself for
 * what the overlay has, and what lies between it and a base in its own chain. */
static int map_failed(const struct pull_walk *walk, unsigned side, const struct run *run, int rc,
                      struct qimg_error *err)
{
    const struct pull *pull = walk->pull;
    if (err->code)
        context_note(pull->overlay->context, QIMG_NOTE_DEBUG, "%s", err->text);
    if (side == 1)
        return qimg_fail(err, -rc, "error while reading from new backing file");
    if (run->kind == RUN_BAD && run->layer > 0 && pull->shared == 0)
        return qimg_fail(err, -rc, "error while reading from old backing file");
    return qimg_fail_errno(err, -rc, "error while reading image metadata");
}

static int peek_side(struct pull_walk *walk, unsigned side, struct run run[2],
                     struct qimg_error *err)
{
    const int rc = pair_cursor_peek_side(&walk->cursor, side, &run[side], err);
    return rc < 0 ? map_failed(walk, side, &run[side], rc, err) : 0;
}

/* Both runs at the cursor, in step, and what they mean. Where the overlay's map says enough, the
 * other one is not looked at: its tables may never have to be read. */
static int peek(struct pull_walk *walk, struct run run[2], enum span_kind *kind,
                struct qimg_error *err)
{
    const struct pull *pull = walk->pull;

    run[0] = (struct run){ .kind = RUN_UNALLOCATED };
    const int rc = copy_cursor_peek(&walk->cursor.side[0], &run[0], err);
    if (rc < 0)
        return map_failed(walk, 0, &run[0], rc, err);
    run[1] = run[0];
    *kind = SPAN_EQUAL; /* right or wrong */
    if (pull->shared > 0 && run[0].layer >= pull->shared)
        return 0;
    *kind = SPAN_OWN;
    TRY(peek_side(walk, 0, run, err));
    if (run[0].layer == 0 && run[0].kind != RUN_UNALLOCATED)
        return 0;
    *kind = SPAN_EQUAL;
    TRY(peek_side(walk, 1, run, err));
    (void)pair_clip(run);
    if (!pair_proved_equal(pull->overlay, pull->other, run))
        *kind = SPAN_OPEN;
    return 0;
}

/* Adds the first @len bytes of the runs at the cursor, and goes on behind them. */
static int take_part(struct pull_walk *walk, const struct run run[2], uint64_t len,
                     enum span_kind kind, struct qimg_error *err)
{
    const struct pair part = { .off = run[0].guest_off,
                               .len = len,
                               .run = { run_part(&run[0], 0, len), run_part(&run[1], 0, len) },
                               .tag = kind };

    if (pair_vec_push(&walk->parts, part) < 0)
        return qimg_fail_memory(err);
    pair_cursor_advance(&walk->cursor, len);
    return 0;
}

/* A unit in which runs of either side begin or end: OPEN where one part of it is. */
static int take_unit(struct pull_walk *walk, struct pull_span *out, struct qimg_error *err)
{
    const uint64_t end = min_u64(out->off + walk->unit, walk->pull->overlay->size);
    bool open = false, own = true;

    while (pair_cursor_at(&walk->cursor) < end) {
        enum span_kind kind;
        struct run run[2];
        TRY(peek(walk, run, &kind, err));
        TRY(take_part(walk, run, min_u64(run[0].len, end - run[0].guest_off), kind, err));
        open |= kind == SPAN_OPEN;
        own &= kind == SPAN_OWN;
    }
    out->len = end - out->off;
    out->kind = open ? SPAN_OPEN : own ? SPAN_OWN : SPAN_EQUAL;
    return 1;
}

int pull_walk_next(struct pull_walk *walk, struct pull_span *out, struct qimg_error *err)
{
    struct run run[2];

    walk->parts.count = 0;
    if (pair_cursor_at_end(&walk->cursor))
        return 0;
    TRY(peek(walk, run, &out->kind, err));
    const uint64_t end = run[0].guest_off + run[0].len;
    const bool last = end == walk->pull->overlay->size;
    const uint64_t whole = last ? end : align_down(end, walk->unit);

    out->off = run[0].guest_off;
    out->len = whole - out->off;
    if (out->len == 0 || (walk->by_unit && out->kind == SPAN_OPEN))
        return take_unit(walk, out, err);
    TRY(take_part(walk, run, out->len, out->kind, err));
    return 1;
}

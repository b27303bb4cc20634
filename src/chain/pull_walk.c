/* SPDX-License-Identifier: Apache-2.0 */
#include "pull.h"

#include "bits.h"
#include "run_read.h"

void pull_walk_init(struct pull_walk *walk, struct qimg_image *overlay, struct qimg_image *other,
                    bool packing)
{
    const struct image *top = overlay->layers[0].image;
    const uint64_t unit = packing ? top->cluster_size : top->map_unit;

    *walk = (struct pull_walk){ .side = { overlay, other },
                                .unit = max_u64(unit, 512),
                                .by_unit = unit > top->map_unit };
    pair_cursor_init(&walk->cursor, overlay, other, overlay->size);
}

void pull_walk_release(struct pull_walk *walk)
{
    pair_vec_release(&walk->parts);
}

static enum span_kind kind_of(const struct pull_walk *walk, const struct run run[2])
{
    if (pull_owns(&run[0]))
        return SPAN_OWN;
    return pair_proved_equal(walk->side[0], walk->side[1], run) ? SPAN_EQUAL : SPAN_OPEN;
}

static int map_failed(const struct pull_walk *walk, int rc, struct qimg_error *err)
{
    if (err->code)
        context_note(walk->side[0]->context, QIMG_NOTE_DEBUG, "%s", err->text);
    return qimg_fail_errno(err, -rc, "error while reading image metadata");
}

/* Adds the pair of runs at the cursor, cut to @len bytes, and goes on behind it. */
static int take_part(struct pull_walk *walk, const struct run run[2], uint64_t len,
                     struct qimg_error *err)
{
    struct pair part = { .off = run[0].guest_off,
                         .len = len,
                         .run = { run_part(&run[0], 0, len), run_part(&run[1], 0, len) } };

    part.tag = kind_of(walk, part.run);
    if (pair_vec_push(&walk->parts, part) < 0)
        return qimg_fail_memory(err);
    pair_cursor_advance(&walk->cursor, len);
    return 0;
}

/* A unit in which runs of either side begin or end: OPEN where one part of it is. */
static int take_unit(struct pull_walk *walk, struct pull_span *out, struct qimg_error *err)
{
    const uint64_t end = min_u64(out->off + walk->unit, walk->side[0]->size);
    bool open = false, own = true;

    while (pair_cursor_at(&walk->cursor) < end) {
        struct run run[2];
        unsigned failed;
        const int rc = pair_cursor_peek(&walk->cursor, run, &failed, err);
        if (rc < 0)
            return map_failed(walk, rc, err);
        const uint64_t len = min_u64(pair_clip(run), end - run[0].guest_off);
        TRY(take_part(walk, run, len, err));
        const unsigned kind = walk->parts.items[walk->parts.count - 1].tag;
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
    unsigned failed;

    walk->parts.count = 0;
    if (pair_cursor_at_end(&walk->cursor))
        return 0;
    const int rc = pair_cursor_peek(&walk->cursor, run, &failed, err);
    if (rc < 0)
        return map_failed(walk, rc, err);
    const uint64_t at = run[0].guest_off;
    const uint64_t end = at + pair_clip(run);
    const uint64_t whole = end == walk->side[0]->size ? end : align_down(end, walk->unit);

    *out = (struct pull_span){ .off = at, .len = whole - at };
    if (out->len == 0 || (walk->by_unit && kind_of(walk, run) == SPAN_OPEN))
        return take_unit(walk, out, err);
    TRY(take_part(walk, run, out->len, err));
    out->kind = walk->parts.items[0].tag;
    return 1;
}

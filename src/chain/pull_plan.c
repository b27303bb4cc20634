/* SPDX-License-Identifier: Apache-2.0
 *
 * What pulling would do, from the maps alone.
 */
#include "bits.h"
#include "pull.h"
#include "run_read.h"

/* Distinct blocks of one size that ascending ranges touch. */
struct touched {
    uint64_t size, count, next; /* the first block that was not counted yet */
};

static void touch(struct touched *t, uint64_t off, uint64_t len)
{
    if (t->size == 0 || len == 0)
        return;
    const uint64_t first = max_u64(off / t->size, t->next);
    const uint64_t end = div_up(off + len, t->size);
    t->count += end - min_u64(first, end);
    t->next = max_u64(end, t->next);
}

static void count_reads(const struct pull *pull, const struct pair_vec *parts,
                        struct qimg_pull_plan *out)
{
    for (size_t i = 0; i < parts->count; i++) {
        const struct pair *part = &parts->items[i];
        if (part->tag == SPAN_OWN)
            continue;
        if (!run_is_zero(&part->run[0]))
            out->read_old += part->len;
        if (part->tag == SPAN_OPEN && pull->compare && !run_is_zero(&part->run[1]))
            out->read_new += part->len;
    }
}

static bool all_zero(const struct pair_vec *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        if (!run_is_zero(&parts->items[i].run[0]))
            return false;
    return true;
}

/* How much of @span, from its start, may become data; the rest is zeros, and marked. */
static uint64_t data_len(const struct pull_walk *walk, const struct pull_span *span)
{
    const struct pull *pull = walk->pull;
    const uint64_t end = span->off + span->len;

    if (!all_zero(&walk->parts) || !pull_marks_zeros(pull, end - 1))
        return span->len;
    if (pull_marks_zeros(pull, span->off))
        return 0;
    return min_u64(align_up(pull->zeros_from, walk->unit), end) - span->off;
}

static int count_spans(const struct pull *pull, struct pull_walk *walk, struct touched touched[2],
                       struct qimg_pull_plan *out, struct qimg_error *err)
{
    struct pull_span span;
    int rc;

    while ((rc = pull_walk_next(walk, &span, err)) > 0) {
        uint64_t *const of[] = {
            [SPAN_OWN] = &out->own, [SPAN_EQUAL] = &out->proved, [SPAN_OPEN] = &out->looked
        };
        *of[span.kind] += span.len;
        if (span.kind != SPAN_OPEN)
            continue;
        count_reads(pull, &walk->parts, out);
        const uint64_t data = data_len(walk, &span);
        out->copy_max += data;
        out->zero_max += span.len - data;
        touch(&touched[0], span.off, data);
        touch(&touched[1], span.off, span.len);
    }
    return rc;
}

int pull_plan(const struct pull *pull, struct qimg_pull_plan *out, struct qimg_error *err)
{
    struct image *top = pull->overlay->layers[0].image;
    struct touched touched[2] = { { .size = top->cluster_size }, { .size = top->table_span } };
    struct pull_walk walk;
    struct io_stat st;

    pull_walk_init(&walk, pull);
    int rc = count_spans(pull, &walk, touched, out, err);
    pull_walk_release(&walk);
    if (rc < 0)
        return rc;
    rc = io_stat(top->file, &st);
    out->file_size = out->file_max = st.size;
    if (rc == 0 && top->ops->grown_size)
        rc = top->ops->grown_size(top, touched[0].count, touched[1].count, &out->file_max);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not get image size") : 0;
}

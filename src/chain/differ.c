/* SPDX-License-Identifier: Apache-2.0 */
#include "differ.h"

/* What an image has at @off, where the other one is at its end. */
static struct qimg_compare_side side_of_tail(const struct qimg_image *image, uint64_t off)
{
    return (struct qimg_compare_side){
        .kind = QIMG_UNALLOCATED,
        .past_end = qimg_image_size(image) <= off,
    };
}

void differ_init(struct differ *differ, const struct qimg_compare_options *options,
                 struct qimg_compare_result *result, struct qimg_range tail)
{
    *differ = (struct differ){ .options = options, .result = result };
    if (tail.len == 0)
        return;
    differ->tail = (struct qimg_compare_difference){
        .range = tail,
        .why = QIMG_COMPARE_SIZE,
        .side = { side_of_tail(options->a, tail.off), side_of_tail(options->b, tail.off) },
    };
}

void differ_decide(struct differ *differ, enum qimg_compare_verdict verdict, uint64_t offset)
{
    if (differ_decided(differ))
        return;
    differ->result->verdict = verdict;
    differ->result->offset = offset;
}

static bool same_side(const struct qimg_compare_side *a, const struct qimg_compare_side *b)
{
    return a->kind == b->kind && a->past_end == b->past_end &&
           (a->kind == QIMG_UNALLOCATED || a->layer == b->layer);
}

static bool continues(const struct qimg_compare_difference *a,
                      const struct qimg_compare_difference *b)
{
    return a->range.len > 0 && a->why == b->why && a->range.off + a->range.len == b->range.off &&
           same_side(&a->side[0], &b->side[0]) && same_side(&a->side[1], &b->side[1]);
}

static void tell(const struct differ *differ, struct qimg_compare_difference *difference)
{
    if (difference->range.len > 0 && differ->options->difference)
        differ->options->difference(differ->options->user, difference);
    difference->range.len = 0;
}

void differ_add(struct differ *differ, const struct qimg_compare_difference *difference)
{
    differ_decide(differ, difference->why, difference->range.off);
    if (difference->why == QIMG_COMPARE_CONTENT)
        differ->result->different_bytes += difference->range.len;
    if (continues(&differ->held, difference)) {
        differ->held.range.len += difference->range.len;
        return;
    }
    tell(differ, &differ->held);
    if (difference->range.off >= differ->tail.range.off)
        tell(differ, &differ->tail);
    differ->held = *difference;
}

void differ_end(struct differ *differ)
{
    tell(differ, &differ->held);
    tell(differ, &differ->tail);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "chain.h"
#include "differ.h"

static char told[512];

/* "content 0+512 d0 z1; " */
static void note(void *user, const struct qimg_compare_difference *d)
{
    static const char *const why[] = { "same", "content", "size", "status" };
    static const char kinds[] = "uzdc";
    const size_t len = strlen(told);

    (void)user;
    (void)snprintf(told + len, sizeof(told) - len, "%s %lu+%lu %c%u%s %c%u%s; ", why[d->why],
                   (unsigned long)d->range.off, (unsigned long)d->range.len, kinds[d->side[0].kind],
                   d->side[0].layer, d->side[0].past_end ? "!" : "", kinds[d->side[1].kind],
                   d->side[1].layer, d->side[1].past_end ? "!" : "");
}

static struct qimg_compare_difference content(uint64_t off, uint64_t len,
                                              enum qimg_extent_kind kind, uint32_t layer)
{
    return (struct qimg_compare_difference){
        .range = { off, len },
        .why = QIMG_COMPARE_CONTENT,
        .side = { { .kind = kind, .layer = layer }, { .kind = QIMG_ZERO } },
    };
}

struct session {
    struct qimg_image a, b;
    struct qimg_compare_options options;
    struct qimg_compare_result result;
    struct differ differ;
};

static void begin(struct session *s, struct qimg_range tail)
{
    *s = (struct session){ .a.size = tail.off, .b.size = tail.off + tail.len };
    s->options = (struct qimg_compare_options){ .a = &s->a, .b = &s->b, .difference = note };
    differ_init(&s->differ, &s->options, &s->result, tail);
    *told = '\0';
}

static void add(struct session *s, struct qimg_compare_difference difference)
{
    differ_add(&s->differ, &difference);
}

Test(differ, neighbours_from_the_same_layers_become_one)
{
    struct session s;

    begin(&s, (struct qimg_range){ 0 });
    add(&s, content(0, 512, QIMG_DATA, 0));
    add(&s, content(512, 512, QIMG_DATA, 0));
    add(&s, content(1024, 512, QIMG_DATA, 1));       /* another layer */
    add(&s, content(1536, 512, QIMG_COMPRESSED, 1)); /* another kind */
    add(&s, content(4096, 512, QIMG_COMPRESSED, 1)); /* a gap */
    add(&s, content(4608, 512, QIMG_UNALLOCATED, 1));
    add(&s, content(5120, 512, QIMG_UNALLOCATED, 2)); /* nothing comes from no layer */
    differ_end(&s.differ);
    cr_expect_str_eq(told, "content 0+1024 d0 z0; content 1024+512 d1 z0; content 1536+512 c1 z0; "
                           "content 4096+512 c1 z0; content 4608+1024 u1 z0; ");
    cr_expect_eq(s.result.different_bytes, 7 * 512);
}

Test(differ, the_first_one_is_the_verdict)
{
    struct session s;

    begin(&s, (struct qimg_range){ 0 });
    cr_expect_not(differ_decided(&s.differ));
    add(&s, content(1024, 512, QIMG_DATA, 0));
    differ_decide(&s.differ, QIMG_COMPARE_STATUS, 0);
    cr_expect_eq(s.result.verdict, QIMG_COMPARE_CONTENT);
    cr_expect_eq(s.result.offset, 1024);
}

Test(differ, what_only_one_has_is_told_in_its_place)
{
    static const struct {
        uint64_t off[2];
        const char *told;
    } cases[] = {
        { { 0, 512 }, "content 0+1024 d0 z0; size 8192+4096 u0! u0; " },
        { { 0, 8192 }, "content 0+512 d0 z0; size 8192+4096 u0! u0; content 8192+512 d0 z0; " },
        { { 8192, 9216 },
          "size 8192+4096 u0! u0; content 8192+512 d0 z0; content 9216+512 d0 z0; " },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct session s;
        begin(&s, (struct qimg_range){ 8192, 4096 });
        add(&s, content(cases[i].off[0], 512, QIMG_DATA, 0));
        add(&s, content(cases[i].off[1], 512, QIMG_DATA, 0));
        differ_end(&s.differ);
        cr_expect_str_eq(told, cases[i].told, "case %zu: %s", i, told);
    }
}

Test(differ, a_longer_image_alone_is_a_size_and_no_verdict)
{
    struct session s;

    begin(&s, (struct qimg_range){ 8192, 4096 });
    differ_end(&s.differ);
    cr_expect_str_eq(told, "size 8192+4096 u0! u0; ");
    cr_expect_not(differ_decided(&s.differ));
}

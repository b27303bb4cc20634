/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing features in place: content stays, the header says what was asked, and a crash leaves
 * the old features or the new ones.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "verb_rig.h"

static struct amend_request request;

static int amend(struct image *image, struct qimg_error *err)
{
    return qcow2_admin_ops.amend(image, &request, err);
}

/* verb_state() behind the features. */
static const char *content(const char *state)
{
    for (unsigned i = 0; i < 3; i++)
        state = strchr(state, ' ') + 1;
    return state;
}

static void expect_kept(struct io_engine *engine, const char *title)
{
    struct qimg_error err;
    AUTO_FREE char *before = verb_state(engine);

    cr_assert_eq(verb_run(engine, amend, &err), 0, "%s: %s", title, err.text);
    verb_expect_sound(engine, title, false);
    AUTO_FREE char *after = verb_state(engine);
    cr_expect_str_eq(content(before), content(after), "%s", title);
}

Test(qcow2_amend, every_refcount_width_to_every_other)
{
    for (unsigned from = 1; from <= 64; from *= 2) {
        for (unsigned to = 1; to <= 64; to *= 2) {
            const struct verb_layout l = { .title = "widths",
                                           .version = 3,
                                           .cluster_size = 512,
                                           .refcount_bits = from,
                                           .size = 64 * KiB };
            struct io_engine *engine = verb_image(&l);
            char title[32];
            (void)snprintf(title, sizeof(title), "%u to %u", from, to);
            request = (struct amend_request){ .refcount_bits = to };
            struct qimg_error err;
            /* Packed clusters share one host cluster: one bit may be too narrow for them. */
            if (to == 1 && from > 1 && verb_run(engine, amend, &err) == -EINVAL)
                cr_expect_eq(
                    strncmp(err.text, "Cannot decrease refcount entry width to 1 bits", 46), 0,
                    "%s", err.text);
            else
                expect_kept(engine, title);
            io_engine_free(engine);
        }
    }
}

Test(qcow2_amend, there_and_back_again_between_the_versions)
{
    for (size_t i = 0; i < verb_layout_count; i++) {
        const struct verb_layout *l = &verb_layouts[i];
        struct io_engine *engine = verb_image(l);
        struct qimg_error err;
        request = (struct amend_request){ .version = 2, .refcount_bits = 16 };
        if (l->extended_l2) {
            cr_expect_eq(verb_run(engine, amend, &err), -ENOTSUP);
            cr_expect_str_eq(err.text,
                             "Cannot downgrade an image with incompatible features 0x10 set");
            io_engine_free(engine);
            continue;
        }
        if (l->refcount_bits != 2)
            cr_assert_eq(verb_run(engine, verb_snapshot_one, &err), 0, "%s", err.text);
        verb_scribble(engine, 0x60);
        expect_kept(engine, l->title);
        request.version = 3;
        expect_kept(engine, l->title);
        io_engine_free(engine);
    }
}

Test(qcow2_amend, a_crash_leaves_the_old_features_or_the_new_ones)
{
    static const struct amend_request requests[] = {
        { .refcount_bits = 64 },
        { .refcount_bits = 8 },
        { .set_lazy_refcounts = true, .lazy_refcounts = true },
        { .version = 2 },
    };

    for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
        struct io_engine *engine = verb_image(&verb_layouts[verb_layout_count - 1]);
        struct qimg_error err;
        cr_assert_eq(verb_run(engine, verb_snapshot_one, &err), 0, "%s", err.text);
        verb_scribble(engine, 0x60);
        request = requests[i];
        cr_expect_gt(verb_expect_atomic(engine, amend, "amend"), 8, "request %zu", i);
        io_engine_free(engine);
    }
}

Test(qcow2_amend, a_crash_while_the_version_goes_up_leaves_either)
{
    struct io_engine *engine = verb_image(&verb_layouts[1]);
    struct qimg_error err;

    cr_assert_eq(verb_run(engine, verb_snapshot_one, &err), 0, "%s", err.text);
    request = (struct amend_request){ .version = 3 };
    cr_expect_gt(verb_expect_atomic(engine, amend, "up"), 8);
    io_engine_free(engine);
}

Test(qcow2_amend, what_cannot_be_is_refused_before_anything_changes)
{
    static const struct {
        size_t layout;
        struct amend_request request;
        const char *text;
    } cases[] = {
        { 0,
          { .refcount_bits = 3 },
          "Refcount width must be a power of two and may not exceed 64 bits" },
        { 1,
          { .refcount_bits = 8 },
          "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "
          "compat=1.1 or greater)" },
        { 1,
          { .set_lazy_refcounts = true, .lazy_refcounts = true },
          "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 "
          "or greater)" },
        { 0,
          { .data_file = "x" },
          "data-file can only be set for images that use an external data file" },
        { 0,
          { .set_data_file_raw = true, .data_file_raw = true },
          "data-file-raw cannot be set on existing images" },
        { 3, { .version = 2 }, "compat=0.10 requires refcount_bits=16" },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct io_engine *engine = verb_image(&verb_layouts[cases[i].layout]);
        AUTO_FREE char *before = verb_state(engine);
        struct qimg_error err;
        request = cases[i].request;
        cr_expect_lt(verb_run(engine, amend, &err), 0, "case %zu", i);
        cr_expect_str_eq(err.text, cases[i].text);
        AUTO_FREE char *after = verb_state(engine);
        cr_expect_str_eq(before, after, "case %zu", i);
        io_engine_free(engine);
    }
}

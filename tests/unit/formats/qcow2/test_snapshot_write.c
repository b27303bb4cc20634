/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal snapshots: what they keep, in which order the table has them, what is refused; and that
 * a crash leaves the old state or the new one.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "tier.h"
#include "verb_rig.h"

/* The line of verb_state() about snapshot @index (1 = the first; 0 = the active state), without
 * what stands in front of size and hash. */
static const char *line_of(const char *state, unsigned index)
{
    for (; index > 0 && state; index--) {
        state = strchr(state, '\n');
        state += state != NULL;
    }
    return state;
}

static const char *content_of(const char *state, unsigned index)
{
    const char *line = line_of(state, index);

    for (unsigned i = 0; line && i < (index ? 2 : 3); i++)
        line = strchr(line, ' ') + 1;
    return line;
}

static bool same_content(const char *a, unsigned i, const char *b, unsigned j)
{
    const char *x = content_of(a, i), *y = content_of(b, j);

    return x && y && strcspn(x, "\n") == strcspn(y, "\n") && strncmp(x, y, strcspn(x, "\n")) == 0;
}

static void run(struct io_engine *engine, verb_fn verb, const char *title)
{
    struct qimg_error err;

    cr_assert_eq(verb_run(engine, verb, &err), 0, "%s: %s", title, err.text);
    verb_expect_sound(engine, title, false);
}

Test(qcow2_snapshot_write, keeps_and_brings_back_what_the_disk_held)
{
    for (size_t i = 0; i < verb_layout_count; i++) {
        const struct verb_layout *l = &verb_layouts[i];
        struct io_engine *engine = verb_image(l);
        AUTO_FREE char *first = verb_state(engine);

        run(engine, verb_snapshot_one, l->title);
        verb_scribble(engine, 0x60);
        AUTO_FREE char *second = verb_state(engine);
        cr_expect(same_content(second, 1, first, 0), "%s: the snapshot changed", l->title);
        cr_expect(!same_content(second, 0, first, 0), "%s: nothing was written", l->title);

        run(engine, verb_apply_one, l->title);
        AUTO_FREE char *third = verb_state(engine);
        cr_expect(same_content(third, 0, first, 0), "%s: not brought back", l->title);
        verb_scribble(engine, 0x90);
        run(engine, verb_delete_one, l->title);
        AUTO_FREE char *last = verb_state(engine);
        cr_expect_null(line_of(last, 1), "%s: still there", l->title);
        io_engine_free(engine);
    }
}

Test(qcow2_snapshot_write, an_image_is_not_longer_after_making_and_deleting_one)
{
    for (size_t i = 0; i < verb_layout_count; i++) {
        struct io_engine *engine = verb_image(&verb_layouts[i]);
        const uint64_t size = io_sim_size(engine, "disk"), cs = verb_layouts[i].cluster_size;

        run(engine, verb_snapshot_one, verb_layouts[i].title);
        run(engine, verb_delete_one, verb_layouts[i].title);
        cr_expect_leq(io_sim_size(engine, "disk"), align_up(size, cs), "%s", verb_layouts[i].title);
        io_engine_free(engine);
    }
}

Test(qcow2_snapshot_write, a_crash_while_one_is_made_leaves_it_there_or_not)
{
    for (size_t i = 0; i < verb_layout_count; i += tier_sample(3)) {
        struct io_engine *engine = verb_image(&verb_layouts[i]);
        cr_expect_gt(verb_expect_atomic(engine, verb_snapshot_one, verb_layouts[i].title), 100);
        io_engine_free(engine);
    }
}

Test(qcow2_snapshot_write, a_crash_while_one_is_applied_leaves_either_state)
{
    for (size_t i = 0; i < verb_layout_count; i += tier_sample(3)) {
        struct io_engine *engine = verb_image(&verb_layouts[i]);
        run(engine, verb_snapshot_one, verb_layouts[i].title);
        verb_scribble(engine, 0x60);
        cr_expect_gt(verb_expect_atomic(engine, verb_apply_one, verb_layouts[i].title), 100);
        io_engine_free(engine);
    }
}

Test(qcow2_snapshot_write, a_crash_while_one_is_deleted_leaves_it_there_or_not)
{
    for (size_t i = 0; i < verb_layout_count; i += tier_sample(3)) {
        struct io_engine *engine = verb_image(&verb_layouts[i]);
        run(engine, verb_snapshot_one, verb_layouts[i].title);
        verb_scribble(engine, 0x60);
        cr_expect_gt(verb_expect_atomic(engine, verb_delete_one, verb_layouts[i].title), 100);
        io_engine_free(engine);
    }
}

/* --- names, ids, refusals ------------------------------------------------------------------- */

static const char *name_to_make;

static int make_named(struct image *image, struct qimg_error *err)
{
    const struct snapshot_request request = { .name = name_to_make };

    return qcow2_admin_ops.snapshot_create(image, &request, err);
}

static int delete_by_id(struct image *image, struct qimg_error *err)
{
    return qcow2_admin_ops.snapshot_delete(image, &(struct snapshot_request){ .name = "2" }, err);
}

static int apply_by_id(struct image *image, struct qimg_error *err)
{
    return qcow2_admin_ops.snapshot_apply(image, &(struct snapshot_request){ .name = "2" }, err);
}

Test(qcow2_snapshot_write, ids_go_up_names_may_repeat_and_delete_takes_the_first_of_a_name)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    struct qimg_error err;

    for (unsigned i = 0; i < 3; i++) {
        name_to_make = i == 1 ? "other" : "one";
        run(engine, make_named, "make");
    }
    AUTO_FREE char *three = verb_state(engine);
    cr_expect_eq(strncmp(line_of(three, 2), "2 other", 7), 0, "%s", three);
    cr_expect_eq(verb_run(engine, delete_by_id, &err), -ENOENT);
    cr_expect_str_eq(err.text, "snapshot not found");
    cr_expect_eq(verb_run(engine, apply_by_id, &err), 0, "%s", err.text);
    run(engine, verb_delete_one, "delete");
    AUTO_FREE char *two = verb_state(engine);
    cr_expect_eq(strncmp(line_of(two, 1), "2 other", 7), 0, "%s", two);
    cr_expect_eq(strncmp(line_of(two, 2), "3 one", 5), 0, "%s", two);
    io_engine_free(engine);
}

Test(qcow2_snapshot_write, a_name_is_cut_after_255_bytes)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    char name[301];

    memset(name, 'n', 300);
    name[300] = '\0';
    name_to_make = name;
    run(engine, make_named, "long");
    AUTO_FREE char *state = verb_state(engine);
    cr_expect_eq(strspn(line_of(state, 1) + 2, "n"), 255);
    io_engine_free(engine);
}

Test(qcow2_snapshot_write, a_refcount_that_does_not_fit_is_refused_and_nothing_changes)
{
    const struct verb_layout narrow = {
        .title = "1 bit", .version = 3, .cluster_size = 4096, .refcount_bits = 1, .size = 65536
    };
    struct io_engine *engine = verb_image(&narrow);
    const uint64_t size = io_sim_size(engine, "disk");
    AUTO_FREE char *before = verb_state(engine);
    struct qimg_error err;

    cr_expect_eq(verb_run(engine, verb_snapshot_one, &err), -EINVAL);
    cr_expect_str_eq(err.text, "Invalid argument");
    AUTO_FREE char *after = verb_state(engine);
    cr_expect_str_eq(before, after);
    cr_expect_eq(io_sim_size(engine, "disk"), size);
    verb_expect_sound(engine, "1 bit", false);
    io_engine_free(engine);
}

Test(qcow2_snapshot_write, images_with_a_data_file_have_none)
{
    const struct verb_layout with = {
        .title = "data", .version = 3, .cluster_size = 65536, .size = 512 * KiB, .data_file = true
    };
    struct io_engine *engine = verb_image(&with);
    struct qimg_error err;

    cr_expect_eq(verb_run(engine, verb_snapshot_one, &err), -ENOTSUP);
    cr_expect_str_eq(err.text, "Operation not supported");
    cr_expect_eq(verb_run(engine, verb_apply_one, &err), -ENOTSUP);
    cr_expect_str_eq(err.text, "Failed to load snapshot: Operation not supported");
    cr_expect_eq(verb_run(engine, verb_delete_one, &err), -ENOENT);
    io_engine_free(engine);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * L1 tables that link a table again and again: verbs go through it once, and all counts are right.
 */
#include <criterion/criterion.h>

#include "base_limits.h"
#include "check_request.h"
#include "cleanup.h"
#include "tree.h"
#include "verb_rig.h"

#define LINKS 300 /* to the first table, in clusters of 512 bytes: more than it has entries */

static const struct verb_layout layout = {
    .title = "links", .version = 3, .cluster_size = 512, .size = LINKS * 32 * KiB
};

static uint64_t first_word(const struct qcow2 *q)
{
    uint8_t raw[8];

    cr_assert_eq(io_read_exact(q->image.file, q->header.l1_off, raw, 8, NULL), 0);
    return load_be64(raw);
}

static int link_again(struct image *image, struct qimg_error *err)
{
    const struct qcow2 *q = qcow2_of(image);
    const uint64_t word = first_word(q);
    uint8_t raw[8];

    (void)err;
    store_be64(raw, word);
    for (uint64_t i = 1; i < LINKS; i++)
        cr_assert_eq(io_write_exact(image->file, q->header.l1_off + 8 * i, raw, 8), 0);
    return 0;
}

static void repair(struct io_engine *engine)
{
    const struct io_open_options how = { .writable = true };
    const struct image_open_options as = { .writable = true, .check = true };
    const struct check_request request = { .fix = QIMG_CHECK_FIX_ALL };
    struct qimg_check_result result = { 0 };
    struct qimg_error err;
    struct io_file *file;
    struct image *image;

    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    cr_assert_eq(qcow2_ops.open(file, &as, &image, &err), 0, "%s", err.text);
    cr_assert_eq(qcow2_ops.check(image, &request, &result, &err), 0, "%s", err.text);
    image_close(image);
}

static struct io_engine *linked_image(void)
{
    struct io_engine *engine = verb_image(&layout);
    struct qimg_error err;

    cr_assert_eq(verb_run(engine, link_again, &err), 0);
    repair(engine);
    verb_expect_sound(engine, "linked again", false);
    return engine;
}

static void run(struct io_engine *engine, verb_fn verb, const char *title)
{
    struct qimg_error err;

    cr_assert_eq(verb_run(engine, verb, &err), 0, "%s: %s", title, err.text);
    verb_expect_sound(engine, title, false);
}

static int shrink(struct image *image, struct qimg_error *err)
{
    return verb_resize(image, 40 * KiB, PREALLOC_OFF, err);
}

Test(qcow2_tree_each, snapshots_of_a_table_that_is_linked_again_and_again_are_sound)
{
    struct io_engine *engine = linked_image();
    AUTO_FREE char *before = verb_state(engine);

    run(engine, verb_snapshot_one, "create");
    run(engine, verb_apply_one, "apply");
    run(engine, verb_delete_one, "delete");
    AUTO_FREE char *after = verb_state(engine);
    cr_expect_str_eq(before, after);
    run(engine, shrink, "shrink");
    io_engine_free(engine);
}

/* A copy without COPIED bits serves all links, too. */
static int mark_copied(struct image *image, struct qimg_error *err)
{
    const struct qcow2 *q = qcow2_of(image);
    const uint64_t table = first_word(q) & QCOW2_OFFSET_MASK;
    uint8_t raw[8];

    (void)err;
    cr_assert_eq(io_read_exact(image->file, table, raw, 8, NULL), 0);
    store_be64(raw, load_be64(raw) | QCOW2_COPIED);
    cr_assert_eq(io_write_exact(image->file, table, raw, 8), 0);
    return 0;
}

Test(qcow2_tree_each, bits_that_lie_are_gone_from_the_one_copy_that_all_links_share)
{
    struct io_engine *engine = linked_image();
    struct qimg_error err;
    AUTO_FREE char *before = verb_state(engine);

    cr_assert_eq(verb_run(engine, mark_copied, &err), 0);
    const uint64_t size = io_sim_size(engine, "disk");
    run(engine, verb_snapshot_one, "create");
    cr_expect_lt(io_sim_size(engine, "disk"), size + 40 * 512, "not a copy a link");
    run(engine, verb_apply_one, "apply");
    cr_assert_eq(verb_run(engine, mark_copied, &err), 0, "in what the snapshot shares, too");
    cr_assert_eq(verb_run(engine, verb_apply_one, &err), 0, "%s", err.text);
    run(engine, verb_delete_one, "delete");
    AUTO_FREE char *after = verb_state(engine);
    cr_expect_str_eq(before, after);
    io_engine_free(engine);
}

/* --- stopping ------------------------------------------------------------------------------- */

static int stop_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    return done <= total;
}

static int stopped_create(struct image *image, struct qimg_error *err)
{
    const struct snapshot_request r = { .name = "two", .progress = stop_at_once };
    return qcow2_admin_ops.snapshot_create(image, &r, err);
}

static int stopped_apply(struct image *image, struct qimg_error *err)
{
    const struct snapshot_request r = { .name = "one", .progress = stop_at_once };
    return qcow2_admin_ops.snapshot_apply(image, &r, err);
}

static int stopped_delete(struct image *image, struct qimg_error *err)
{
    const struct snapshot_request r = { .name = "one", .progress = stop_at_once };
    return qcow2_admin_ops.snapshot_delete(image, &r, err);
}

static int stopped_shrink(struct image *image, struct qimg_error *err)
{
    const struct resize_request r = { .size = 40 * KiB, .progress = stop_at_once };
    return qcow2_admin_ops.resize(image, &r, err);
}

Test(qcow2_tree_each, a_verb_that_is_asked_to_stop_leaves_the_image_as_it_was)
{
    static const verb_fn verbs[] = { stopped_create, stopped_apply, stopped_delete,
                                     stopped_shrink };
    struct io_engine *engine = verb_image(&layout);

    run(engine, verb_snapshot_one, "create");
    AUTO_FREE char *before = verb_state(engine);
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++) {
        struct qimg_error err;
        cr_expect_eq(verb_run(engine, verbs[i], &err), -ECANCELED, "verb %zu: %s", i, err.text);
        AUTO_FREE char *after = verb_state(engine);
        cr_expect_str_eq(before, after, "verb %zu", i);
        verb_expect_sound(engine, "stopped", false);
    }
    io_engine_free(engine);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Emptying an overlay: what it shows then, what stays, and how short the file gets. Crash states
 * are in tests/crash (scenes "empty").
 */
#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "verb_rig.h"

static int forget(struct image *image, struct qimg_error *err)
{
    return image->ops->admin->empty(image, err);
}

static void run(struct io_engine *engine, verb_fn verb, const char *title)
{
    struct qimg_error err;

    cr_assert_eq(verb_run(engine, verb, &err), 0, "%s: %s", title, err.text);
    verb_expect_sound(engine, title, false);
}

/* What is allocated of the active state. */
static int count_allocated(struct image *image, struct qimg_error *err)
{
    struct extent_vec extents = { 0 };
    int rc = image_map(image, (struct qimg_range){ 0, image->size }, &extents, err);

    for (size_t i = 0; rc == 0 && i < extents.count; i++)
        rc = extents.items[i].kind != EXTENT_RESERVED;
    extent_vec_release(&extents);
    return rc;
}

Test(qcow2_empty, nothing_is_left_but_metadata)
{
    for (size_t i = 0; i < verb_layout_count; i++) {
        const struct verb_layout *l = &verb_layouts[i];
        struct io_engine *engine = verb_image(l);
        struct qimg_error err;

        run(engine, forget, l->title);
        cr_expect_eq(verb_run(engine, count_allocated, &err), 0, "%s", l->title);
        /* Header, refcount table and block; L1 tables of these sizes fit a few clusters. */
        cr_expect_leq(io_sim_size(engine, "disk"), 6 * (uint64_t)l->cluster_size, "%s: %lu",
                      l->title, (unsigned long)io_sim_size(engine, "disk"));
        io_engine_free(engine);
    }
}

Test(qcow2_empty, an_empty_image_is_left_alone)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    struct qimg_error err;
    size_t before, after;

    run(engine, forget, "first");
    (void)io_sim_log(engine, &before);
    cr_assert_eq(verb_run(engine, forget, &err), 0);
    const struct io_sim_entry *log = io_sim_log(engine, &after);
    for (size_t i = before; i < after; i++)
        cr_expect_neq(log[i].op, IO_SIM_WRITE, "operation %zu", i);
    io_engine_free(engine);
}

Test(qcow2_empty, snapshots_keep_what_they_have)
{
    for (size_t i = 0; i < verb_layout_count; i++) {
        const struct verb_layout *l = &verb_layouts[i];
        if (l->data_file || l->refcount_bits == 1)
            continue;
        struct io_engine *engine = verb_image(l);
        AUTO_FREE char *before = verb_state(engine);

        run(engine, verb_snapshot_one, l->title);
        verb_scribble(engine, 0x60);
        run(engine, forget, l->title);
        run(engine, verb_apply_one, l->title);
        AUTO_FREE char *after = verb_state(engine);
        cr_expect_eq(strncmp(before, after, strcspn(before, "\n")), 0, "%s: %s, was %s", l->title,
                     after, before);
        io_engine_free(engine);
    }
}

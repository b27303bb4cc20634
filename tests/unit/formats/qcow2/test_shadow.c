/* SPDX-License-Identifier: Apache-2.0
 *
 * The shadow's promises where there is no room, where the counts lie, and about what it leaves
 * alone. That crashes leave old or new is asked of every verb: test_snapshot_write.c and others.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "qcow2_guest.h"
#include "shadow.h"
#include "verb_rig.h"

Test(qcow2_shadow, a_full_disk_is_said_and_leaves_the_image_as_long_as_it_was)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    const uint64_t size = io_sim_size(engine, "disk");
    AUTO_FREE char *before = verb_state(engine);
    struct qimg_error err;

    for (uint64_t n = 1; n < 40; n++) {
        io_sim_fault(engine, io_sim_operations(engine) + n, IO_SIM_ENOSPC, false);
        const int rc = verb_run(engine, verb_snapshot_one, &err);
        io_sim_fault(engine, 0, IO_SIM_ENOSPC, false);
        if (rc == 0)
            break;
        cr_expect_eq(rc, -ENOSPC, "%lu: %s", (unsigned long)n, err.text);
        cr_expect_str_eq(err.text, "No space left on device");
        AUTO_FREE char *after = verb_state(engine);
        cr_expect_str_eq(before, after, "%lu", (unsigned long)n);
        cr_expect_eq(io_sim_size(engine, "disk"), size, "%lu", (unsigned long)n);
    }
    io_engine_free(engine);
}

/* Sets the count of the cluster at @host_off to 0 behind the image's back. */
static void lose_count(struct io_engine *engine, uint64_t host_off)
{
    const struct io_open_options how = { .writable = true };
    uint8_t raw[8], zero[2] = { 0 };
    struct io_file *file;

    cr_assert(io_sim_get(engine, "disk", 48, raw, 8));
    cr_assert(io_sim_get(engine, "disk", load_be64(raw), raw, 8));
    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    cr_assert_eq(io_write_exact(file, load_be64(raw) + host_off / 65536 * 2, zero, 2), 0);
    io_file_close(file);
}

Test(qcow2_shadow, clusters_in_use_that_nobody_counts_stop_it)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    AUTO_FREE char *before = verb_state(engine);
    struct qimg_error err;
    uint8_t raw[8];

    cr_assert(io_sim_get(engine, "disk", 40, raw, 8));
    cr_assert(io_sim_get(engine, "disk", load_be64(raw), raw, 8));
    lose_count(engine, load_be64(raw) & QCOW2_OFFSET_MASK);
    cr_expect_eq(verb_run(engine, verb_snapshot_one, &err), -EBADMSG);
    cr_expect_str_eq(err.text, "a cluster is in use, but its refcount is 0");
    cr_expect_not_null(strstr(err.hint, "check -r all"));
    AUTO_FREE char *after = verb_state(engine);
    cr_expect_str_eq(before, after);
    io_engine_free(engine);
}

Test(qcow2_shadow, bytes_behind_what_is_counted_are_neither_cut_off_nor_used)
{
    struct io_engine *engine = verb_image(&verb_layouts[0]);
    const uint64_t size = align_up(io_sim_size(engine, "disk"), 65536);
    const struct io_open_options how = { .writable = true };
    struct qimg_error err;
    struct io_file *file;
    char back[4];

    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    cr_assert_eq(io_write_exact(file, size + 4096, "mine", 4), 0);
    io_file_close(file);
    cr_assert_eq(verb_run(engine, verb_snapshot_one, &err), 0, "%s", err.text);
    cr_assert(io_sim_get(engine, "disk", size + 4096, back, 4));
    cr_expect_eq(memcmp(back, "mine", 4), 0);
    io_engine_free(engine);
}

/* --- devices -------------------------------------------------------------------------------- */

/* The file cannot grow: whoever writes behind its end makes it longer, which is looked at. */
static struct image *on_device(struct image *image)
{
    image->file->is_device = true;
    return image;
}

static int device_create(struct image *image, struct qimg_error *err)
{
    return verb_snapshot_one(on_device(image), err);
}

static int device_apply(struct image *image, struct qimg_error *err)
{
    return verb_apply_one(on_device(image), err);
}

static int device_delete(struct image *image, struct qimg_error *err)
{
    return verb_delete_one(on_device(image), err);
}

static int device_shrink(struct image *image, struct qimg_error *err)
{
    return verb_resize(on_device(image), 48 * KiB, PREALLOC_OFF, err);
}

static int device_refcounts(struct image *image, struct qimg_error *err)
{
    const struct amend_request request = { .refcount_bits = 8 };

    return qcow2_admin_ops.amend(on_device(image), &request, err);
}

/* Up to the last cluster of the file all are in use, but for @holes between them. */
static void fill(struct io_engine *engine, uint64_t holes)
{
    struct guest g;

    cr_assert_eq(guest_open(&g, engine, NULL, 0), 0, "%s", g.err.text);
    const uint64_t cs = g.image->cluster_size;
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 8 * cs, 19 * cs }, 0x51), 0);
    cr_assert_eq(guest_flush(&g), 0);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 28 * cs, 2 * cs }, 0x52), 0);
    cr_assert_eq(guest_flush(&g), 0);
    cr_assert_eq(guest_discard(&g, (struct qimg_range){ 8 * cs, holes * cs }), 0);
    cr_assert_eq(guest_close(&g), 0, "%s", g.err.text);
}

static struct io_engine *full_device(const struct verb_layout *layout, uint64_t holes)
{
    struct io_engine *engine = verb_image(layout), *durable;

    fill(engine, holes);
    cr_assert_eq(
        io_sim_power_cut(engine, &(struct io_sim_cut){ .survivors = IO_SIM_ALL }, &durable), 0);
    io_engine_free(engine);
    return durable;
}

static void expect_on_device(struct io_engine **engine, verb_fn verb, const char *title)
{
    const uint64_t size = io_sim_size(*engine, "disk");
    struct qimg_error err;

    cr_expect_gt(verb_expect_atomic(*engine, verb, title), 20u);
    cr_assert_eq(verb_run(*engine, verb, &err), 0, "%s: %s", title, err.text);
    cr_expect_eq(io_sim_size(*engine, "disk"), size, "%s", title);
}

Test(qcow2_shadow, on_a_full_device_verbs_use_what_is_free_before_its_end)
{
    for (size_t i = 1; i < 3; i++) {
        struct io_engine *engine = full_device(&verb_layouts[i], 18);
        expect_on_device(&engine, device_create, "create");
        verb_scribble(engine, 0x70);
        expect_on_device(&engine, device_apply, "apply");
        expect_on_device(&engine, device_delete, "delete");
        if (i == 2)
            expect_on_device(&engine, device_refcounts, "refcount_bits");
        expect_on_device(&engine, device_shrink, "shrink");
        io_engine_free(engine);
    }
}

/* However few clusters are free, it is done or said, and never half done. */
Test(qcow2_shadow, on_a_device_without_room_nothing_changes)
{
    unsigned refused = 0, done = 0;

    for (uint64_t holes = 0; holes < 12; holes++) {
        struct io_engine *engine = full_device(&verb_layouts[1], holes);
        const uint64_t size = io_sim_size(engine, "disk");
        AUTO_FREE char *before = verb_state(engine);
        struct qimg_error err;
        const int rc = verb_run(engine, device_create, &err);
        AUTO_FREE char *after = verb_state(engine);

        verb_expect_sound(engine, "no room", false);
        cr_expect_eq(io_sim_size(engine, "disk"), size);
        refused += rc == -ENOSPC;
        done += rc == 0;
        cr_expect_eq(strcmp(before, after) == 0, rc < 0, "%lu holes", (unsigned long)holes);
        if (rc < 0)
            cr_expect_str_eq(err.text, "No space left on device");
        io_engine_free(engine);
    }
    cr_expect_gt(refused, 1u);
    cr_expect_gt(done, 4u);
}

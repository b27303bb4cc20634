/* SPDX-License-Identifier: Apache-2.0
 *
 * Other sizes: what was cut off never comes back, what is new reads as zeros, and a crash leaves
 * the old size or the new one.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "qcow2_guest.h"
#include "tier.h"
#include "verb_rig.h"

static uint64_t new_size;
static enum preallocation mode;

static int resize(struct image *image, struct qimg_error *err)
{
    return verb_resize(image, new_size, mode, err);
}

static void run_to(struct io_engine *engine, uint64_t size, const char *title)
{
    struct qimg_error err;

    new_size = size;
    cr_assert_eq(verb_run(engine, resize, &err), 0, "%s to %lu: %s", title, (unsigned long)size,
                 err.text);
    verb_expect_sound(engine, title, false);
}

/* Offset of the first byte in [from, size) that is not zero, or size. */
static uint64_t first_data(struct io_engine *engine, uint64_t from, bool backing)
{
    static uint8_t below[VERB_BACKING_LEN];
    struct guest g;

    memset(below, 0xba, sizeof(below));
    cr_assert_eq(guest_open(&g, engine, below, backing ? sizeof(below) : 0), 0, "%s", g.err.text);
    const uint64_t size = g.image->size;
    uint64_t at = from;
    while (at < size && g.model[at] == 0)
        at++;
    cr_assert_eq(guest_close(&g), 0);
    return at < size ? at : size;
}

Test(qcow2_resize, what_was_cut_off_never_comes_back)
{
    mode = PREALLOC_OFF;
    for (size_t i = 0; i < verb_layout_count; i++) {
        const struct verb_layout *l = &verb_layouts[i];
        const uint64_t cut = 2 * (uint64_t)l->cluster_size + 512, end = l->size + 8 * KiB;
        struct io_engine *engine = verb_image(l);
        run_to(engine, cut, l->title);
        if (l->version == 2 || !l->backing) {
            run_to(engine, end, l->title);
            cr_expect_eq(first_data(engine, cut, l->backing), end, "%s", l->title);
        }
        io_engine_free(engine);
    }
}

Test(qcow2_resize, growing_hides_the_backing_file)
{
    static const uint64_t sizes[] = { 100 * KiB + 1024, 104 * KiB, 150 * KiB, 400 * KiB };
    const struct verb_layout *l = &verb_layouts[verb_layout_count - 1];

    mode = PREALLOC_OFF;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct io_engine *engine = verb_image(l);
        run_to(engine, sizes[i], l->title);
        cr_expect_eq(first_data(engine, l->size, true), sizes[i], "to %lu",
                     (unsigned long)sizes[i]);
        io_engine_free(engine);
    }
}

Test(qcow2_resize, version_2_cannot_hide_the_backing_file_and_says_so)
{
    struct verb_layout l = verb_layouts[verb_layout_count - 1];
    struct qimg_error err;

    l.version = 2;
    struct io_engine *engine = verb_image(&l);
    new_size = 150 * KiB;
    mode = PREALLOC_OFF;
    cr_expect_eq(verb_run(engine, resize, &err), -ENOTSUP);
    cr_expect_str_eq(err.text, "Failed to zero out new clusters: Operation not supported");
    io_engine_free(engine);
}

Test(qcow2_resize, preallocated_clusters_are_counted_and_read_as_zeros)
{
    for (mode = PREALLOC_METADATA; mode <= PREALLOC_FULL; mode++) {
        for (size_t i = 0; i < verb_layout_count; i++) {
            const struct verb_layout *l = &verb_layouts[i];
            struct io_engine *engine = verb_image(l);
            run_to(engine, l->size + 300 * KiB, l->title);
            cr_expect_eq(first_data(engine, l->size, l->backing), l->size + 300 * KiB, "%s, %d",
                         l->title, (int)mode);
            io_engine_free(engine);
        }
    }
    mode = PREALLOC_OFF;
}

Test(qcow2_resize, a_shared_cluster_is_not_zeroed_under_its_snapshot)
{
    for (size_t i = 0; i < verb_layout_count; i++) {
        const struct verb_layout *l = &verb_layouts[i];
        struct qimg_error err;
        if (l->version < 3)
            continue;
        struct io_engine *engine = verb_image(l);
        cr_assert_eq(verb_run(engine, verb_snapshot_one, &err), 0, "%s", err.text);
        AUTO_FREE char *before = verb_state(engine);
        run_to(engine, 2 * (uint64_t)l->cluster_size + 512, l->title);
        AUTO_FREE char *after = verb_state(engine);
        cr_expect_str_eq(strchr(before, '\n'), strchr(after, '\n'), "%s", l->title);
        cr_assert_eq(verb_run(engine, verb_apply_one, &err), 0, "%s: %s", l->title, err.text);
        verb_expect_sound(engine, l->title, false);
        AUTO_FREE char *back = verb_state(engine);
        cr_expect_str_eq(before, back, "%s", l->title);
        io_engine_free(engine);
    }
}

Test(qcow2_resize, a_crash_leaves_the_old_size_or_the_new_one)
{
    mode = PREALLOC_OFF;
    for (size_t i = 0; i < verb_layout_count; i += tier_sample(3)) {
        const struct verb_layout *l = &verb_layouts[i];
        struct io_engine *engine = verb_image(l);
        new_size = 2 * (uint64_t)l->cluster_size + 512;
        cr_expect_gt(verb_expect_atomic(engine, resize, l->title), 50, "%s", l->title);
        new_size = l->size + (l->cluster_size <= 4096 ? 2 * MiB : 64 * KiB);
        cr_expect_gt(verb_expect_atomic(engine, resize, l->title), 10, "%s", l->title);
        io_engine_free(engine);
    }
}

Test(qcow2_resize, a_crash_while_preallocating_leaves_the_old_size_or_the_new_one)
{
    mode = PREALLOC_METADATA;
    struct io_engine *engine = verb_image(&verb_layouts[1]);
    new_size = 400 * KiB;
    cr_expect_gt(verb_expect_atomic(engine, resize, "metadata"), 50);
    io_engine_free(engine);
    mode = PREALLOC_OFF;
}

Test(qcow2_resize, sizes_that_cannot_be_are_refused_in_qemus_words)
{
    static const struct {
        uint64_t size;
        const char *text;
    } cases[] = {
        { 1000, "The new size must be a multiple of 512" },
        { UINT64_C(1) << 50, "Failed to grow the L1 table: File too large" },
    };
    struct io_engine *engine = verb_image(&verb_layouts[2]);

    mode = PREALLOC_OFF;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct qimg_error err;
        new_size = cases[i].size;
        cr_expect_lt(verb_run(engine, resize, &err), 0);
        cr_expect_str_eq(err.text, cases[i].text);
    }
    io_engine_free(engine);
}

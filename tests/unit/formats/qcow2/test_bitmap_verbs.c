/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of bitmaps happens, all of it or none, whatever fails or is cut on the way; and
 * the bitmaps that were not meant keep every bit.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap_rig.h"
#include "bitmap_verbs.h"
#include "bits.h"
#include "open_image.h"
#include "qcow2_guest.h"
#include "qcow2_verify.h"
#include "tier.h"

static const uint8_t names[384];
static const struct build_extension like_qemu[] = {
    { .type = QCOW2_EXT_FEATURE_NAMES, .data = names, .len = sizeof(names) },
};
static const struct build_extension crowded[] = {
    { .type = 0x12345678, .data = names, .len = 376 },
    { .type = 0x12345679, .data = "kept", .len = 4 },
};
static const struct build_bitmap two[] = {
    { .name = "b0", .flags = QCOW2_BITMAP_AUTO },
    { .name = "off", .granularity_bits = 12 },
};
static const struct build_bitmap two_512[] = {
    { .name = "b0", .flags = QCOW2_BITMAP_AUTO, .granularity_bits = 9 },
    { .name = "off", .granularity_bits = 12 },
};

static const struct layout {
    const char *title;
    struct build_qcow2 spec;
    bool steps_lose; /* the extension lies behind sector 0: a crash may cost all bitmaps */
} layouts[] = {
    { "no bitmaps yet, QEMU's extensions",
      { .size = MiB, .extensions = like_qemu, .extension_count = 1 },
      false },
    { "64 KiB clusters, QEMU's extensions",
      { .size = 2 * MiB,
        .extensions = like_qemu,
        .extension_count = 1,
        .bitmaps = two,
        .bitmap_count = 2 },
      false },
    { "4 KiB clusters, a backing name in the way",
      { .size = MiB, .cluster_bits = 12, .backing_name = "base.qcow2" },
      false },
    { "512-byte clusters",
      { .size = MiB + 512, .cluster_bits = 9, .bitmaps = two_512, .bitmap_count = 2 },
      false },
    { "1-bit refcounts",
      { .size = MiB, .refcount_bits = 1, .bitmaps = two, .bitmap_count = 2 },
      false },
    { "no room in sector 0",
      { .size = MiB,
        .extensions = crowded,
        .extension_count = 2,
        .bitmaps = two,
        .bitmap_count = 2 },
      true },
    { "no room in sector 0, a name behind",
      { .size = MiB, .extensions = crowded, .extension_count = 2, .backing_name = "base.qcow2" },
      true },
};

static const struct bitmap_step add[] = { { .verb = BITMAP_ADD, .name = "new" } };
static const struct bitmap_step several[] = {
    { .verb = BITMAP_ADD, .name = "x", .granularity = 512 },
    { .verb = BITMAP_DISABLE, .name = "x" },
    { .verb = BITMAP_MERGE, .name = "x", .source_name = "new" },
    { .verb = BITMAP_CLEAR, .name = "new" },
};
static const struct bitmap_step change[] = {
    { .verb = BITMAP_DISABLE, .name = "new" },
    { .verb = BITMAP_MERGE, .name = "new", .source_name = "x" },
    { .verb = BITMAP_REMOVE, .name = "x" },
};
static const struct bitmap_step remove_one[] = { { .verb = BITMAP_REMOVE, .name = "new" } };

static const struct request {
    const struct bitmap_step *steps;
    size_t count;
} requests[] = {
    { add, 1 },
    { several, 4 },
    { change, 3 },
    { remove_one, 1 },
};

struct crash {
    const struct layout *layout;
    const struct request *request;
    char *old, *new;
    unsigned states;
};

static int run(struct io_engine *engine, void *user)
{
    const struct crash *c = user;
    struct qimg_error err;

    return bitmap_do(engine, c->request->steps, c->request->count, &err);
}

static void judge(struct io_engine *after, bool finished, void *user)
{
    struct crash *c = user;
    struct qimg_error err;
    const struct verdict verdict = qcow2_verify_file(after, "disk");
    char *text = bitmap_text(after);
    const bool is_old = strcmp(text, c->old) == 0, is_new = strcmp(text, c->new) == 0;
    const bool lost = c->layout->steps_lose && !finished && strcmp(text, "no bitmaps\n") == 0;
    struct qcow2 *q = bitmap_open(after, false, &err);

    c->states++;
    cr_expect_eq(verdict.corruptions, 0, "%s: %s", c->layout->title, verdict.first);
    cr_expect(is_new || (!finished && is_old) || lost, "%s, finished %d:\n%snot\n%sor\n%s",
              c->layout->title, finished, text, c->old, c->new);
    cr_assert_not_null(q, "%s: %s", c->layout->title, err.text);
    if (c->layout->spec.backing_name)
        cr_expect_str_eq(q->image.backing_name, c->layout->spec.backing_name);
    qcow2_ops.close(&q->image);
    free(text);
}

/* After a fault: what is on the disk when all is written back. A failed sync may be followed by
 * the new state all the same. */
static void judge_fault(struct io_engine *after, bool finished, void *user)
{
    judge(after, finished, user);
}

static void write_some(struct io_engine *engine)
{
    struct guest g;

    cr_assert_eq(guest_open(&g, engine, NULL, 0), 0, "%s", g.err.text);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 100 * KiB, 200 * KiB }, 7), 0);
    cr_assert_eq(guest_close(&g), 0, "%s", g.err.text);
}

Test(qcow2_bitmap_verbs, a_power_cut_or_fault_leaves_all_of_a_request_or_nothing)
{
    for (size_t i = 0; i < ARRAY_COUNT(layouts); i++) {
        struct crash c = { .layout = &layouts[i] };
        struct io_engine *engine = bitmap_machine(&layouts[i].spec);
        unsigned faults = 0;
        for (size_t k = 0; k < ARRAY_COUNT(requests); k++) {
            struct io_engine *probe = bitmap_settled(engine);
            c.request = &requests[k];
            c.old = bitmap_text(engine);
            cr_assert_eq(run(probe, &c), 0, "%s, request %zu", c.layout->title, k);
            c.new = bitmap_text(probe);
            cr_expect_eq(qcow2_verify_file(probe, "disk").leaks, 0, "%s", c.layout->title);
            io_engine_free(probe);

            struct io_engine *next = bitmap_crash_everywhere(engine, run, judge, &c);
            faults += bitmap_fail_everywhere(engine, run, judge_fault, &c);
            io_engine_free(engine);
            engine = bitmap_settled(next);
            io_engine_free(next);
            if (k == 0)
                write_some(engine);
            free(c.old);
            free(c.new);
        }
        io_engine_free(engine);
        cr_expect_gt(faults, 100 / tier_step(4), "%s: %u faults", c.layout->title, faults);
        cr_expect_gt(c.states, 600 / tier_step(4), "%s: %u states", c.layout->title, c.states);
    }
}

/* --- what steps do ---------------------------------------------------------------------------- */

static void expect_text(struct io_engine *engine, const char *want)
{
    char *text = bitmap_text(engine);

    cr_expect_str_eq(text, want);
    free(text);
}

Test(qcow2_bitmap_verbs, steps_build_on_each_other)
{
    const struct build_qcow2 spec = { .size = MiB };
    struct io_engine *engine = bitmap_machine(&spec);
    struct qimg_error err;

    cr_assert_eq(bitmap_do(engine, add, 1, &err), 0, "%s", err.text);
    expect_text(engine, "new auto 65536:\n");
    write_some(engine);
    expect_text(engine, "new auto 65536: 1-4\n");
    cr_assert_eq(bitmap_do(engine, several, 4, &err), 0, "%s", err.text);
    expect_text(engine, "new auto 65536:\nx 512: 128-639\n");
    cr_assert_eq(bitmap_do(engine, change, 3, &err), 0, "%s", err.text);
    expect_text(engine, "new 65536: 1-4\n");
    cr_assert_eq(bitmap_do(engine, remove_one, 1, &err), 0, "%s", err.text);
    expect_text(engine, "no bitmaps\n");
    io_engine_free(engine);
}

static char long_name[1025];

static const struct refusal {
    struct bitmap_step step;
    const char *want;
} refusals[] = {
    { { .verb = BITMAP_ADD, .name = "b0" }, "Bitmap already exists: b0" },
    { { .verb = BITMAP_ADD, .name = "" }, "Bitmap name cannot be empty" },
    { { .verb = BITMAP_ADD, .name = "n", .granularity = 1000 },
      "Granularity must be power of 2 and at least 512" },
    { { .verb = BITMAP_ADD, .name = "n", .granularity = 256 },
      "Granularity must be power of 2 and at least 512" },
    { { .verb = BITMAP_ADD, .name = "n", .granularity = 4 * GiB },
      "Granularity must be power of 2 and at least 512" },
    { { .verb = BITMAP_ADD, .name = long_name }, "Name length exceeds maximum (1023 characters)" },
    { { .verb = BITMAP_REMOVE, .name = "nox" }, "Dirty bitmap 'nox' not found" },
    { { .verb = BITMAP_CLEAR, .name = "nox" }, "Dirty bitmap 'nox' not found" },
    { { .verb = BITMAP_MERGE, .name = "b0", .source_name = "nox" },
      "Dirty bitmap 'nox' not found" },
    { { .verb = BITMAP_CLEAR, .name = "used" },
      "Bitmap 'used' is inconsistent and cannot be used" },
    { { .verb = BITMAP_ENABLE, .name = "used" },
      "Bitmap 'used' is inconsistent and cannot be used" },
    { { .verb = BITMAP_MERGE, .name = "b0", .source_name = "used" },
      "Bitmap 'used' is inconsistent and cannot be used" },
};

Test(qcow2_bitmap_verbs, a_refused_step_undoes_those_before_it)
{
    static const struct build_bitmap bitmaps[] = {
        { .name = "b0", .flags = QCOW2_BITMAP_AUTO },
        { .name = "used", .flags = QCOW2_BITMAP_IN_USE },
    };
    const struct build_qcow2 spec = { .size = MiB, .bitmaps = bitmaps, .bitmap_count = 2 };

    memset(long_name, 'n', 1024);
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        struct io_engine *engine = bitmap_machine(&spec);
        struct qimg_error err;
        struct bitmap_step steps[2] = { { .verb = BITMAP_ADD, .name = "first" }, refusals[i].step };
        struct bitmap_request request = { .steps = steps, .count = 2, .shown = "disk" };
        struct qcow2 *q = bitmap_open(engine, true, &err);
        cr_assert_not_null(q, "%s", err.text);
        cr_expect_lt(qcow2_change_bitmaps(&q->image, &request, &err), 0, "%s", refusals[i].want);
        cr_expect_not_null(strstr(err.text, refusals[i].want), "%s, not %s", err.text,
                           refusals[i].want);
        cr_expect_eq(request.failed, 1);
        cr_expect_null(q->meta, "nothing was written: the image stays in use");
        qcow2_ops.close(&q->image);
        expect_text(engine, "b0 auto 65536:\nused in-use 65536:\n");
        io_engine_free(engine);
    }
}

Test(qcow2_bitmap_verbs, an_inconsistent_bitmap_can_be_removed)
{
    static const struct build_bitmap used = { .name = "used",
                                              .flags = QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO };
    const struct build_qcow2 spec = { .size = MiB, .bitmaps = &used, .bitmap_count = 1 };
    const struct bitmap_step steps[] = { { .verb = BITMAP_REMOVE, .name = "used" },
                                         { .verb = BITMAP_ADD, .name = "used" } };
    struct io_engine *engine = bitmap_machine(&spec);
    struct qimg_error err;

    cr_expect_eq(bitmap_do(engine, steps, 2, &err), 0, "%s", err.text);
    expect_text(engine, "used auto 65536:\n");
    cr_expect_eq(qcow2_verify_file(engine, "disk").leaks, 0);
    io_engine_free(engine);
}

Test(qcow2_bitmap_verbs, version_2_and_too_fine_bitmaps_are_refused)
{
    const struct build_qcow2 v2 = { .version = 2, .size = MiB };
    const struct build_qcow2 large = { .size = 4 * TiB, .cluster_bits = 21 };
    const struct bitmap_step fine = { .verb = BITMAP_ADD, .name = "b", .granularity = 512 };
    struct io_engine *engine = bitmap_machine(&v2);
    struct qimg_error err;

    cr_expect_lt(bitmap_do(engine, add, 1, &err), 0);
    cr_expect_str_eq(err.text, "Can't make bitmap 'new' persistent in 'disk': Cannot store dirty "
                               "bitmaps in qcow2 v2 files");
    io_engine_free(engine);
    engine = bitmap_machine(&large);
    cr_expect_lt(bitmap_do(engine, &fine, 1, &err), 0);
    cr_expect_str_eq(err.text, "Can't make bitmap 'b' persistent in 'disk': Too much space will be "
                               "occupied by the bitmap. Use larger granularity");
    io_engine_free(engine);
}

Test(qcow2_bitmap_verbs, bits_are_merged_from_another_image_of_the_same_size)
{
    const struct build_qcow2 spec = { .size = MiB }, other = { .size = 2 * MiB };
    struct io_engine *from = bitmap_machine(&spec), *engine = bitmap_machine(&spec);
    struct io_engine *large = bitmap_machine(&other);
    struct qimg_error err;

    cr_assert_eq(bitmap_do(from, add, 1, &err), 0);
    cr_assert_eq(bitmap_do(large, add, 1, &err), 0);
    write_some(from);
    struct qcow2 *source = bitmap_open(from, false, &err);
    struct bitmap_step steps[] = {
        { .verb = BITMAP_ADD, .name = "b", .granularity = 128 * KiB },
        { .verb = BITMAP_MERGE, .name = "b", .source_name = "new", .source = &source->image },
    };
    cr_expect_eq(bitmap_do(engine, steps, 2, &err), 0, "%s", err.text);
    expect_text(engine, "b auto 131072: 0-2\n");
    steps[1].name = steps[0].name = "new";
    steps[1].source = &source->image;
    steps[0].verb = BITMAP_CLEAR;
    cr_expect_lt(bitmap_do(large, steps, 2, &err), 0);
    cr_expect_str_eq(err.text, "Bitmaps are of different sizes (destination size is 2097152, "
                               "source size is 1048576) and can't be merged");
    steps[1].source_name = "nox";
    cr_expect_lt(bitmap_do(large, steps, 2, &err), 0);
    cr_expect_str_eq(err.text, "Dirty bitmap 'nox' not found");
    qcow2_ops.close(&source->image);
    io_engine_free(from);
    io_engine_free(engine);
    io_engine_free(large);
}

Test(qcow2_bitmap_verbs, after_a_failed_sync_the_open_image_refuses_more)
{
    const struct build_qcow2 spec = { .size = MiB, .bitmaps = two, .bitmap_count = 2 };
    struct bitmap_request request = { .steps = add, .count = 1, .shown = "disk" };
    unsigned refused = 0;

    for (uint64_t n = 1; n < 40; n++) {
        struct io_engine *engine = bitmap_machine(&spec);
        struct qimg_error err;
        struct qcow2 *q = bitmap_open(engine, true, &err);
        io_sim_fault(engine, io_sim_operations(engine) + n, IO_SIM_EIO, false);
        const int rc = qcow2_change_bitmaps(&q->image, &request, &err);
        if (rc < 0 && q->meta) {
            refused++;
            cr_expect_eq(qcow2_change_bitmaps(&q->image, &request, &err), -EBUSY, "%s", err.text);
            cr_expect_eq(qcow2_ops.write->begin(&q->image, &err), -EIO, "%s", err.text);
        }
        qcow2_ops.close(&q->image);
        io_engine_free(engine);
    }
    cr_expect_geq(refused, 3);
}

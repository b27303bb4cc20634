/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "pull_rig.h"
#include "qimg/rebase.h"

/* Two siblings on one ancestor; the new one has other content in cluster 1 and cluster 4, the same
 * in cluster 3, and zeros in cluster 6. */
static void put_siblings(struct sim_rig *rig)
{
    put_raw(rig, "root", "aaaaaaaa");
    put_overlay(rig, "old", "root", "raw", ".bbb....");
    put_overlay(rig, "new", "root", "raw", ".c.bc.0.");
    put_overlay(rig, "top", "old", "qcow2", "..x.....");
}

static const char siblings_read[] = "abxbaaaa";

static struct qimg_rebase_options onto(const char *name)
{
    return (struct qimg_rebase_options){ .backing_name = name,
                                         .backing_format = name ? "qcow2" : NULL };
}

Test(rebase, what_siblings_share_is_not_read_and_what_differs_is_copied_once)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_rebase_options options = onto("new");
    struct qimg_pull_result got;
    struct qimg_error err;
    struct qimg_stats before, after;

    put_siblings(rig);
    struct qimg_image *image = open_for(rig, "top", true);
    qimg_context_stats(rig->context, &before);
    cr_expect_eq(qimg_rebase(image, &options, &got, &err), 0, "%s", err.text);
    qimg_context_stats(rig->context, &after);
    qimg_image_close(image);
    cr_expect_eq(got.own, 1 * CLUSTER);
    cr_expect_eq(got.proved, 3 * CLUSTER);
    cr_expect_eq(got.looked, 4 * CLUSTER);
    cr_expect_eq(got.read, 7 * CLUSTER, "both sides, but for the zeros: %lu",
                 (unsigned long)got.read);
    cr_expect_eq(got.copied, 3 * CLUSTER);
    cr_expect_eq(got.zeroed, 0);
    /* The ledger is no guess: beside data, only headers and tables are read. */
    cr_expect_geq(after.bytes_read - before.bytes_read, got.read);
    cr_expect_leq(after.bytes_read - before.bytes_read, got.read + 8 * CLUSTER / 2);
    expect_guest(rig, "top", siblings_read);
    expect_backing(rig, "top", "new");

    image = open_for(rig, "top", true);
    cr_expect_eq(qimg_rebase(image, &options, &got, &err), 0, "%s", err.text);
    qimg_image_close(image);
    cr_expect_eq(got.looked + got.read + got.copied, 0);
    sim_rig_free(rig);
}

Test(rebase, zeros_that_nobody_will_have_below_are_marked)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_rebase_options options = onto("new");
    struct qimg_pull_result got;
    struct qimg_error err;

    put_raw(rig, "root", "aaaaaa");
    put_overlay(rig, "old", "root", "raw", "..0"); /* shorter than the top */
    put_overlay(rig, "new", "root", "raw", "......");
    put_overlay(rig, "top", "old", "qcow2", "......");
    struct qimg_image *image = open_for(rig, "top", true);
    cr_expect_eq(qimg_rebase(image, &options, &got, &err), 0, "%s", err.text);
    qimg_image_close(image);
    cr_expect_eq(got.proved, 2 * CLUSTER);
    cr_expect_eq(got.read, 4 * CLUSTER, "%lu", (unsigned long)got.read);
    cr_expect_eq(got.copied, 0);
    cr_expect_eq(got.zeroed, 4 * CLUSTER);
    expect_guest(rig, "top", "aa....");
    sim_rig_free(rig);
}

Test(rebase, the_plan_is_what_happens_and_changes_nothing)
{
    static const char *const targets[] = { "new", "root", NULL };
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        struct qimg_rebase_options options = onto(targets[i]);
        struct qimg_pull_result got;
        struct qimg_pull_plan plan;
        struct qimg_stats before, after;
        struct qimg_error err;

        put_siblings(rig);
        if (i == 1)
            options.backing_format = "raw";
        struct qimg_image *image = open_for(rig, "top", false);
        qimg_context_stats(rig->context, &before);
        cr_expect_eq(qimg_rebase_plan(image, &options, &plan, &err), 0, "%s", err.text);
        qimg_context_stats(rig->context, &after);
        cr_expect_eq(after.writes + after.zeroes + after.syncs,
                     before.writes + before.zeroes + before.syncs);
        qimg_image_close(image);

        image = open_for(rig, "top", true);
        cr_expect_eq(qimg_rebase(image, &options, &got, &err), 0, "%s", err.text);
        qimg_image_close(image);
        cr_expect_eq(plan.own, got.own);
        cr_expect_eq(plan.proved, got.proved);
        cr_expect_eq(plan.looked, got.looked);
        cr_expect_eq(plan.read_old + plan.read_new, got.read);
        cr_expect_geq(plan.copy_max + plan.zero_max, got.copied + got.zeroed);
        cr_expect_geq(plan.file_max, io_sim_size(rig->engine, "top"));
        cr_expect_leq(plan.file_max, io_sim_size(rig->engine, "top") + 6 * CLUSTER);
        cr_expect_eq(plan.backing_name == NULL, targets[i] == NULL);
        qimg_pull_plan_release(&plan);
        expect_guest(rig, "top", siblings_read);
        sim_rig_free(rig);
    }
}

static int refuse(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    return done >= *(const uint64_t *)user;
}

Test(rebase, who_is_stopped_keeps_the_old_name_and_what_was_copied)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_rebase_options options = onto(NULL);
    struct qimg_pull_result got;
    struct qimg_error err;
    uint64_t limit = 24 * CLUSTER;
    char pattern[65];

    memset(pattern, 'a', 64);
    pattern[64] = 0;
    put_raw(rig, "old", pattern);
    memset(pattern, '.', 64);
    put_overlay(rig, "top", "old", "raw", pattern);
    struct qimg_image *image = open_for(rig, "top", true);
    options.pull.progress = refuse;
    options.pull.user = &limit;
    cr_expect_eq(qimg_rebase(image, &options, &got, &err), -ECANCELED);
    qimg_image_close(image);
    expect_backing(rig, "top", "old");
    cr_expect_geq(got.copied, limit);
    cr_expect_lt(got.copied, 64 * CLUSTER);

    const uint64_t kept = got.copied;
    options.pull.progress = NULL;
    image = open_for(rig, "top", true);
    cr_expect_eq(qimg_rebase(image, &options, &got, &err), 0, "%s", err.text);
    qimg_image_close(image);
    cr_expect_leq(got.copied, 64 * CLUSTER - kept);
    memset(pattern, 'a', 64);
    expect_guest(rig, "top", pattern);
    expect_backing(rig, "top", NULL);
    sim_rig_free(rig);
}

Test(rebase, no_image_comes_to_lie_below_itself)
{
    static const struct {
        const char *onto, *want;
    } cases[] = {
        { "top", "Could not open new backing file 'top': 'top' is the image itself, which cannot "
                 "lie below itself" },
        { "child", "Could not open new backing file 'child': Could not open backing file: 'top' is "
                   "the image itself, which cannot lie below itself" },
    };
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_pull_result got;
    struct qimg_pull_plan plan;
    struct qimg_error err;

    put_siblings(rig);
    put_overlay(rig, "child", "top", "qcow2", "........");
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct qimg_rebase_options options = onto(cases[i].onto);
        struct qimg_image *image = open_for(rig, "top", true);
        cr_expect_eq(qimg_rebase(image, &options, &got, &err), -ELOOP);
        cr_expect_str_eq(err.text, cases[i].want);
        qimg_image_close(image);
        image = open_for(rig, "top", false);
        cr_expect_eq(qimg_rebase_plan(image, &options, &plan, &err), -ELOOP);
        qimg_image_close(image);
        expect_backing(rig, "top", "old");
    }
    sim_rig_free(rig);
}

Test(rebase, a_name_that_cannot_be_recorded_is_refused_before_anything_is_copied)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_rebase_options options = onto("new");
    struct qimg_pull_result got;
    struct qimg_error err;

    put_siblings(rig);
    options.backing_format = NULL;
    struct qimg_image *image = open_for(rig, "top", true);
    cr_expect_eq(qimg_rebase(image, &options, &got, &err), -EINVAL);
    cr_expect_str_eq(
        err.text, "Could not change the backing file to 'new': backing format must be specified");
    cr_expect_eq(got.read + got.copied, 0);
    qimg_image_close(image);
    sim_rig_free(rig);
}

Test(rebase, a_side_that_cannot_be_read_is_named)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_rebase_options options = onto(NULL);
    struct qimg_pull_result got;
    struct qimg_error err;

    put_siblings(rig);
    struct qimg_image *image = open_for(rig, "top", true);
    uint8_t byte;
    cr_assert_eq(qimg_image_read(image, 0, &byte, 1, &err), 0); /* the map is loaded */
    io_sim_fault(rig->engine, io_sim_operations(rig->engine) + 1, IO_SIM_EIO, true);
    cr_expect_eq(qimg_rebase(image, &options, &got, &err), -EIO);
    cr_expect_str_eq(err.text, "error while reading from old backing file");
    qimg_image_close(image);
    sim_rig_free(rig);
}

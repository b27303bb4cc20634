/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "pull_rig.h"
#include "qimg/rebase.h"

/* top -> c -> b -> a */
static void put_chain(struct sim_rig *rig)
{
    put_raw(rig, "a", "aaaaaaaa");
    put_overlay(rig, "b", "a", "raw", ".bb...0.");
    put_overlay(rig, "c", "b", "qcow2", "..c.0c..");
    put_overlay(rig, "top", "c", "qcow2", "t.......");
}

static const char chain_reads[] = "tbca.c.a";

static const struct {
    const char *base, *backing;
    unsigned proved, looked, read, copied, zeroed; /* clusters */
} cases[] = {
    { "c", "c", 0, 0, 0, 0, 0 },
    { "b", "b", 4, 3, 2, 2, 1 },
    { "a", "a", 2, 5, 3, 3, 2 },
    { NULL, NULL, 2, 5, 5, 5, 0 },
};

Test(stream, only_what_lies_between_is_read_and_copied)
{
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        const struct qimg_stream_options options = { .base = cases[i].base };
        struct qimg_pull_result got;
        struct qimg_pull_plan plan;
        struct qimg_error err;

        put_chain(rig);
        struct qimg_image *image = open_for(rig, "top", false);
        cr_expect_eq(qimg_stream_plan(image, &options, &plan, &err), 0, "%s", err.text);
        qimg_image_close(image);
        image = open_for(rig, "top", true);
        cr_expect_eq(qimg_stream(image, &options, &got, &err), 0, "%s", err.text);
        qimg_image_close(image);
        cr_expect_eq(got.proved, cases[i].proved * CLUSTER, "case %zu", i);
        cr_expect_eq(got.looked, cases[i].looked * CLUSTER, "case %zu", i);
        cr_expect_eq(got.read, cases[i].read * CLUSTER, "case %zu", i);
        cr_expect_eq(got.copied, cases[i].copied * CLUSTER, "case %zu", i);
        cr_expect_eq(got.zeroed, cases[i].zeroed * CLUSTER, "case %zu", i);
        cr_expect_eq(plan.looked, got.looked);
        cr_expect_eq(plan.read_old, got.read);
        cr_expect_eq(plan.read_new, 0);
        cr_expect_eq(plan.copy_max, got.copied);
        cr_expect_geq(plan.file_max, io_sim_size(rig->engine, "top"));
        qimg_pull_plan_release(&plan);
        expect_guest(rig, "top", chain_reads);
        expect_backing(rig, "top", cases[i].backing);
        sim_rig_free(rig);
    }
}

Test(stream, a_base_that_is_not_in_the_chain_is_refused)
{
    static const char *const bases[] = { "top", "other", "gone" };
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_pull_result got;
    struct qimg_error err;

    put_chain(rig);
    put_raw(rig, "other", "a");
    for (size_t i = 0; i < ARRAY_COUNT(bases); i++) {
        const struct qimg_stream_options options = { .base = bases[i] };
        struct qimg_image *image = open_for(rig, "top", true);
        cr_expect_eq(qimg_stream(image, &options, &got, &err), -ENOENT);
        qimg_image_close(image);
    }
    expect_backing(rig, "top", "c");
    sim_rig_free(rig);
}

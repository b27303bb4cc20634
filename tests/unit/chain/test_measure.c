/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "qimg/measure.h"
#include "sim_rig.h"

#define BLOCK 4096u

/* The clusters that count, by what the new image needs beyond an empty one of the same size. */
static uint64_t used(struct qimg_image *source, const char *cluster)
{
    const struct qimg_option options[] = { { "cluster_size", cluster } };
    struct qimg_measure_options how = {
        .source = source, .format = "qcow2", .options = options, .option_count = 1
    };
    struct qimg_measure_result holds, empty;
    struct qimg_error err;

    cr_assert_eq(qimg_measure(&how, &holds, &err), 0, "%s", err.text);
    how.source = NULL;
    how.size = qimg_image_size(source);
    cr_assert_eq(qimg_measure(&how, &empty, &err), 0, "%s", err.text);
    cr_expect_eq(holds.fully_allocated, empty.fully_allocated);
    return holds.required - empty.required;
}

Test(measure, clusters_with_data_count_once)
{
    static const struct {
        const char *pattern, *cluster;
        uint64_t blocks;
    } cases[] = {
        { "....", "4k", 0 }, { "a.b.", "4k", 2 },       { "a.b.", "8k", 4 }, { "a.b.", "64k", 16 },
        { ".ab.", "8k", 4 }, { "a.......b", "16k", 8 }, { "", "4k", 0 },     { "a0b", "4k", 3 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        sim_rig_raw(rig, "a", cases[i].pattern);
        struct qimg_image *a = sim_rig_open(rig, "a", NULL);
        cr_expect_eq(used(a, cases[i].cluster), cases[i].blocks * BLOCK, "'%s' in %s: %lu",
                     cases[i].pattern, cases[i].cluster, (unsigned long)used(a, cases[i].cluster));
        qimg_image_close(a);
        sim_rig_free(rig);
    }
}

Test(measure, with_a_backing_file_all_of_the_source_counts)
{
    static const struct qimg_option options[] = { { "backing_file", "x" } };
    struct sim_rig *rig = sim_rig_new(NULL);
    sim_rig_raw(rig, "a", "....");
    struct qimg_image *a = sim_rig_open(rig, "a", NULL);
    const struct qimg_measure_options how = {
        .source = a, .format = "qcow2", .options = options, .option_count = 1
    };
    struct qimg_measure_result got;
    struct qimg_error err;

    cr_assert_eq(qimg_measure(&how, &got, &err), 0, "%s", err.text);
    cr_expect_eq(got.required, got.fully_allocated);
    qimg_image_close(a);
    sim_rig_free(rig);
}

Test(measure, no_data_is_read)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    sim_rig_raw(rig, "a", "abcdefgh");
    struct qimg_image *a = sim_rig_open(rig, "a", NULL);
    struct qimg_stats before, after;

    qimg_context_stats(rig->context, &before);
    cr_expect_eq(used(a, "4k"), 8 * BLOCK);
    qimg_context_stats(rig->context, &after);
    cr_expect_eq(after.bytes_read, before.bytes_read);
    qimg_image_close(a);
    sim_rig_free(rig);
}

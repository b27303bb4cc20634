/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "pull_rig.h"
#include "tail.h"

Test(tail, it_reads_as_if_it_had_been_opened)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_image *tail;
    struct qimg_error err;
    uint8_t byte;

    put_raw(rig, "a", "aaa");
    put_overlay(rig, "b", "a", "raw", ".b");
    put_overlay(rig, "top", "b", "qcow2", "t..");
    struct qimg_image *whole = open_for(rig, "top", false);
    cr_assert_eq(chain_tail_new(whole, 1, &tail), 0);
    cr_expect_eq(qimg_image_size(tail), 2 * CLUSTER, "the size is its own");
    cr_assert_eq(qimg_image_read(tail, 0, &byte, 1, &err), 0, "%s", err.text);
    cr_expect_eq(byte, 'a');
    cr_assert_eq(qimg_image_read(tail, CLUSTER, &byte, 1, &err), 0, "%s", err.text);
    cr_expect_eq(byte, 'b');
    chain_tail_free(tail);
    cr_assert_eq(qimg_image_read(whole, CLUSTER, &byte, 1, &err), 0, "the whole is still there");
    cr_expect_eq(byte, 'b');
    qimg_image_close(whole);
    sim_rig_free(rig);
}

Test(tail, a_layer_is_found_by_file_and_format)
{
    static const struct {
        const char *name, *format;
        unsigned want;
    } cases[] = {
        { "b", "qcow2", 1 },   { "b", "raw", 0 },     { "a", "raw", 2 },
        { "top", "qcow2", 0 }, { "other", "raw", 0 },
    };
    struct sim_rig *rig = sim_rig_new(NULL);

    put_raw(rig, "a", "aaa");
    put_raw(rig, "other", "aaa");
    put_overlay(rig, "b", "a", "raw", ".b.");
    put_overlay(rig, "top", "b", "qcow2", "t..");
    struct qimg_image *whole = open_for(rig, "top", false);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct qimg_image *single = sim_rig_open(rig, cases[i].name, cases[i].format);
        cr_expect_eq(chain_tail_find(whole, single), cases[i].want, "%s as %s", cases[i].name,
                     cases[i].format);
        qimg_image_close(single);
    }
    qimg_image_close(whole);
    sim_rig_free(rig);
}

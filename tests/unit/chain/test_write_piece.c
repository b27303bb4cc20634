/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a plan goes into requests, under O_DIRECT's rules too (the simulator insists on them).
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "qimg/write.h"
#include "sim_rig.h"

static struct qimg_error err;

static struct sim_rig *overlay(const struct io_sim_options *options)
{
    struct sim_rig *rig = sim_rig_new(options);
    const struct qimg_create_options how = { .format = "qcow2",
                                             .backing_name = "base",
                                             .backing_format = "raw" };
    sim_rig_raw(rig, "base", "aaaabbbbccccddddeeeeffffgggghhhhii");
    cr_assert_eq(qimg_create(rig->context, "top", &how, &err), 0, "%s", err.text);
    return rig;
}

static struct qimg_image *open_top(struct sim_rig *rig, enum qimg_cache cache)
{
    struct qimg_image *image;
    const struct qimg_open_options how = { .format = "qcow2", .writable = true, .cache = cache };
    cr_assert_eq(qimg_image_open(rig->context, "top", &how, &image, &err), 0, "%s", err.text);
    return image;
}

/* Any alignment of offset, length and memory: the bytes beside are those of the backing file. */
Test(write_piece, edges_come_from_below_whatever_the_alignment)
{
    static const struct {
        uint64_t off, len;
        size_t shift;
    } cases[] = { { 4096, 4096, 0 }, { 512, 512, 0 },   { 100, 7, 3 },      { 0, 65536, 1 },
                  { 65530, 20, 0 },  { 70000, 512, 5 }, { 135168, 512, 0 }, { 1, 139263, 0 } };
    static const enum qimg_cache caches[] = { QIMG_CACHE_WRITEBACK, QIMG_CACHE_NONE };
    static uint8_t disk[139264], want[139264];
    for (size_t k = 0; k < ARRAY_COUNT(cases) * 2; k++) {
        const size_t c = k / 2;
        struct sim_rig *rig =
            overlay(&(struct io_sim_options){ .request_align = 512, .memory_align = 512 });
        struct qimg_image *image = open_top(rig, caches[k % 2]);
        uint8_t *memory = io_buffer_new(sizeof(disk) + 16);
        cr_assert_eq(qimg_image_read(image, 0, want, sizeof(want), &err), 0);
        memset(memory, 'X', sizeof(disk) + 16);
        memset(want + cases[c].off, 'X', cases[c].len);
        cr_assert_eq(
            qimg_image_write(image, cases[c].off, memory + cases[c].shift, cases[c].len, &err), 0,
            "case %zu: %s", k, err.text);
        cr_assert_eq(qimg_image_finish(image, &err), 0);
        qimg_image_close(image);
        image = open_top(rig, QIMG_CACHE_WRITEBACK);
        cr_assert_eq(qimg_image_read(image, 0, disk, sizeof(disk), &err), 0);
        cr_expect_eq(memcmp(disk, want, sizeof(disk)), 0, "case %zu", k);
        qimg_image_close(image);
        free(memory);
        sim_rig_free(rig);
    }
}

/* Head, the guest's bytes and tail leave as one write; rewriting sends the guest's bytes alone. */
Test(write_piece, a_cluster_is_one_request_and_a_rewrite_is_short)
{
    struct sim_rig *rig = overlay(NULL);
    struct qimg_image *image = open_top(rig, QIMG_CACHE_WRITEBACK);
    uint8_t bytes[4096];
    size_t count, before;
    uint64_t large = 0, all = 0;
    memset(bytes, 'X', sizeof(bytes));
    (void)io_sim_log(rig->engine, &before);
    cr_assert_eq(qimg_image_write(image, 8192, bytes, sizeof(bytes), &err), 0);
    const struct io_sim_entry *log = io_sim_log(rig->engine, &count);
    for (size_t i = before; i < count; i++)
        large += log[i].op == IO_SIM_WRITE && log[i].len == 64 * KiB;
    cr_expect_eq(large, 1u);
    (void)io_sim_log(rig->engine, &before);
    cr_assert_eq(qimg_image_write(image, 16384, bytes, sizeof(bytes), &err), 0);
    log = io_sim_log(rig->engine, &count);
    for (size_t i = before; i < count; i++)
        all += log[i].op == IO_SIM_WRITE ? log[i].len : 1;
    cr_expect_eq(all, sizeof(bytes), "nothing but the bytes themselves");
    qimg_image_close(image);
    sim_rig_free(rig);
}

/* A plan over several tables may end in the middle: the map then says which clusters are new. */
Test(write_piece, what_a_failing_write_linked_is_seen_at_once)
{
    static const struct qimg_option cluster[] = { { "cluster_size", "512" } };
    const struct qimg_create_options how = { .format = "qcow2",
                                             .options = cluster,
                                             .option_count = 1,
                                             .sync = true,
                                             .has_size = true,
                                             .size = 192 * KiB };
    static uint8_t bytes[160 * KiB], before[192 * KiB], after[192 * KiB];
    bool finished = false;
    unsigned partly = 0;

    memset(bytes, 'X', sizeof(bytes));
    for (uint64_t n = 1; !finished; n++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        cr_assert_eq(qimg_create(rig->context, "top", &how, &err), 0, "%s", err.text);
        struct qimg_image *image = open_top(rig, QIMG_CACHE_WRITEBACK);
        cr_assert_eq(qimg_image_read(image, 0, before, sizeof(before), &err), 0);
        const uint64_t begin = io_sim_operations(rig->engine);
        io_sim_fault(rig->engine, begin + n, IO_SIM_EIO, false);
        const int rc = qimg_image_write(image, 0, bytes, sizeof(bytes), &err);
        finished = io_sim_operations(rig->engine) < begin + n;
        io_sim_fault(rig->engine, 0, IO_SIM_EIO, false);
        cr_assert_eq(qimg_image_read(image, 0, before, sizeof(before), &err), 0);
        (void)!qimg_image_finish(image, &err);
        qimg_image_close(image);
        image = open_top(rig, QIMG_CACHE_WRITEBACK);
        cr_assert_eq(qimg_image_read(image, 0, after, sizeof(after), &err), 0);
        cr_expect_arr_eq(after, before, sizeof(after), "operation %llu", (unsigned long long)n);
        partly += rc < 0 && after[0] == 'X' && after[sizeof(bytes) - 1] == 0;
        qimg_image_close(image);
        sim_rig_free(rig);
    }
    cr_expect_gt(partly, 0u);
}

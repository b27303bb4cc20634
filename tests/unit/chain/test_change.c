/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "qimg/write.h"
#include "sim_rig.h"

#define SIZE (MiB + 5 * 512)

static struct sim_rig *rig;
static struct qimg_error err;

static void set_up(void)
{
    const struct qimg_create_options qcow2 = {
        .format = "qcow2", .sync = true, .has_size = true, .size = SIZE
    };
    rig = sim_rig_new(NULL);
    cr_assert_eq(qimg_create(rig->context, "image", &qcow2, &err), 0, "%s", err.text);
    sim_rig_raw(rig, "guessed", ".abc");
}

static void tear_down(void)
{
    sim_rig_free(rig);
}

TestSuite(change, .init = set_up, .fini = tear_down);

static struct qimg_image *open_as(const char *name, struct qimg_open_options how)
{
    struct qimg_image *image = NULL;
    cr_assert_eq(qimg_image_open(rig->context, name, &how, &image, &err), 0, "%s", err.text);
    return image;
}

Test(change, an_image_open_for_reading_is_not_changed)
{
    uint8_t byte = 1;
    struct qimg_image *image = open_as("image", (struct qimg_open_options){ .format = "qcow2" });
    cr_expect_eq(qimg_image_write(image, 0, &byte, 1, &err), -EACCES);
    cr_expect_str_eq(err.text, "Block node is read-only");
    cr_expect_eq(qimg_image_write_zeroes(image, 0, 1, 0, &err), -EACCES);
    cr_expect_eq(qimg_image_discard(image, 0, 1, &err), -EACCES);
    cr_expect_eq(qimg_image_flush(image, &err), 0);
    cr_expect_eq(qimg_image_finish(image, &err), 0);
    qimg_image_close(image);
}

Test(change, ranges_end_with_the_disk)
{
    uint8_t byte = 1;
    struct qimg_image *image =
        open_as("image", (struct qimg_open_options){ .format = "qcow2", .writable = true });
    cr_expect_eq(qimg_image_write(image, SIZE - 1, &byte, 1, &err), 0);
    cr_expect_eq(qimg_image_write(image, SIZE, &byte, 1, &err), -EINVAL);
    cr_expect_eq(qimg_image_write(image, UINT64_MAX, &byte, 1, &err), -EINVAL);
    cr_expect_eq(qimg_image_write(image, SIZE, &byte, 0, &err), 0);
    cr_expect_eq(qimg_image_write_zeroes(image, 1, SIZE, 0, &err), -EINVAL);
    cr_expect_eq(qimg_image_discard(image, 1, SIZE, &err), -EINVAL);
    qimg_image_close(image);
}

Test(change, compressed_writes_take_a_cluster_or_the_end_of_the_disk)
{
    static uint8_t cluster[64 * 1024], back[64 * 1024];
    struct qimg_extent e;
    struct qimg_image *image =
        open_as("image", (struct qimg_open_options){ .format = "qcow2", .writable = true });
    memset(cluster, 5, sizeof(cluster));
    cr_expect_eq(qimg_image_write_compressed(image, 512, cluster, 64 * KiB, &err), -EINVAL);
    cr_expect_eq(qimg_image_write_compressed(image, 0, cluster, 512, &err), -EINVAL);
    cr_expect_eq(qimg_image_write_compressed(image, 0, cluster, 64 * KiB, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_write_compressed(image, 0, cluster, 64 * KiB, &err), -EIO,
                 "the cluster is there");
    cr_expect_eq(qimg_image_write_compressed(image, MiB, cluster, 5 * 512, &err), 0, "%s",
                 err.text);
    cr_assert_eq(qimg_image_map(image, (struct qimg_range){ 0, MiB }, false, &e, 1, &err), 1);
    cr_expect_eq(e.kind, QIMG_COMPRESSED);
    cr_assert_eq(qimg_image_read(image, 0, back, sizeof(back), &err), 0);
    cr_expect_eq(memcmp(back, cluster, sizeof(back)), 0);
    cr_assert_eq(qimg_image_read(image, MiB, back, 5 * 512, &err), 0);
    cr_expect_eq(memcmp(back, cluster, 5 * 512), 0);
    qimg_image_close(image);
}

Test(change, what_does_not_get_smaller_is_written_as_it_is)
{
    static uint8_t noise[64 * 1024];
    struct qimg_extent e;
    uint32_t state = 1;
    struct qimg_image *image =
        open_as("image", (struct qimg_open_options){ .format = "qcow2", .writable = true });
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    cr_expect_eq(qimg_image_write_compressed(image, 0, noise, sizeof(noise), &err), 0);
    cr_assert_eq(qimg_image_map(image, (struct qimg_range){ 0, MiB }, false, &e, 1, &err), 1);
    cr_expect_eq(e.kind, QIMG_DATA);
    qimg_image_close(image);
}

Test(change, a_guessed_raw_image_does_not_become_another_format)
{
    uint8_t head[512] = "QFI\xfb\0\0\0\3";
    struct qimg_image *image = open_as("guessed", (struct qimg_open_options){ .writable = true });
    cr_expect_eq(qimg_image_write(image, 0, head, 512, &err), -EPERM);
    cr_expect_eq(qimg_image_write(image, 0, head, 4, &err), 0, "a magic number alone is no header");
    cr_expect_eq(qimg_image_write(image, 4, head + 4, 508, &err), -EPERM, "in pieces neither");
    cr_expect_eq(qimg_image_write(image, 512, head, 512, &err), 0);
    qimg_image_close(image);
    image = open_as("guessed", (struct qimg_open_options){ .format = "raw", .writable = true });
    cr_expect_eq(qimg_image_write(image, 0, head, 512, &err), 0, "the user said raw");
    qimg_image_close(image);
}

Test(change, writethrough_is_durable_with_the_call)
{
    const struct qimg_open_options how = { .format = "qcow2",
                                           .writable = true,
                                           .cache = QIMG_CACHE_WRITETHROUGH };
    struct qimg_image *image = open_as("image", how);
    uint8_t bytes[512] = { 3 };
    cr_assert_eq(qimg_image_write(image, 512, bytes, 512, &err), 0);
    struct sim_rig *after = sim_rig_new(NULL);
    io_engine_free(after->engine);
    cr_assert_eq(io_sim_power_cut(rig->engine, &(struct io_sim_cut){ .survivors = IO_SIM_NONE },
                                  &after->engine),
                 0);
    after->context->engine = after->engine;
    struct qimg_image *survivor = sim_rig_open(after, "image", "qcow2");
    uint8_t back[512];
    cr_assert_eq(qimg_image_read(survivor, 512, back, 512, &err), 0);
    cr_expect_eq(memcmp(back, bytes, 512), 0);
    qimg_image_close(survivor);
    sim_rig_free(after);
    qimg_image_close(image);
}

Test(change, finish_tells_what_close_cannot_and_writing_may_begin_again)
{
    uint8_t byte = 9;
    struct qimg_image *image =
        open_as("image", (struct qimg_open_options){ .format = "qcow2", .writable = true });
    cr_assert_eq(qimg_image_write(image, 0, &byte, 1, &err), 0);
    cr_expect_eq(qimg_image_finish(image, &err), 0);
    cr_assert_eq(qimg_image_write(image, 64 * KiB, &byte, 1, &err), 0);
    cr_assert_eq(qimg_image_read(image, 64 * KiB, &byte, 1, &err), 0);
    cr_expect_eq(byte, 9);
    io_sim_fault(rig->engine, io_sim_operations(rig->engine) + 1, IO_SIM_EIO, true);
    cr_expect_lt(qimg_image_finish(image, &err), 0);
    io_sim_fault(rig->engine, 0, IO_SIM_EIO, false);
    qimg_image_close(image);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Block devices, by loop devices. Where they are not permitted there is nothing to test.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "engines.h"

#define CAPACITY (4 * MiB)

struct loop {
    char name[32];
    int fd, backing;
};

/* False: not permitted here. */
static bool loop_setup(struct loop *loop, struct rig *rig)
{
    const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    const int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

    if (control >= 0)
        close(control);
    if (number < 0)
        return false;
    snprintf(loop->name, sizeof(loop->name), "/dev/loop%d", number);
    loop->backing = open(rig_path(rig, "disk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(loop->backing, CAPACITY), 0);
    loop->fd = open(loop->name, O_RDWR | O_CLOEXEC);
    return loop->fd >= 0 && ioctl(loop->fd, LOOP_SET_FD, loop->backing) == 0;
}

static void loop_teardown(struct loop *loop)
{
    ioctl(loop->fd, LOOP_CLR_FD);
    close(loop->fd);
    close(loop->backing);
}

/* Returns the size that the device says it has. */
static uint64_t use_device(struct rig *rig, const char *name, bool direct)
{
    static uint8_t out[10000], in[10000];
    const struct io_open_options options = { .writable = true, .direct = direct };
    struct io_file *file;
    struct io_stat st;
    struct io_extent extent;
    struct stat node;

    cr_assert_eq(io_file_open(rig->engine, name, &options, &file), 0);
    cr_assert_eq(stat(name, &node), 0);
    cr_expect(file->is_device);
    cr_expect_eq(file->rdev, node.st_rdev);
    cr_expect_eq(file->request_align > 1, direct);
    cr_assert_eq(io_stat(file, &st), 0);
    cr_expect_eq(st.size, CAPACITY);

    fill_pattern(out, sizeof(out), 1);
    cr_expect_eq(io_write_exact(file, 777, out, sizeof(out)), 0);
    cr_assert_eq(io_zero(file, (struct qimg_range){ 4096, 4096 }, true), 0);
    memset(out + 4096 - 777, 0, 4096);
    cr_assert_eq(io_read_exact(file, 777, in, sizeof(in), NULL), 0);
    cr_expect_eq(memcmp(in, out, sizeof(in)), 0, "direct %d", direct);
    cr_assert_eq(io_zero(file, (struct qimg_range){ 0, 100 * KiB }, false), 0);
    cr_assert_eq(io_read_exact(file, 777, in, sizeof(in), NULL), 0);
    for (size_t i = 0; i < sizeof(in); i++)
        cr_assert_eq(in[i], 0);
    cr_expect_eq(io_extents(file, 4096, &extent), 0);
    cr_expect(extent.data);
    cr_expect_eq(extent.len, CAPACITY - 4096);
    cr_expect_eq(io_truncate(file, CAPACITY / 2), 0, "what fits, fits");
    cr_expect_lt(io_truncate(file, CAPACITY + 1), 0);
    cr_expect_lt(io_write_exact(file, CAPACITY, "x", 1), 0);
    cr_expect_eq(io_sync(file), 0);
    io_file_close(file);
    return st.size;
}

Test(device, size_identity_zeroing_and_both_cache_modes)
{
    struct rig rig;
    struct loop loop = { .fd = -1, .backing = -1 };

    rig_real(&rig, IO_ENGINE_AUTO);
    if (!loop_setup(&loop, &rig)) {
        rig_teardown(&rig);
        cr_skip_test("no loop devices here");
    }
    cr_expect_eq(use_device(&rig, loop.name, false), CAPACITY);
    cr_expect_eq(use_device(&rig, loop.name, true), CAPACITY);
    loop_teardown(&loop);
    rig_teardown(&rig);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "engines.h"
#include "tier.h"

#define LEN 10000

Test(cached, what_was_just_written_is_read_without_waiting)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        const struct engine_case *c = rig.c;
        uint8_t written[LEN], read[LEN + 100];

        struct io_file *file = rig_create(&rig, "a");
        fill_pattern(written, LEN, 7);
        cr_assert_eq(io_write_exact(file, 0, written, LEN), 0);
        memset(read, 0xee, sizeof(read));
        const int rc = io_read_cached(file, 3, read, LEN);
        if (c->direct || c->simulated || emulated()) {
            cr_assert_eq(rc, -EAGAIN, "%s", c->name);
        } else {
            cr_assert_eq(rc, 0, "%s", c->name);
            cr_assert_eq(memcmp(read, written + 3, LEN - 3), 0, "%s", c->name);
            cr_assert(read[LEN - 3] == 0 && read[LEN - 1] == 0, "zeros past the end: %s", c->name);
        }
        io_file_close(file);
    }
}

Test(cached, what_the_page_cache_lacks_is_not_waited_for)
{
    uint8_t bytes[LEN];
    struct statfs fs;
    struct rig rig;

    rig_real(&rig, IO_ENGINE_THREADS);
    struct io_file *file = rig_create(&rig, "a");
    fill_pattern(bytes, LEN, 7);
    cr_assert_eq(io_write_exact(file, 0, bytes, LEN), 0);
    const int fd = open(rig_path(&rig, "a"), O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && fsync(fd) == 0 && fstatfs(fd, &fs) == 0);
    cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    /* tmpfs keeps everything. */
    const int wanted = fs.f_type == TMPFS_MAGIC ? 0 : -EAGAIN;
    cr_assert_eq(io_read_cached(file, 0, bytes, LEN), wanted);
    close(fd);
    io_file_close(file);
    rig_teardown(&rig);
}

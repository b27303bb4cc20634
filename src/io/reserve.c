/* SPDX-License-Identifier: Apache-2.0
 *
 * Storage ahead of the bytes. ext4 decides for each page of a write whether it needs storage, and
 * counts it; in a stretch that is reserved it finds the answer once. XFS and btrfs count by the
 * write and lose by asking, tmpfs would zero each page twice (docs/PERFORMANCE.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "checked.h"
#include "posix.h"

void io_reserve(struct io_file *file, struct qimg_range range)
{
    if (!file->ops->reserve || range.len < IO_RESERVE_MIN || range_end(range) > INT64_MAX)
        return;
    if (file->ops->reserve(file, range))
        atomic_fetch_add_explicit(&file->engine->stats.reserves, 1, memory_order_relaxed);
}

static bool gains(const struct posix_file *file, int fd)
{
    struct statfs fs;

    if (file->base.is_device || file->base.options.direct)
        return false;
    return fstatfs(fd, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
}

bool posix_reserve(struct io_file *base, struct qimg_range range)
{
    struct posix_file *file = posix_file(base);
    bool reserved = false;

    if (atomic_load_explicit(&file->reserves, memory_order_relaxed) == RESERVES_NOT)
        return false;
    const int fd = posix_pin(file);
    if (fd < 0)
        return false;
    if (atomic_load_explicit(&file->reserves, memory_order_relaxed) == RESERVES_UNKNOWN)
        atomic_store(&file->reserves, gains(file, fd) ? RESERVES : RESERVES_NOT);
    if (atomic_load_explicit(&file->reserves, memory_order_relaxed) == RESERVES) {
        reserved = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)range.off, (off_t)range.len) == 0;
        if (!reserved && errno != EINTR) /* the write itself will say what is wrong, if anything */
            atomic_store(&file->reserves, RESERVES_NOT);
    }
    posix_unpin(file);
    return reserved;
}

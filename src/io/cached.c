/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what the page cache has, and never waiting for more (RWF_NOWAIT). tmpfs has no such
 * flag, and no need of one.
 */
#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "posix.h"

/* The flags with which preadv2() does not wait. Where a file turned out not to know RWF_NOWAIT:
 * none if it lies in memory (tmpfs), else -1, as any read may wait. */
static int cached_flags(const struct posix_file *file)
{
    switch (atomic_load_explicit(&file->cached_reads, memory_order_relaxed)) {
    case CACHED_READS_NOWAIT:
        return RWF_NOWAIT;
    case CACHED_READS_PLAIN:
        return 0;
    default:
        return -1;
    }
}

static void no_nowait(struct posix_file *file, int fd)
{
    struct statfs fs;
    const bool memory = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;

    atomic_store_explicit(&file->cached_reads, memory ? CACHED_READS_PLAIN : CACHED_READS_NEVER,
                          memory_order_relaxed);
}

static ssize_t read_now(struct posix_file *file, int fd, uint64_t off, const struct iovec *iov,
                        unsigned count)
{
    for (;;) {
        const int flags = cached_flags(file);
        if (flags < 0)
            return -EAGAIN;
        const ssize_t n = preadv2(fd, iov, (int)count, (off_t)off, flags);
        if (n >= 0)
            return n;
        if (errno != EOPNOTSUPP || flags != RWF_NOWAIT)
            return -errno;
        no_nowait(file, fd);
    }
}

ssize_t posix_read_cached(struct io_file *base, uint64_t off, const struct iovec *iov,
                          unsigned count)
{
    struct posix_file *file = posix_file(base);

    if (base->options.direct)
        return -EAGAIN;
    const int fd = posix_pin(file);
    if (fd < 0)
        return fd;
    const ssize_t n = read_now(file, fd, off, iov, count);
    posix_unpin(file);
    return n;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Holes in real files and devices: finding, making and filling them. What the file system cannot
 * do is remembered, so that it is asked once; what it says about holes is believed only while it
 * is consistent, since a file may change under us: any doubt is data.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bits.h"
#include "checked.h"
#include "posix.h"

#define ZEROS_BYTES  (64 * KiB)
#define ZEROS_PIECES 16

/* --- public entries ----------------------------------------------------------------------- */

/* Only read: the write path takes no const. In .bss, so that it costs the program nothing. */
static uint8_t zeros[ZEROS_BYTES] __attribute__((aligned(4096)));

/* The aligned middle goes out in vectors over the same zeros, the edges through the bounce. */
static int write_zeros(struct io_file *file, struct qimg_range range)
{
    struct iovec pieces[ZEROS_PIECES];
    uint64_t off = range.off;
    const uint64_t end = range_end(range);

    while (off < end) {
        const uint64_t whole = align_down(end - off, file->request_align);
        if (!is_aligned(off, file->request_align) || whole < ZEROS_BYTES) {
            const uint64_t step =
                min_u64(end - off, ZEROS_BYTES - (off & (file->request_align - 1)));
            TRY(io_write_exact(file, off, zeros, (size_t)step));
            off += step;
            continue;
        }
        unsigned count = 0;
        for (uint64_t left = whole; left >= ZEROS_BYTES && count < ZEROS_PIECES; count++) {
            pieces[count] = (struct iovec){ zeros, ZEROS_BYTES };
            left -= ZEROS_BYTES;
        }
        const ssize_t n = file->ops->write(file, off, pieces, count);
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        stats_count_write(file->engine, (uint64_t)n);
        off += (uint64_t)n;
    }
    return 0;
}

int io_zero(struct io_file *file, struct qimg_range range, bool may_unmap)
{
    uint64_t end;

    if (!add_fits(range.off, range.len, &end) || end > INT64_MAX)
        return -EFBIG;
    if (range.len == 0)
        return 0;
    atomic_fetch_add_explicit(&file->engine->stats.zeroes, 1, memory_order_relaxed);
    const int rc = file->ops->zero(file, range, may_unmap);
    return rc == -ENOTSUP ? write_zeros(file, range) : rc;
}

int io_punch(struct io_file *file, struct qimg_range range)
{
    uint64_t end;

    if (!add_fits(range.off, range.len, &end) || end > INT64_MAX)
        return -EFBIG;
    return range.len == 0 ? 0 : file->ops->punch(file, range);
}

int io_allocate(struct io_file *file, struct qimg_range range)
{
    uint64_t end;

    if (!add_fits(range.off, range.len, &end) || end > INT64_MAX)
        return -EFBIG;
    return range.len == 0 ? 0 : file->ops->allocate(file, range);
}

int io_extents(struct io_file *file, uint64_t off, struct io_extent *out)
{
    return file->ops->extents(file, off, out);
}

/* --- real files --------------------------------------------------------------------------- */

/* fallocate(), with every way of saying "not here" turned into -ENOTSUP. */
static int try_fallocate(int fd, int mode, struct qimg_range range)
{
    if (RETRY_EINTR(fallocate(fd, mode, (off_t)range.off, (off_t)range.len)) == 0)
        return 0;
    const int failure = errno;
    if (failure == EOPNOTSUPP || failure == ENOSYS || failure == ENODEV || failure == EINVAL)
        return -ENOTSUP;
    return -failure;
}

static int punch_hole(struct posix_file *file, int fd, struct qimg_range range)
{
    if (atomic_load_explicit(&file->no_punch, memory_order_relaxed))
        return -ENOTSUP;
    const int rc = try_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range);
    if (rc == -ENOTSUP && !file->base.is_device)
        atomic_store_explicit(&file->no_punch, true, memory_order_relaxed);
    return rc;
}

/* Zeros with storage; makes the file longer where @range ends behind it. */
static int zero_range(struct posix_file *file, int fd, struct qimg_range range)
{
    if (atomic_load_explicit(&file->no_zero_range, memory_order_relaxed))
        return -ENOTSUP;
    const int rc = try_fallocate(fd, FALLOC_FL_ZERO_RANGE, range);
    if (rc == -ENOTSUP && !file->base.is_device)
        atomic_store_explicit(&file->no_zero_range, true, memory_order_relaxed);
    return rc;
}

/* Punching keeps the size. What lies behind the end is a hole already; growing by one block of
 * zeros rather than by ftruncate() cannot cut off what another thread appends meanwhile. */
static int zero_by_punching(struct posix_file *file, int fd, struct qimg_range range)
{
    struct io_stat now;
    const uint64_t end = range_end(range);

    TRY(punch_hole(file, fd, range));
    TRY(io_stat(&file->base, &now));
    if (now.size >= end)
        return 0;
    const uint64_t from = max_u64(max_u64(now.size, range.off), align_down(end - 1, 4 * KiB));
    const struct qimg_range tail = { from, end - from };
    const int rc = zero_range(file, fd, tail);
    return rc == -ENOTSUP ? write_zeros(&file->base, tail) : rc;
}

/* Where zeros with storage cannot be had in one call (tmpfs), a hole that is filled again. */
static int zero_by_refilling(struct posix_file *file, int fd, struct qimg_range range)
{
    TRY(punch_hole(file, fd, range));
    return try_fallocate(fd, 0, range);
}

/* The kernel's own choice of WRITE ZEROES, with or without deallocation, else pages of zeros. */
static int zero_device(int fd, struct qimg_range range, bool may_unmap)
{
    uint64_t span[2] = { range.off, range.len };

    const int mode = may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    const int rc = try_fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, range);
    if (rc != -ENOTSUP)
        return rc;
    if (ioctl(fd, BLKZEROOUT, span) == 0)
        return 0;
    return errno == EINVAL || errno == ENOTTY || errno == EOPNOTSUPP ? -ENOTSUP : -errno;
}

static int zero_file(struct posix_file *file, int fd, struct qimg_range range, bool may_unmap)
{
    int rc = may_unmap ? zero_by_punching(file, fd, range) : -ENOTSUP;

    if (rc == -ENOTSUP)
        rc = zero_range(file, fd, range);
    if (rc == -ENOTSUP)
        rc = zero_by_refilling(file, fd, range);
    return rc;
}

int posix_zero(struct io_file *base, struct qimg_range range, bool may_unmap)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);

    if (fd < 0)
        return fd;
    const int rc =
        base->is_device ? zero_device(fd, range, may_unmap) : zero_file(file, fd, range, may_unmap);
    posix_unpin(file);
    return rc;
}

int posix_punch(struct io_file *base, struct qimg_range range)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);

    if (fd < 0)
        return fd;
    const int rc = punch_hole(file, fd, range); /* of a device: zeroes too, unlike BLKDISCARD */
    posix_unpin(file);
    return rc;
}

int posix_allocate(struct io_file *base, struct qimg_range range)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);
    int rc;

    if (fd < 0)
        return fd;
    do
        rc = posix_fallocate(fd, (off_t)range.off, (off_t)range.len);
    while (rc == EINTR);
    posix_unpin(file);
    return -rc;
}

/* Data and hole follow each other; the end of the file is a hole of no length behind it. */
static void ask_for_extent(int fd, uint64_t off, uint64_t size, struct io_extent *out)
{
    *out = (struct io_extent){ .off = off, .len = size - off, .data = true };
    const off_t data = lseek(fd, (off_t)off, SEEK_DATA);
    if (data < 0) {
        out->data = errno != ENXIO; /* ENXIO: nothing but hole up to the end */
        return;
    }
    if ((uint64_t)data > off) {
        out->len = min_u64((uint64_t)data, size) - off;
        out->data = false;
        return;
    }
    if ((uint64_t)data < off)
        return;
    const off_t hole = lseek(fd, (off_t)off, SEEK_HOLE);
    if (hole > 0 && (uint64_t)hole > off)
        out->len = min_u64((uint64_t)hole, size) - off;
}

/* SEEK_HOLE may walk every page up to the hole (tmpfs), and a big file is asked about piece by
 * piece: the last stretch of data is remembered where we only read. That somebody has made a hole
 * in it since does no harm, its zeros are read. */
static void find_extent(struct posix_file *file, int fd, uint64_t off, uint64_t size,
                        struct io_extent *out)
{
    pthread_mutex_lock(&file->data_order);
    const uint64_t known_end = min_u64(range_end(file->known_data), size);
    if (off >= file->known_data.off && off < known_end) {
        *out = (struct io_extent){ .off = off, .len = known_end - off, .data = true };
    } else {
        ask_for_extent(fd, off, size, out);
        if (out->data && !file->base.options.writable)
            file->known_data = (struct qimg_range){ off, out->len };
    }
    pthread_mutex_unlock(&file->data_order);
}

int posix_extents(struct io_file *base, uint64_t off, struct io_extent *out)
{
    struct posix_file *file = posix_file(base);
    struct io_stat now;
    const int fd = posix_pin(file);

    if (fd < 0)
        return fd;
    const int rc = io_stat(base, &now);
    if (rc == 0 && off < now.size) {
        if (base->is_device)
            *out = (struct io_extent){ .off = off, .len = now.size - off, .data = true };
        else
            find_extent(file, fd, off, now.size, out);
    }
    posix_unpin(file);
    if (rc < 0)
        return rc;
    return off < now.size ? 0 : -EINVAL;
}

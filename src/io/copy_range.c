/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying inside the kernel: shared extents where the file system has them, else a splice through
 * the page cache.
 */
#include <unistd.h>

#include "posix.h"

int io_copy_range(struct io_file *from, uint64_t from_off, struct io_file *to,
                  struct qimg_range range)
{
    if (!from->ops->copy_range || from->ops != to->ops)
        return -ENOTSUP;
    return from->ops->copy_range(from, from_off, to, range);
}

static int copy_all(int from, uint64_t from_off, int to, struct qimg_range range)
{
    loff_t in = (loff_t)from_off;
    loff_t out = (loff_t)range.off;

    while (range.len > 0) {
        ssize_t n = copy_file_range(from, &in, to, &out, range.len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0) /* the source ends here */
            return -EIO;
        range.len -= (size_t)n;
    }
    return 0;
}

int posix_copy_range(struct io_file *from, uint64_t from_off, struct io_file *to,
                     struct qimg_range range)
{
    const int in = posix_pin(posix_file(from));
    if (in < 0)
        return in;
    const int out = posix_pin(posix_file(to));
    int rc = out < 0 ? out : copy_all(in, from_off, out, range);
    if (out >= 0)
        posix_unpin(posix_file(to));
    posix_unpin(posix_file(from));
    return rc;
}

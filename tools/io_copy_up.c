/* SPDX-License-Identifier: Apache-2.0
 *
 * Copy on read: clusters (subclusters, where the image has them) that the image does not have
 * itself are copied into it before they are read, zeros as zeros.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"

#define CHUNK (64u * 1024) /* or a cluster, where that is larger */

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static int copy_chunk(struct io *io, uint64_t off, size_t len, uint8_t *buf)
{
    struct qimg_error err;
    int rc = qimg_image_read(io->image, off, buf, len, &err);
    if (rc < 0)
        return rc;
    return is_zero(buf, len) ? qimg_image_write_zeroes(io->image, off, len, 0, &err)
                             : qimg_image_write(io->image, off, buf, len, &err);
}

/* Cut where chunks end, so that zeros are found cluster by cluster. */
static int copy_extent(struct io *io, const struct qimg_extent *e, uint64_t chunk, uint8_t *buf)
{
    const uint64_t end = e->guest_off + e->len;
    int rc = 0;
    for (uint64_t off = e->guest_off; off < end && rc == 0;) {
        const uint64_t next = (off / chunk + 1) * chunk;
        const uint64_t stop = next < end ? next : end;
        rc = copy_chunk(io, off, (size_t)(stop - off), buf);
        off = stop;
    }
    return rc;
}

static int copy_range(struct io *io, struct qimg_range range, uint64_t chunk, uint8_t *buf)
{
    struct qimg_extent e;
    struct qimg_error err;
    while (range.len > 0) {
        int rc = qimg_image_map(io->image, range, false, &e, 1, &err);
        if (rc <= 0)
            return rc;
        rc = e.layer > 0 || e.kind == QIMG_UNALLOCATED ? copy_extent(io, &e, chunk, buf) : 0;
        if (rc < 0)
            return rc;
        range.off += e.len;
        range.len -= e.len;
    }
    return 0;
}

int io_copy_up(struct io *io, uint64_t off, uint64_t len)
{
    struct qimg_info info;
    struct qimg_error err;
    int rc = qimg_image_info(io->image, &info, &err);
    if (rc < 0)
        return rc;
    const uint64_t unit =
        info.limits.write_zeroes_alignment ? info.limits.write_zeroes_alignment : 512;
    const uint64_t chunk = info.cluster_size > CHUNK ? info.cluster_size : CHUNK;
    qimg_info_release(&info);
    io_drain(io);

    const uint64_t size = qimg_image_size(io->image), begin = off / unit * unit;
    uint64_t end = (off + len + unit - 1) / unit * unit;
    if (end > size)
        end = size;
    uint8_t *buf = malloc((size_t)chunk);
    if (!buf)
        return -ENOMEM;
    rc = copy_range(io, (struct qimg_range){ begin, end - begin }, chunk, buf);
    free(buf);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A new raw image: a length, and storage behind it where asked for. The length is set last, so
 * that a half-made file does not look whole.
 */
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "format.h"
#include "raw.h"

#define WRITE_BYTES (2 * MiB)
#define FIRST_BLOCK 4096u
#define SECTOR      512u

int raw_write_first_block(struct io_file *file, uint64_t size)
{
    static const uint8_t zeros[FIRST_BLOCK];

    return size > 0 ? io_write_exact(file, 0, zeros, min_u64(sizeof(zeros), size)) : 0;
}

static int write_zeros_over(struct io_file *file, uint64_t size)
{
    const size_t room = (size_t)min_u64(size, WRITE_BYTES);
    if (room == 0)
        return 0;
    AUTO_FREE uint8_t *zeros = io_buffer_new(room);
    if (!zeros)
        return -ENOMEM;

    memset(zeros, 0, room);
    for (uint64_t at = 0; at < size; at += room)
        TRY(io_write_exact(file, at, zeros, (size_t)min_u64(room, size - at)));
    return 0;
}

/* A device has its length; what begins it no longer says that it holds another format. */
static int start_device(struct io_file *file, uint64_t size, struct qimg_error *err)
{
    static const uint8_t zeros[SECTOR];
    struct io_stat stat;
    int rc = io_stat(file, &stat);

    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not get the device's size");
    if (stat.size < size)
        return qimg_fail(err, EINVAL, "Cannot grow device files");
    rc = io_write_exact(file, 0, zeros, (size_t)min_u64(sizeof(zeros), stat.size));
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Failed to clear the new image's first sector");
    return 0;
}

int raw_create(struct io_file *file, struct io_file *data_file, const struct create_spec *spec,
               struct qimg_error *err)
{
    int rc = 0;

    (void)data_file;
    if (file->is_device)
        return start_device(file, spec->size, err);
    if (spec->preallocation == PREALLOC_FALLOC && spec->size > 0)
        rc = io_allocate(file, (struct qimg_range){ .off = 0, .len = spec->size });
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not preallocate data for the new file");
    if (spec->preallocation == PREALLOC_OFF)
        rc = raw_write_first_block(file, spec->size);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not write to the new file");
    if (spec->preallocation == PREALLOC_FULL)
        rc = write_zeros_over(file, spec->size);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not write zeros for preallocation");
    rc = io_truncate(file, spec->size);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not resize file");
    return 0;
}

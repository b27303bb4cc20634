/* SPDX-License-Identifier: Apache-2.0 */
#include "admin.h"

#include <errno.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"

#define WRITE_BYTES (2 * MiB)

int admin_write_zeros(struct io_file *file, struct qimg_range range,
                      const struct resize_request *request)
{
    const size_t room = (size_t)min_u64(range.len, WRITE_BYTES);
    AUTO_FREE uint8_t *zeros = io_buffer_new(room ? room : 1);

    if (!zeros)
        return -ENOMEM;
    memset(zeros, 0, room);
    for (uint64_t at = 0; at < range.len; at += room) {
        if (request->progress && request->progress(request->progress_user, at, range.len))
            return -ECANCELED;
        TRY(io_write_exact(file, range.off + at, zeros, (size_t)min_u64(room, range.len - at)));
    }
    return 0;
}

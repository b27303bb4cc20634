/* SPDX-License-Identifier: Apache-2.0
 *
 * See bounce.h. A transfer that came out short is done again by request_perform(), which knows
 * all about ends of files; that is rare enough not to be clever about.
 */
#include "bounce.h"

#include <stdlib.h>

#include "bits.h"

#define BOUNCE_LARGEST (4 * MiB)

struct qimg_range bounce_range(const struct io_request *request)
{
    const uint64_t align = request->file->request_align;
    const uint64_t start = align_down(request->off, align);

    return (struct qimg_range){ start, align_up(request->off + request->len, align) - start };
}

bool bounce_fits(const struct io_request *request)
{
    if (request->len > BOUNCE_LARGEST || request->off > INT64_MAX - BOUNCE_LARGEST)
        return false;
    return request->op == IO_READ ||
           is_aligned(request->off | request->len, request->file->request_align);
}

int bounce_begin(struct io_request *request)
{
    request->bounce = io_buffer_new((size_t)bounce_range(request).len);
    if (!request->bounce)
        return -ENOMEM;
    if (request->op == IO_WRITE)
        request_gather(request, 0, request->bounce, request->len);
    return 0;
}

void bounce_end(struct io_request *request, int res)
{
    const uint64_t head = request->off - bounce_range(request).off;

    if (res < 0 && res != -EAGAIN && res != -EINTR) {
        request->result = res;
    } else if (res < 0 || (uint64_t)res < head + request->len) {
        request->result = request_perform(request);
    } else {
        request->done = request->len;
        request->result = 0;
        if (request->op == IO_READ) {
            request_scatter(request, 0, (uint8_t *)request->bounce + head, request->len);
            request_finish_read(request);
        } else {
            stats_count_write(request->file->engine, request->len);
        }
    }
    free(request->bounce);
    request->bounce = NULL;
}

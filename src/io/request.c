/* SPDX-License-Identifier: Apache-2.0
 *
 * One request, whatever the back end: its memory as a list of pieces, its alignment, and doing
 * all of it in one thread. The caller's iovecs are never changed: progress is request->done.
 */
#include "request.h"

#include <assert.h>
#include <string.h>

#include "bits.h"

#define SLICE_PIECES 64

void request_list_init(struct request_list *list)
{
    list->first = NULL;
    list->last = &list->first;
    list->count = 0;
}

void request_list_push(struct request_list *list, struct io_request *request)
{
    request->next = NULL;
    *list->last = request;
    list->last = &request->next;
    list->count++;
}

struct io_request *request_list_pop(struct request_list *list)
{
    struct io_request *request = list->first;

    if (!request)
        return NULL;
    list->first = request->next;
    if (!list->first)
        list->last = &list->first;
    list->count--;
    request->next = NULL;
    return request;
}

void request_list_move(struct request_list *to, struct request_list *from)
{
    if (!from->first)
        return;
    *to->last = from->first;
    to->last = from->last;
    to->count += from->count;
    request_list_init(from);
}

bool request_is_aligned(const struct io_request *request)
{
    const struct io_file *file = request->file;

    if (file->request_align <= 1 && file->memory_align <= 1)
        return true;
    if (!is_aligned(request->off | request->len, file->request_align))
        return false;
    for (unsigned i = 0; i < request->iov_count; i++) {
        if (!is_aligned((uintptr_t)request->iov[i].iov_base, file->memory_align))
            return false;
        if (!is_aligned(request->iov[i].iov_len, file->request_align))
            return false;
    }
    return true;
}

bool request_is_trivial(struct io_request *request)
{
    switch (request->op) {
    case IO_CALL:
        return false;
    case IO_SYNC:
        request->result = atomic_load(&request->file->sync_error);
        return request->result != 0 || request->file->options.no_flush || request->file->held_head;
    case IO_READ:
    case IO_WRITE:
    case IO_ZERO:
    case IO_PUNCH:
        return request->len == 0;
    }
    assert(0 && "no such operation");
    return false;
}

unsigned request_slice(const struct io_request *request, uint64_t skip, struct iovec *out,
                       unsigned max)
{
    unsigned filled = 0;

    for (unsigned i = 0; i < request->iov_count && filled < max; i++) {
        const struct iovec piece = request->iov[i];
        if (skip >= piece.iov_len) {
            skip -= piece.iov_len;
            continue;
        }
        out[filled++] = (struct iovec){
            .iov_base = (uint8_t *)piece.iov_base + skip,
            .iov_len = piece.iov_len - skip,
        };
        skip = 0;
    }
    return filled;
}

void request_scatter(const struct io_request *request, uint64_t skip, const void *flat,
                     uint64_t len)
{
    const uint8_t *from = flat;
    struct iovec piece;

    while (len > 0 && request_slice(request, skip, &piece, 1) == 1) {
        const size_t part = min_u64(piece.iov_len, len);
        memcpy(piece.iov_base, from, part);
        from += part;
        skip += part;
        len -= part;
    }
}

void request_gather(const struct io_request *request, uint64_t skip, void *flat, uint64_t len)
{
    uint8_t *to = flat;
    struct iovec piece;

    while (len > 0 && request_slice(request, skip, &piece, 1) == 1) {
        const size_t part = min_u64(piece.iov_len, len);
        memcpy(to, piece.iov_base, part);
        to += part;
        skip += part;
        len -= part;
    }
}

void request_finish_read(struct io_request *request)
{
    struct iovec pieces[SLICE_PIECES];
    uint64_t zeroed = request->done;

    while (zeroed < request->len) {
        const unsigned count = request_slice(request, zeroed, pieces, SLICE_PIECES);
        assert(count > 0);
        for (unsigned i = 0; i < count; i++) {
            memset(pieces[i].iov_base, 0, pieces[i].iov_len);
            zeroed += pieces[i].iov_len;
        }
    }
    request->got = request->done;
    request->result = 0;
    stats_count_read(request->file->engine, request->got);
}

/* A transfer that the file takes as it is: what is left of it, in as many calls as it takes. */
static int transfer_aligned(struct io_request *request)
{
    struct io_file *file = request->file;
    struct iovec pieces[SLICE_PIECES];

    while (request->done < request->len) {
        const unsigned count = request_slice(request, request->done, pieces, SLICE_PIECES);
        const uint64_t off = request->off + request->done;
        const ssize_t n = request->op == IO_READ ? file->ops->read(file, off, pieces, count)
                                                 : file->ops->write(file, off, pieces, count);
        if (n < 0)
            return (int)n;
        if (n == 0 && request->op == IO_WRITE)
            return -EIO;
        if (n == 0)
            break;
        request->done += (uint64_t)n;
        /* O_DIRECT stops inside a block only at the end of the file. */
        if (!is_aligned(request->done, file->request_align)) {
            if (request->op == IO_READ)
                break;
            request->done = align_down(request->done, file->request_align);
            if ((uint64_t)n < file->request_align)
                return -EIO;
        }
    }
    return 0;
}

/* The exact calls bounce; each piece of memory is a transfer of its own. */
static int transfer_bounced(struct io_request *request)
{
    uint64_t skip = 0;

    for (unsigned i = 0; i < request->iov_count; i++) {
        const struct iovec piece = request->iov[i];
        const uint64_t off = request->off + skip;
        size_t got = piece.iov_len;
        if (request->op == IO_READ)
            TRY(io_read_exact(request->file, off, piece.iov_base, piece.iov_len, &got));
        else
            TRY(io_write_exact(request->file, off, piece.iov_base, piece.iov_len));
        skip += piece.iov_len;
        request->done += got;
    }
    return 0;
}

static int perform_transfer(struct io_request *request)
{
    if (!request_is_aligned(request)) {
        request->done = 0;
        TRY(transfer_bounced(request));
        request->got = request->done;
        return 0;
    }
    TRY(transfer_aligned(request));
    if (request->op == IO_READ)
        request_finish_read(request);
    else
        stats_count_write(request->file->engine, request->len);
    return 0;
}

int request_perform(struct io_request *request)
{
    const struct qimg_range range = { request->off, request->len };

    switch (request->op) {
    case IO_READ:
    case IO_WRITE:
        return perform_transfer(request);
    case IO_ZERO:
        return io_zero(request->file, range, false);
    case IO_PUNCH:
        return io_punch(request->file, range);
    case IO_SYNC:
        return io_sync(request->file);
    case IO_CALL:
        return request->call(request);
    }
    assert(0 && "no such operation");
    return -EINVAL;
}

void stats_count_read(struct io_engine *engine, uint64_t bytes)
{
    atomic_fetch_add_explicit(&engine->stats.reads, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->stats.bytes_read, bytes, memory_order_relaxed);
}

void stats_count_write(struct io_engine *engine, uint64_t bytes)
{
    atomic_fetch_add_explicit(&engine->stats.writes, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->stats.bytes_written, bytes, memory_order_relaxed);
}

void stats_started(struct io_engine *engine, unsigned requests)
{
    struct io_stats *stats = &engine->stats;

    if (requests == 0)
        return;
    const uint64_t now =
        atomic_fetch_add_explicit(&stats->in_flight, requests, memory_order_relaxed) + requests;
    uint64_t max = atomic_load_explicit(&stats->max_in_flight, memory_order_relaxed);
    while (now > max &&
           !atomic_compare_exchange_weak_explicit(&stats->max_in_flight, &max, now,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

void stats_finished(struct io_engine *engine, unsigned requests)
{
    if (requests > 0)
        atomic_fetch_sub_explicit(&engine->stats.in_flight, requests, memory_order_relaxed);
}

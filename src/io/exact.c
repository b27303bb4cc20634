/* SPDX-License-Identifier: Apache-2.0
 *
 * Synchronous whole reads and writes, of any alignment. Where a file wants aligned requests
 * (O_DIRECT), they go through a bounce buffer:
 * (1) an unaligned write reads the blocks at its edges, and holds file->edges from that reading
 *     to its own writing: two writers of parts of one block do not undo each other.
 * (2) such a write must not make the file longer than asked: where its last block ran past the
 *     end, the file is cut back. That would cut off what another thread appends meanwhile: whose
 *     file grows by several writes at a time sets pads_end, and gives it its length at the end.
 */
#include "bits.h"
#include "cleanup.h"
#include "io.h"
#include "request.h"

#include <stdlib.h>
#include <string.h>

#define BOUNCE_BYTES (1 * MiB)

static bool fits(const struct io_file *file, uint64_t off, const void *buf, size_t len)
{
    return is_aligned(off | len, file->request_align) &&
           is_aligned((uintptr_t)buf, file->memory_align);
}

/* An aligned read; *got is less than len only at the end of the file. */
static int read_span(struct io_file *file, uint64_t off, uint8_t *buf, size_t len, size_t *got)
{
    size_t done = 0;

    while (done < len) {
        const struct iovec piece = { buf + done, len - done };
        const ssize_t n = file->ops->read(file, off + done, &piece, 1);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
        if (n == 0 || !is_aligned(done, file->request_align))
            break;
    }
    *got = done;
    return 0;
}

/* An aligned write of everything. */
static int write_span(struct io_file *file, uint64_t off, const uint8_t *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        const struct iovec piece = { (uint8_t *)(uintptr_t)(buf + done), len - done };
        const ssize_t n = file->ops->write(file, off + done, &piece, 1);
        if (n < 0)
            return (int)n;
        const size_t whole = (size_t)align_down((uint64_t)n, file->request_align);
        if (whole == 0)
            return -EIO;
        done += whole;
    }
    return 0;
}

/* Room for a piece of @len bytes with its edges; longer pieces are cut. */
static size_t bounce_bytes(const struct io_file *file, size_t len)
{
    const uint64_t align = file->request_align;
    return (size_t)min_u64(BOUNCE_BYTES, align_up(len, align) + align);
}

static int read_bounced(struct io_file *file, uint64_t off, uint8_t *buf, size_t len, size_t *got)
{
    const uint64_t align = file->request_align;
    const size_t room = bounce_bytes(file, len);
    AUTO_FREE uint8_t *bounce = io_buffer_new(room);
    size_t done = 0;

    if (!bounce)
        return -ENOMEM;
    while (done < len) {
        const size_t head = (size_t)((off + done) & (align - 1));
        const size_t part = (size_t)min_u64(len - done, room - head);
        size_t have;
        TRY(read_span(file, off + done - head, bounce, (size_t)align_up(head + part, align),
                      &have));
        const size_t useful = have > head ? (size_t)min_u64(have - head, part) : 0;
        memcpy(buf + done, bounce + head, useful);
        done += useful;
        if (useful < part)
            break;
    }
    *got = done;
    return 0;
}

/* --- the held head ---------------------------------------------------------------------------- */

int io_hold_head(struct io_file *file)
{
    file->held_head = calloc(1, IO_HEAD_BYTES);
    return file->held_head ? 0 : -ENOMEM;
}

int io_release_head(struct io_file *file)
{
    AUTO_FREE uint8_t *head = TAKE(file->held_head);

    TRY(io_sync(file));
    TRY(io_write_exact(file, 0, head, IO_HEAD_BYTES));
    return io_sync(file);
}

/* How much of @len bytes at @off lies in a held head. */
static size_t held_part(const struct io_file *file, uint64_t off, size_t len)
{
    return file->held_head && off < IO_HEAD_BYTES ? min_u64(len, IO_HEAD_BYTES - off) : 0;
}

/* --- whole requests --------------------------------------------------------------------------- */

int io_read_exact(struct io_file *file, uint64_t off, void *buf, size_t len, size_t *got)
{
    const size_t held = held_part(file, off, len);
    size_t have = 0;

    if (fits(file, off, buf, len))
        TRY(read_span(file, off, buf, len, &have));
    else
        TRY(read_bounced(file, off, buf, len, &have));
    memset((uint8_t *)buf + have, 0, len - have);
    stats_count_read(file->engine, have);
    if (held > 0) {
        memcpy(buf, file->held_head + off, held);
        have = max_u64(have, held);
    }
    if (got)
        *got = have;
    return 0;
}

int io_read_cached(struct io_file *file, uint64_t off, void *buf, size_t len)
{
    size_t have = 0;

    if (!file->ops->read_cached)
        return -EAGAIN;
    while (have < len) {
        const struct iovec piece = { (uint8_t *)buf + have, len - have };
        const ssize_t n = file->ops->read_cached(file, off + have, &piece, 1);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    memset((uint8_t *)buf + have, 0, len - have);
    stats_count_read(file->engine, have);
    return 0;
}

/* Fills @block from the file at @off: the write covers it only in part. */
static int read_edge(struct io_file *file, uint64_t off, uint8_t *block)
{
    size_t got;

    TRY(read_span(file, off, block, file->request_align, &got));
    memset(block + got, 0, file->request_align - got);
    return 0;
}

/* One bounce's worth, [off, off + len) of at most room bytes with its edges. See (1), (2). */
static int write_part(struct io_file *file, uint64_t off, const uint8_t *buf, size_t len,
                      uint8_t *bounce)
{
    const uint64_t align = file->request_align;
    const uint64_t start = align_down(off, align);
    const uint64_t end = align_up(off + len, align);
    const bool cut_back = end != off + len && !file->is_device && !file->pads_end;
    struct io_stat before = { 0 }, after = { 0 };

    if (start != off)
        TRY(read_edge(file, start, bounce));
    if (end != off + len && (end - align != start || start == off))
        TRY(read_edge(file, end - align, bounce + (end - align - start)));
    memcpy(bounce + (off - start), buf, len);
    if (cut_back)
        TRY(io_stat(file, &before));
    TRY(write_span(file, start, bounce, (size_t)(end - start)));
    if (!cut_back || before.size >= end)
        return 0;
    TRY(io_stat(file, &after));
    return after.size == end ? io_truncate(file, max_u64(before.size, off + len)) : 0;
}

static int write_bounced(struct io_file *file, uint64_t off, const uint8_t *buf, size_t len)
{
    const uint64_t align = file->request_align;
    const size_t room = bounce_bytes(file, len);
    AUTO_FREE uint8_t *bounce = io_buffer_new(room);
    size_t done = 0;

    if (!bounce)
        return -ENOMEM;
    while (done < len) {
        const size_t head = (size_t)((off + done) & (align - 1));
        const size_t part = (size_t)min_u64(len - done, room - head);
        TRY(write_part(file, off + done, buf + done, part, bounce));
        done += part;
    }
    return 0;
}

int io_write_exact(struct io_file *file, uint64_t off, const void *buf, size_t len)
{
    const size_t held = held_part(file, off, len);

    if (held > 0) {
        memcpy(file->held_head + off, buf, held);
        if (held == len)
            return 0;
        return io_write_exact(file, off + held, (const uint8_t *)buf + held, len - held);
    }
    if (fits(file, off, buf, len)) {
        TRY(write_span(file, off, buf, len));
    } else {
        pthread_mutex_lock(&file->edges);
        const int rc = write_bounced(file, off, buf, len);
        pthread_mutex_unlock(&file->edges);
        TRY(rc);
    }
    stats_count_write(file->engine, len);
    return 0;
}

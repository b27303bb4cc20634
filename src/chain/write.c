/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that change the disk, cut into plans. Invariants: (1) of a write's range, all before
 * write->left is done or in a piece under way; (2) the format is asked for a plan, and the map
 * looked into for what the plan depends on, under one hold of the image's lock; (3) a request
 * that waits for others has nothing of its own under way: who waits for it would wait forever.
 */
#include "write.h"

#include <assert.h>
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "map.h"
#include "write_piece.h"
#include "writing.h"

#define PIECES_AT_ONCE 16
#define ZEROS_AT_ONCE  (1 * MiB) /* of zeros that are written as data */
#define PROBED_BYTES   512       /* what a format is recognised by */

static struct image *top_of(const struct chain_write *write)
{
    return write->image->layers[0].image;
}

struct qimg_error *chain_write_error(struct chain_write *write, struct qimg_error *unsaid)
{
    return write->err && write->result == 0 ? write->err : unsaid;
}

static void fail(struct chain_write *write, int rc)
{
    if (write->result == 0)
        write->result = rc;
}

/* --- the end -------------------------------------------------------------------------------- */

int chain_flush(struct qimg_image *image, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    chain_lock(image);
    const int rc = top->writing ? top->ops->write->flush(top, err) : 0;
    chain_unlock(image);
    return rc;
}

/* In a worker. */
static int flush_now(struct io_request *request)
{
    struct chain_write *write = request->user;
    struct qimg_error unsaid;
    return chain_flush(write->image, chain_write_error(write, &unsaid));
}

static void flushed(struct io_request *request)
{
    struct chain_write *write = request->user;
    if (request->result < 0)
        fail(write, request->result);
    write->complete(write);
}

static void start_flush(struct chain_write *write)
{
    write->flushing =
        (struct io_request){ .op = IO_CALL, .call = flush_now, .advance = flushed, .user = write };
    io_queue_add(write->lane->queue, &write->flushing);
}

/* Is every change to be durable when it completes? */
static bool writes_through(const struct qimg_image *image)
{
    const enum qimg_cache cache = image->options.cache;
    return cache == QIMG_CACHE_WRITETHROUGH || cache == QIMG_CACHE_DIRECTSYNC;
}

static void all_done(struct chain_write *write)
{
    if (write->result == 0 && write->range.len > 0 && writes_through(write->image))
        start_flush(write);
    else
        write->complete(write);
}

/* --- the map -------------------------------------------------------------------------------- */

void chain_write_splice(struct qimg_image *image, struct qimg_range changed)
{
    const struct image *top = image->layers[0].image;
    const uint64_t unit = top->cluster_size ? top->cluster_size : top->map_unit;
    const uint64_t begin = align_down(changed.off, unit);
    const uint64_t end = min_u64(align_up(range_end(changed), unit), image->size);
    chain_map_splice(image->map, (struct qimg_range){ begin, end - begin });
}

/* Does the map tell that this reads as zeros? Under the image's lock. */
static bool known_zero(struct qimg_image *image, struct qimg_range range)
{
    struct run runs[8];
    struct qimg_error unsaid;
    while (range.len > 0) {
        const int count = chain_map_lookup(image->map, range, runs, ARRAY_COUNT(runs), &unsaid);
        if (count <= 0)
            return false;
        for (int i = 0; i < count; i++) {
            if (runs[i].kind != RUN_ZERO && runs[i].kind != RUN_UNALLOCATED)
                return false;
            range.off += runs[i].len;
            range.len -= runs[i].len;
        }
    }
    return true;
}

/* --- steps, under the image's lock ---------------------------------------------------------- */

/* Everything up to @end has been dealt with. */
static void take_up_to(struct chain_write *write, uint64_t end)
{
    const uint64_t left_end = range_end(write->left);
    assert(end > write->left.off);
    write->left.off = min_u64(end, left_end);
    write->left.len = left_end - write->left.off;
}

static int plan_bytes(struct chain_write *write, struct qimg_range want, struct write_piece **out)
{
    struct image *top = top_of(write);
    struct qimg_error unsaid, *err = chain_write_error(write, &unsaid);
    struct write_piece *piece = piece_take(write);
    if (!piece)
        return qimg_fail_memory(err);
    const int rc = top->ops->write->write_begin(top, want, &piece->plan, err);
    if (rc < 0) {
        piece_drop(piece);
        return rc;
    }
    take_up_to(write, range_end(piece->plan.guest));
    *out = piece;
    return 0;
}

static int plan_packed(struct chain_write *write, struct write_piece **out)
{
    struct image *top = top_of(write);
    struct qimg_error unsaid, *err = chain_write_error(write, &unsaid);
    if (!top->ops->write->packed_begin)
        return qimg_fail(err, ENOTSUP, "Compression not supported for this file format");
    struct write_piece *piece = piece_take(write);
    if (!piece)
        return qimg_fail_memory(err);
    const int rc =
        top->ops->write->packed_begin(top, write->left.off, write->packed_len, &piece->plan, err);
    if (rc < 0) {
        piece_drop(piece);
        return rc;
    }
    take_up_to(write, range_end(write->range));
    *out = piece;
    return 0;
}

/* The next bytes to zero. Of a cluster that is zeroed in part while its rest reads as zeros anyway,
 * all: only the chain as a whole can tell that, and it saves a copy. */
static struct qimg_range next_zeroes(const struct chain_write *write)
{
    struct qimg_image *image = write->image;
    const struct qimg_range left = write->left;
    const uint64_t unit = top_of(write)->map_unit;
    if (image->layer_count == 1)
        return left;
    const uint64_t begin = align_down(left.off, unit);
    const uint64_t end = min_u64(begin + unit, image->size);
    if (left.off == begin && range_end(left) >= end) {
        const uint64_t whole =
            range_end(left) == image->size ? image->size : align_down(range_end(left), unit);
        return (struct qimg_range){ begin, whole - begin };
    }
    const uint64_t stop = min_u64(end, range_end(left));
    if (known_zero(image, (struct qimg_range){ begin, left.off - begin }) &&
        known_zero(image, (struct qimg_range){ stop, end - stop }))
        return (struct qimg_range){ begin, end - begin };
    return (struct qimg_range){ left.off, stop - left.off };
}

static int zero_some(struct chain_write *write, struct write_piece **out)
{
    struct image *top = top_of(write);
    struct qimg_error unsaid, *err = chain_write_error(write, &unsaid);
    struct write_zeroed done;
    const struct qimg_range want = next_zeroes(write);
    const unsigned flags = write->may_unmap ? WRITE_MAY_UNMAP : 0;

    if (write->image->layers[0].windowed)
        done = (struct write_zeroed){ .len = want.len, .as_data = true };
    else
        TRY(top->ops->write->zero(top, want, flags, &done, err));
    assert(done.len > 0 && done.len <= want.len);
    if (!done.as_data) {
        chain_write_splice(write->image, (struct qimg_range){ want.off, done.len });
        take_up_to(write, want.off + done.len);
        return 0;
    }
    if (write->no_fallback)
        return qimg_fail_errno(err, ENOTSUP, "zeros cannot be written without writing data");
    struct qimg_range data = write->left;
    data.len = min_u64(data.len, want.off + done.len - data.off);
    data.len = min_u64(data.len, ZEROS_AT_ONCE);
    return plan_bytes(write, data, out);
}

static int discard_some(struct chain_write *write)
{
    struct image *top = top_of(write);
    struct qimg_error unsaid;
    uint64_t done = write->left.len;
    /* Raw does not know that it is a window: its bytes lie where the file has them. */
    const struct qimg_range host = { write->left.off + write->image->layers[0].window_off,
                                     write->left.len };
    TRY(top->ops->write->discard(top, host, &done, chain_write_error(write, &unsaid)));
    assert(done > 0 && done <= write->left.len);
    chain_write_splice(write->image, (struct qimg_range){ write->left.off, done });
    take_up_to(write, write->left.off + done);
    return 0;
}

static int plan_next(struct chain_write *write, struct write_piece **out)
{
    struct qimg_error unsaid;
    TRY(chain_writing_begin(write->image, chain_write_error(write, &unsaid)));
    switch (write->kind) {
    case CHAIN_WRITE_BYTES:
        return plan_bytes(write, write->left, out);
    case CHAIN_WRITE_ZEROES:
        return zero_some(write, out);
    case CHAIN_WRITE_PACKED:
        return plan_packed(write, out);
    case CHAIN_DISCARD:
        return discard_some(write);
    case CHAIN_FLUSH:
        break;
    }
    assert(0 && "a flush has no range");
    return -EINVAL;
}

/* --- moving on ------------------------------------------------------------------------------ */

/* The next step of @write's plan, under the image's lock. *out: the piece to be moved, NULL where
 * there is none. -EAGAIN: others hold the clusters, and write->seen says what has happened so far.
 */
static int plan_locked(struct chain_write *write, struct write_piece **out)
{
    *out = NULL;
    chain_lock(write->image);
    const int rc = plan_next(write, out);
    if (rc == -EAGAIN)
        write->seen = chain_writing_changes(write->image);
    chain_unlock(write->image);
    return rc;
}

static int step(struct chain_write *write)
{
    struct write_piece *piece;
    const int rc = plan_locked(write, &piece);
    if (piece) {
        write->pieces++;
        piece_start(piece);
    }
    return rc;
}

static void park(struct chain_write *write)
{
    write->next = write->lane->parked;
    write->lane->parked = write;
    write->lane->parked_count++;
}

static void advance(struct chain_write *write)
{
    int rc = 0;
    if (write->advancing)
        return; /* a piece that ended at once: the loop below goes on */
    write->advancing = true;
    while (write->left.len > 0 && write->result == 0 && write->pieces < PIECES_AT_ONCE && rc == 0) {
        rc = step(write);
        if (rc < 0 && rc != -EAGAIN)
            fail(write, rc);
    }
    write->advancing = false;
    if (write->pieces > 0)
        return;
    if (rc == -EAGAIN)
        park(write); /* (3) */
    else
        all_done(write);
}

void chain_write_piece_done(struct chain_write *write, int rc)
{
    if (rc < 0)
        fail(write, rc);
    write->pieces--;
    advance(write);
}

void write_lane_retry(struct write_lane *lane)
{
    struct chain_write *write = lane->parked;
    lane->parked = NULL;
    lane->parked_count = 0;
    for (struct chain_write *next; write; write = next) {
        next = write->next;
        if (write->seen == chain_writing_changes(write->image))
            park(write);
        else
            advance(write);
    }
}

void write_lane_wait(struct write_lane *lane)
{
    const struct chain_write *write = lane->parked;
    uint64_t seen = write->seen;
    for (; write; write = write->next)
        seen = min_u64(seen, write->seen);
    chain_writing_wait(lane->parked->image, seen);
    write_lane_retry(lane);
}

/* --- the beginning -------------------------------------------------------------------------- */

/* The image was only guessed to be raw: it must not come to look like another format, which would
 * be believed the next time, with the files that it names. (QEMU refuses the same.) */
static int check_head(const struct chain_write *write)
{
    const struct layer *layer = &write->image->layers[0];
    uint8_t head[PROBED_BYTES];
    if (!layer->probed || layer->image->cluster_size != 0 || write->range.off >= PROBED_BYTES ||
        write->kind != CHAIN_WRITE_BYTES || write->range.len == 0)
        return 0;
    const uint64_t len = min_u64(write->range.len, PROBED_BYTES - write->range.off);
    TRY(io_read_exact(layer->image->file, 0, head, sizeof(head), NULL));
    memcpy(head + write->range.off, write->buf, len);
    return format_probe(head, sizeof(head)) == layer->image->ops ? 0 : -EPERM;
}

void chain_write_prepare(struct chain_write *write)
{
    struct qimg_error unsaid;
    write->result = 0;
    write->pieces = 0;
    write->advancing = false;
    write->left = write->range;
    write->first.in_use = false;
    write->placed = NULL;
    write->placed_end = &write->placed;
    if (write->kind == CHAIN_FLUSH)
        return;
    int rc = range_within(write->range, write->image->size) ? check_head(write) : -EINVAL;
    if (rc < 0) {
        rc = qimg_fail_errno(chain_write_error(write, &unsaid), -rc, "change of %llu bytes at %llu",
                             (unsigned long long)write->range.len,
                             (unsigned long long)write->range.off);
        fail(write, rc);
    }
}

void chain_write_start(struct chain_write *write)
{
    chain_write_prepare(write);
    if (write->kind == CHAIN_FLUSH)
        start_flush(write);
    else
        advance(write);
}

/* --- without queue -------------------------------------------------------------------------- */

/* Plans the next piece, if there is one, and asks for storage where it goes, in the order of
 * places. What the file system is to copy brings its own. */
static int place_some(struct chain_write *write)
{
    struct write_piece *piece;
    const int rc = plan_locked(write, &piece);
    if (piece) {
        piece->next = NULL;
        *write->placed_end = piece;
        write->placed_end = &piece->next;
        if (write->reserve && !write->from && !piece->plan.in_place)
            piece_reserve(piece);
    }
    return rc;
}

int chain_write_place(struct chain_write *write)
{
    while (write->left.len > 0 && write->result == 0) {
        const int rc = place_some(write);
        if (rc == -EAGAIN)
            return rc;
        if (rc < 0)
            fail(write, rc);
    }
    return write->result;
}

int chain_write_move(struct chain_write *write)
{
    struct qimg_error unsaid;
    struct write_piece *piece = write->placed, *next;
    write->placed = NULL;
    write->placed_end = &write->placed;
    for (; piece; piece = next) {
        next = piece->next;
        const int rc = piece_run(piece);
        if (rc < 0)
            fail(write, rc);
    }
    if (write->result == 0 && write->left.len == 0 && writes_through(write->image))
        fail(write, chain_flush(write->image, chain_write_error(write, &unsaid)));
    return write->result;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * One plan's bytes: what lies beside the guest's own is fetched (old content through the whole
 * chain) or zeroed, then all of it goes out as one request, and when that is done the format
 * links it and the map is spliced, both under one lock. Until then nobody else changes these
 * clusters, so that what was fetched stays right.
 *
 * O_DIRECT takes only aligned pieces of memory: where one is not, everything is copied together.
 */
#include "write_piece.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "map.h"
#include "run_read.h"
#include "writing.h"

struct write_piece *piece_take(struct chain_write *write)
{
    struct write_piece *piece = &write->first;
    if (piece->in_use)
        piece = malloc(sizeof(*piece));
    if (!piece)
        return NULL;
    piece->in_use = true;
    piece->write = write;
    piece->edges = NULL;
    return piece;
}

void piece_drop(struct write_piece *piece)
{
    free(piece->edges);
    piece->in_use = false;
    if (piece != &piece->write->first)
        free(piece);
}

static const struct layer *layer_of(const struct write_piece *piece)
{
    return &piece->write->image->layers[0];
}

static size_t middle_len(const struct write_piece *piece)
{
    const bool packed = piece->write->kind == CHAIN_WRITE_PACKED;
    return packed ? piece->write->packed_len : piece->plan.guest.len;
}

/* --- the end -------------------------------------------------------------------------------- */

/* Where the plan says of whole clusters what they are, the map needs not ask. */
static void splice_linked(const struct write_piece *piece)
{
    struct qimg_image *image = piece->write->image;
    const struct image *top = image->layers[0].image;
    const struct write_plan *plan = &piece->plan;
    const uint64_t unit = top->cluster_size ? top->cluster_size : top->map_unit;
    const uint64_t begin = align_down(plan->linked.off, unit);
    const uint64_t end = min_u64(align_up(range_end(plan->linked), unit), image->size);
    const bool whole = plan->linked.off == begin && range_end(plan->linked) >= end;
    const struct qimg_range range = { begin, end - begin };

    if (piece->write->kind == CHAIN_WRITE_PACKED || (top->cluster_size && !whole)) {
        chain_map_splice(image->map, range);
        return;
    }
    chain_map_splice_data(image->map, range,
                          plan->host_off + layer_of(piece)->window_off - (plan->guest.off - begin));
}

static int link_or_abort(struct write_piece *piece, int rc)
{
    struct chain_write *write = piece->write;
    struct image *top = layer_of(piece)->image;
    struct qimg_error unsaid;

    if (rc < 0) {
        (void)qimg_fail_errno(
            chain_write_error(write, &unsaid), -rc,
            "%s: guest offset %llu at offset %llu of the file", qimg_image_file(write->image, 0),
            (unsigned long long)piece->plan.guest.off, (unsigned long long)piece->plan.host_off);
        top->ops->write->write_abort(top, &piece->plan);
        return rc;
    }
    rc = top->ops->write->write_commit(top, &piece->plan, chain_write_error(write, &unsaid));
    if (rc < 0) /* some of it may be linked */
        chain_write_splice(write->image, piece->plan.linked);
    else if (!piece->plan.in_place)
        splice_linked(piece);
    return rc;
}

/* The bytes are there, or not. */
static int settle(struct write_piece *piece, int rc)
{
    struct qimg_image *image = piece->write->image;

    chain_lock(image);
    rc = link_or_abort(piece, rc);
    const bool much = rc == 0 && chain_writing_moved(image, middle_len(piece));
    chain_writing_changed(image);
    chain_unlock(image);
    piece_drop(piece);
    if (much)
        io_write_back(layer_data_file(&image->layers[0]));
    return rc;
}

static void piece_end(struct write_piece *piece, int rc)
{
    struct chain_write *write = piece->write;

    chain_write_piece_done(write, settle(piece, rc));
}

/* --- writing -------------------------------------------------------------------------------- */

static void piece_written(struct io_request *request)
{
    piece_end(request->user, request->result);
}

static void stage(struct write_piece *piece, enum io_op op, struct qimg_range host, unsigned count)
{
    piece->request = (struct io_request){
        .op = op,
        .file = layer_data_file(layer_of(piece)),
        .off = host.off + layer_of(piece)->window_off,
        .len = host.len,
        .iov = piece->iov,
        .iov_count = count,
        .advance = piece_written,
        .user = piece,
    };
    io_queue_add(piece->write->lane->queue, &piece->request);
}

/* --- memory --------------------------------------------------------------------------------- */

static uint64_t edge_len(const struct write_edge *edge)
{
    return edge->fill == WRITE_FILL_NONE ? 0 : edge->len;
}

/* The bytes between the edges; NULL = zeros. */
static const uint8_t *middle_of(const struct write_piece *piece)
{
    const struct chain_write *write = piece->write;
    if (!write->buf)
        return NULL;
    return write->buf + (piece->plan.guest.off - write->range.off);
}

/* Must all three parts be copied together? */
static bool needs_one_buffer(const struct write_piece *piece, uint64_t head, uint64_t tail)
{
    const struct io_file *file = layer_data_file(layer_of(piece));
    const uint8_t *middle = middle_of(piece);
    if (!middle)
        return true;
    if (head + tail == 0)
        return false; /* the queue bounces what must be */
    return !is_aligned(head | middle_len(piece), file->request_align) ||
           !is_aligned((uintptr_t)middle, file->memory_align);
}

/* Lays out head, middle and tail; returns where the edges' bytes go. */
static int lay_out(struct write_piece *piece, uint8_t **head_bytes, uint8_t **tail_bytes)
{
    const uint64_t head = edge_len(&piece->plan.head), tail = edge_len(&piece->plan.tail);
    const uint8_t *middle = middle_of(piece);
    const size_t len = middle_len(piece);
    const bool one = needs_one_buffer(piece, head, tail);

    if (one || head + tail > 0) {
        piece->edges = io_buffer_new(head + tail + (one ? len : 0));
        if (!piece->edges)
            return -ENOMEM;
    }
    uint8_t *at_middle = one ? piece->edges + head : (uint8_t *)(uintptr_t)middle;
    *head_bytes = piece->edges;
    *tail_bytes = one ? at_middle + len : piece->edges ? piece->edges + head : NULL;
    if (one && middle)
        memcpy(at_middle, middle, len);
    else if (one)
        memset(at_middle, 0, len);
    piece->iov[0] = (struct iovec){ *head_bytes, head };
    piece->iov[1] = (struct iovec){ at_middle, len };
    piece->iov[2] = (struct iovec){ *tail_bytes, tail };
    if (one)
        piece->iov[0] = (struct iovec){ piece->edges, head + len + tail };
    return 0;
}

/* Where head, middle and tail go, in the layer's window. */
static struct qimg_range host_range(const struct write_piece *piece)
{
    const uint64_t head = edge_len(&piece->plan.head), tail = edge_len(&piece->plan.tail);
    return (struct qimg_range){ piece->plan.host_off - head, head + middle_len(piece) + tail };
}

void piece_reserve(const struct write_piece *piece)
{
    const struct layer *layer = layer_of(piece);
    struct qimg_range host = host_range(piece);

    host.off += layer->window_off;
    io_reserve(layer_data_file(layer), host);
}

static void send(struct write_piece *piece)
{
    const struct qimg_range host = host_range(piece);
    unsigned count = 0;

    if (piece->iov[0].iov_len == host.len) {
        stage(piece, IO_WRITE, host, 1);
        return;
    }
    for (unsigned i = 0; i < 3; i++)
        if (piece->iov[i].iov_len > 0)
            piece->iov[count++] = piece->iov[i];
    stage(piece, IO_WRITE, host, count);
}

/* --- edges ---------------------------------------------------------------------------------- */

static void edges_step(struct write_piece *piece)
{
    assert(piece->reads_pending > 0);
    if (--piece->reads_pending > 0)
        return;
    if (piece->reads_result < 0)
        piece_end(piece, piece->reads_result);
    else
        send(piece);
}

static void edge_read(struct chain_read *read)
{
    struct write_piece *piece = read->user;
    if (read->result < 0)
        piece->reads_result = read->result;
    edges_step(piece);
}

/* Zeroes what of an edge is not old content; returns how many bytes are, from its start. */
static uint64_t fill_zeros(const struct write_piece *piece, uint64_t guest_off,
                           const struct write_edge *edge, uint8_t *bytes)
{
    const struct qimg_range want = { guest_off, edge_len(edge) };
    const uint64_t old =
        edge->fill == WRITE_FILL_OLD ? range_clip(want, piece->write->image->size).len : 0;

    if (want.len > old)
        memset(bytes + old, 0, want.len - old);
    return old;
}

static void fill_edge(struct write_piece *piece, struct chain_read *read, uint64_t guest_off,
                      const struct write_edge *edge, uint8_t *bytes)
{
    const uint64_t old = fill_zeros(piece, guest_off, edge, bytes);

    if (old == 0)
        return;
    *read = (struct chain_read){ .image = piece->write->image,
                                 .queue = piece->write->lane->queue,
                                 .guest_off = guest_off,
                                 .buf = bytes,
                                 .len = old,
                                 .complete = edge_read,
                                 .user = piece };
    piece->reads_pending++;
    chain_read_start(read);
}

void piece_start(struct write_piece *piece)
{
    const struct write_plan *plan = &piece->plan;
    uint8_t *head, *tail;

    if (plan->in_place && !middle_of(piece)) {
        stage(piece, IO_ZERO, (struct qimg_range){ plan->host_off, plan->guest.len }, 0);
        return;
    }
    if (lay_out(piece, &head, &tail) < 0) {
        piece_end(piece, -ENOMEM);
        return;
    }
    piece->reads_pending = 1; /* until both have begun */
    piece->reads_result = 0;
    fill_edge(piece, &piece->reads[0], plan->guest.off - plan->head.len, &plan->head, head);
    fill_edge(piece, &piece->reads[1], range_end(plan->guest), &plan->tail, tail);
    edges_step(piece);
}

/* --- without queue -------------------------------------------------------------------------- */

/* What the guest reads at @want, which lies within the image. */
static int read_old(struct qimg_image *image, struct qimg_range want, uint8_t *bytes)
{
    struct run runs[8];
    struct qimg_error unsaid;
    const uint64_t pin = chain_pin(image);
    int rc = 0;

    for (uint64_t done = 0; rc >= 0 && done < want.len;) {
        const struct qimg_range left = { want.off + done, want.len - done };
        const int count = chain_map_lookup(image->map, left, runs, ARRAY_COUNT(runs), &unsaid);
        rc = count;
        for (int i = 0; rc >= 0 && i < count; i++) {
            rc = run_read(image, &runs[i], bytes + done);
            done += runs[i].len;
        }
    }
    chain_unpin(image, pin);
    return rc < 0 ? rc : 0;
}

static int run_edge(const struct write_piece *piece, uint64_t guest_off,
                    const struct write_edge *edge, uint8_t *bytes)
{
    const struct qimg_range old = { guest_off, fill_zeros(piece, guest_off, edge, bytes) };

    return old.len ? read_old(piece->write->image, old, bytes) : 0;
}

/* The bytes between the edges lie in another file: 1 where the file system copied them, else 0, and
 * they are in the buffer. */
static int borrow(struct write_piece *piece, struct io_file *file, uint64_t at)
{
    const struct chain_write *write = piece->write;
    const struct write_plan *plan = &piece->plan;
    const uint64_t from_off = write->from_off + (plan->guest.off - write->range.off);
    const bool alone = edge_len(&plan->head) + edge_len(&plan->tail) == 0;

    if (!write->from)
        return 0;
    if (alone && !atomic_load(write->from_failed)) {
        if (io_copy_range(write->from, from_off, file,
                          (struct qimg_range){ at, plan->guest.len }) == 0)
            return 1;
        atomic_store(write->from_failed, true);
    }
    return io_read_exact(write->from, from_off, (uint8_t *)(uintptr_t)middle_of(piece),
                         plan->guest.len, NULL);
}

static int run_bytes(struct write_piece *piece)
{
    const struct write_plan *plan = &piece->plan;
    struct io_file *file = layer_data_file(layer_of(piece));
    uint64_t at = plan->host_off + layer_of(piece)->window_off;
    uint8_t *head, *tail;
    const int borrowed = borrow(piece, file, at);

    TRY(borrowed);
    if (borrowed)
        return 0;

    if (plan->in_place && !middle_of(piece))
        return io_zero(file, (struct qimg_range){ at, plan->guest.len }, false);
    TRY(lay_out(piece, &head, &tail));
    TRY(run_edge(piece, plan->guest.off - plan->head.len, &plan->head, head));
    TRY(run_edge(piece, range_end(plan->guest), &plan->tail, tail));
    at -= edge_len(&plan->head);
    const unsigned parts =
        needs_one_buffer(piece, edge_len(&plan->head), edge_len(&plan->tail)) ? 1 : 3;
    for (unsigned i = 0; i < parts; i++) {
        if (piece->iov[i].iov_len > 0)
            TRY(io_write_exact(file, at, piece->iov[i].iov_base, piece->iov[i].iov_len));
        at += piece->iov[i].iov_len;
    }
    return 0;
}

int piece_run(struct write_piece *piece)
{
    return settle(piece, run_bytes(piece));
}

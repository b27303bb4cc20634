/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest bytes into buffers. A read is cut into runs; each run becomes a part: data goes from the
 * file straight into the buffer, packed clusters that lie together in the file are read in one
 * request and unpacked by several calls in the worker pool. Parts count down read->pending in
 * the queue's thread; the last one completes the read.
 *
 * What is read past the end of a file is zeros, but of packed bytes only those that are there
 * count: a cluster that needs more is an I/O error.
 */
#include "read.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "cleanup.h"
#include "codec.h"
#include "explain.h"
#include "map.h"
#include "writing.h"

#define RUNS_AT_ONCE   32
#define PACKED_AT_ONCE (512 * KiB) /* of neighbouring packed clusters in one request */
#define UNPACK_AT_ONCE (64 * KiB)  /* of clear bytes in one call of the pool, or one cluster */

/* One packed cluster, or the piece of it that is wanted. */
struct packed_item {
    uint64_t guest_off;
    uint8_t *dest;
    size_t len, skip, cluster;
    size_t at, packed_len; /* in the part's packed bytes */
    uint8_t codec;
};

/* Some items of one part, unpacked by one call. */
struct unpack_call {
    struct io_request request;
    struct packed_part *part;
    size_t first, count;
    uint64_t failed_off;
};

struct packed_part {
    struct io_request request;
    struct iovec iov;
    struct chain_read *read;
    uint8_t *packed;
    uint64_t got;
    struct packed_item *items;
    size_t count;
    struct unpack_call *calls;
    size_t calls_pending;
};

struct data_part {
    struct io_request request;
    struct iovec iov;
    struct chain_read *read;
    uint64_t guest_off;
};

/* --- results ------------------------------------------------------------------------------ */

static void fail_at(struct chain_read *read, int rc, uint64_t guest_off)
{
    if (read->result == 0 || guest_off < read->failed_off) {
        read->result = rc;
        read->failed_off = guest_off;
    }
}

static void part_done(struct chain_read *read)
{
    assert(read->pending > 0);
    if (--read->pending > 0)
        return;
    chain_unpin(read->image, read->pin);
    read->complete(read);
}

/* --- data ---------------------------------------------------------------------------------- */

static void data_arrived(struct io_request *request)
{
    struct data_part *part = request->user;
    struct chain_read *read = part->read;
    if (request->result < 0)
        fail_at(read, request->result, part->guest_off);
    free(part);
    part_done(read);
}

static int start_data(struct chain_read *read, const struct run *run)
{
    struct data_part *part = malloc(sizeof(*part));
    if (!part)
        return -ENOMEM;
    part->read = read;
    part->guest_off = run->guest_off;
    part->iov = (struct iovec){ read->buf + (run->guest_off - read->guest_off), run->len };
    part->request = (struct io_request){
        .op = IO_READ,
        .file = layer_data_file(&read->image->layers[run->layer]),
        .off = run->host_off,
        .len = run->len,
        .iov = &part->iov,
        .iov_count = 1,
        .advance = data_arrived,
        .user = part,
    };
    read->pending++;
    io_queue_add(read->queue, &part->request);
    return 0;
}

/* --- packed clusters -------------------------------------------------------------------------- */

static void free_packed(struct packed_part *part)
{
    free(part->packed);
    free(part->items);
    free(part->calls);
    free(part);
}

static void packed_part_done(struct packed_part *part)
{
    struct chain_read *read = part->read;
    free_packed(part);
    part_done(read);
}

/* In a worker. */
static int unpack_item(const struct packed_part *part, const struct packed_item *item)
{
    if (item->at >= part->got)
        return -EIO;
    const size_t there = (size_t)min_u64(item->packed_len, part->got - item->at);
    const uint8_t *packed = part->packed + item->at;
    if (item->len == item->cluster)
        return codec_unpack(item->codec, packed, there, item->dest, item->cluster);
    AUTO_FREE uint8_t *whole = malloc(item->cluster);
    if (!whole)
        return -ENOMEM;
    TRY(codec_unpack(item->codec, packed, there, whole, item->cluster));
    memcpy(item->dest, whole + item->skip, item->len);
    return 0;
}

/* In a worker. */
static int unpack_items(struct io_request *request)
{
    struct unpack_call *call = request->user;
    for (size_t i = call->first; i < call->first + call->count; i++) {
        const int rc = unpack_item(call->part, &call->part->items[i]);
        if (rc < 0) {
            call->failed_off = call->part->items[i].guest_off;
            return rc;
        }
    }
    return 0;
}

static void items_unpacked(struct io_request *request)
{
    const struct unpack_call *call = request->user;
    struct packed_part *part = call->part;
    if (request->result < 0)
        fail_at(part->read, request->result, call->failed_off);
    if (--part->calls_pending == 0)
        packed_part_done(part);
}

/* How many items from @first on one call unpacks. */
static size_t share_of(const struct packed_part *part, size_t first)
{
    size_t bytes = 0, i = first;
    while (i < part->count && (i == first || bytes + part->items[i].cluster <= UNPACK_AT_ONCE))
        bytes += part->items[i++].cluster;
    return i - first;
}

static void packed_arrived(struct io_request *request)
{
    struct packed_part *part = request->user;
    part->got = request->got;
    if (request->result < 0)
        fail_at(part->read, request->result, part->items[0].guest_off);
    part->calls = request->result < 0 ? NULL : malloc(part->count * sizeof(*part->calls));
    if (!part->calls) {
        if (request->result == 0)
            fail_at(part->read, -ENOMEM, part->items[0].guest_off);
        packed_part_done(part);
        return;
    }
    size_t calls = 0;
    for (size_t first = 0; first < part->count; first += part->calls[calls++].count) {
        part->calls[calls] =
            (struct unpack_call){ .part = part, .first = first, .count = share_of(part, first) };
    }
    part->calls_pending = calls;
    for (size_t i = 0; i < calls; i++) {
        struct unpack_call *call = &part->calls[i];
        call->request = (struct io_request){
            .op = IO_CALL, .call = unpack_items, .advance = items_unpacked, .user = call
        };
        io_queue_add(part->read->queue, &call->request);
    }
}

/* How many of @runs can be read together: packed clusters of one layer, each beginning not before
 * the one ahead and not behind its end. *end: where their bytes end. */
static size_t neighbours(const struct run *runs, size_t count, uint64_t *end)
{
    size_t i = 1;
    *end = runs[0].host_off + runs[0].packed_len;
    for (; i < count; i++) {
        const struct run *run = &runs[i];
        if (run->kind != RUN_COMPRESSED || run->layer != runs[0].layer ||
            run->host_off < runs[i - 1].host_off || run->host_off > *end)
            break;
        const uint64_t run_end = run->host_off + run->packed_len;
        if (run_end - runs[0].host_off > PACKED_AT_ONCE)
            break;
        *end = max_u64(*end, run_end);
    }
    return i;
}

static void fill_items(struct packed_part *part, const struct run *runs)
{
    const struct chain_read *read = part->read;
    const size_t cluster = read->image->layers[runs[0].layer].image->cluster_size;
    for (size_t i = 0; i < part->count; i++)
        part->items[i] = (struct packed_item){
            .guest_off = runs[i].guest_off,
            .dest = read->buf + (runs[i].guest_off - read->guest_off),
            .len = runs[i].len,
            .skip = runs[i].skip,
            .cluster = cluster,
            .at = runs[i].host_off - runs[0].host_off,
            .packed_len = runs[i].packed_len,
            .codec = runs[i].codec,
        };
}

/* Returns how many of @runs it took. */
static int start_packed(struct chain_read *read, const struct run *runs, size_t count)
{
    uint64_t end;
    const size_t taken = neighbours(runs, count, &end);
    const size_t len = end - runs[0].host_off;
    struct packed_part *part = calloc(1, sizeof(*part));
    if (!part)
        return -ENOMEM;
    part->read = read;
    part->count = taken;
    part->items = malloc(taken * sizeof(*part->items));
    part->packed = malloc(len ? len : 1);
    if (!part->items || !part->packed) {
        free_packed(part);
        return -ENOMEM;
    }
    fill_items(part, runs);
    part->iov = (struct iovec){ part->packed, len };
    part->request = (struct io_request){
        .op = IO_READ,
        .file = layer_data_file(&read->image->layers[runs[0].layer]),
        .off = runs[0].host_off,
        .len = len,
        .iov = &part->iov,
        .iov_count = 1,
        .advance = packed_arrived,
        .user = part,
    };
    read->pending++;
    io_queue_add(read->queue, &part->request);
    return (int)taken;
}

/* --- the read ------------------------------------------------------------------------------- */

/* Starts what @runs say; a failure is noted, and what is under way stays so. */
static void start_runs(struct chain_read *read, const struct run *runs, size_t count)
{
    for (size_t i = 0; i < count;) {
        const struct run *run = &runs[i];
        int rc = 0, taken = 1;
        switch ((enum run_kind)run->kind) {
        case RUN_ZERO:
        case RUN_UNALLOCATED:
            if (!read->known_zero_skip)
                memset(read->buf + (run->guest_off - read->guest_off), 0, run->len);
            break;
        case RUN_DATA:
            rc = start_data(read, run);
            break;
        case RUN_COMPRESSED:
            rc = taken = start_packed(read, run, count - i);
            break;
        case RUN_BAD:
            rc = -EIO;
            break;
        }
        if (rc < 0) {
            fail_at(read, rc, run->guest_off);
            taken = 1;
        }
        i += (size_t)taken;
    }
}

void chain_read_start(struct chain_read *read)
{
    struct run runs[RUNS_AT_ONCE];
    struct qimg_error ignored; /* chain_read_explain() finds the words again */
    struct qimg_range left = { read->guest_off, read->len };
    read->result = 0;
    read->failed_off = read->guest_off;
    read->pending = 1; /* until all is staged */
    read->pin = chain_pin(read->image);
    if (read->image->options.info_only || !range_within(left, read->image->size)) {
        fail_at(read, -EINVAL, read->guest_off);
        left.len = 0;
    }
    while (left.len > 0) {
        const int count = chain_map_lookup(read->image->map, left, runs, RUNS_AT_ONCE, &ignored);
        if (count <= 0) {
            fail_at(read, count < 0 ? count : -EIO, left.off);
            break;
        }
        start_runs(read, runs, (size_t)count);
        const struct run *last = &runs[count - 1];
        left.len -= last->guest_off + last->len - left.off;
        left.off = last->guest_off + last->len;
    }
    part_done(read);
}

int chain_read_explain(const struct chain_read *read, struct qimg_error *err)
{
    struct qimg_image *image = read->image;
    struct run run;
    assert(read->result < 0);
    if (read->result == -ENOMEM)
        return qimg_fail_memory(err);
    if (read->result == -EINVAL && (image->options.info_only || read->failed_off >= image->size ||
                                    read->len > image->size - read->failed_off))
        return qimg_fail_errno(err, EINVAL, "read of %zu bytes at %llu", read->len,
                               (unsigned long long)read->guest_off);
    const struct qimg_range at = { read->failed_off, 1 };
    const int count = chain_map_lookup(image->map, at, &run, 1, err);
    if (count < 0)
        return count;
    if (count == 0)
        return qimg_fail_errno(err, -read->result, "read at %llu",
                               (unsigned long long)read->failed_off);
    if (run.kind == RUN_BAD || run.kind == RUN_COMPRESSED)
        return explain_run(image, &run, err);
    return qimg_fail_errno(err, -read->result, "%s: guest offset %llu at offset %llu of the file",
                           qimg_image_file(image, run.layer), (unsigned long long)run.guest_off,
                           (unsigned long long)run.host_off);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"

#include <string.h>

#include "base_limits.h"
#include "explain.h"
#include "run_read.h"
#include "sparse.h"

/* Bytes of each side in a slot, at least. */
#define CHUNK (512 * KiB)

/* --- the walk ------------------------------------------------------------------------------- */

void pair_cursor_init(struct pair_cursor *cursor, struct qimg_image *a, struct qimg_image *b,
                      uint64_t end)
{
    *cursor = (struct pair_cursor){ 0 };
    copy_cursor_init(&cursor->side[0], a, end);
    copy_cursor_init(&cursor->side[1], b, end);
}

/* QEMU tells apart what of the last sector is in the file and what is not. A run is looked at again
 * and again while it gets shorter; its file is asked once. */
static void cut_at_padding(struct pair_tail *tail, const struct qimg_image *image, struct run *run)
{
    if (run->kind != RUN_DATA)
        return;
    const uint64_t host_end = run->host_off + run->len;
    if (tail->host_end != host_end || tail->layer != run->layer)
        *tail = (struct pair_tail){
            .layer = run->layer,
            .host_end = host_end,
            .padding = layer_padding(&image->layers[run->layer], run->host_off, run->len),
        };
    const uint64_t padding = min_u64(tail->padding, run->len);
    if (padding == run->len)
        run->kind = RUN_ZERO;
    else if (padding > 0)
        *run = run_part(run, 0, run->len - padding);
}

int pair_cursor_peek_side(struct pair_cursor *cursor, unsigned side, struct run *run,
                          struct qimg_error *err)
{
    struct copy_cursor *at = &cursor->side[side];

    TRY(copy_cursor_peek(at, run, err));
    if (run->kind == RUN_BAD)
        return explain_run(at->image, run, err);
    cut_at_padding(&cursor->tail[side], at->image, run);
    return 0;
}

int pair_cursor_peek(struct pair_cursor *cursor, struct run run[2], unsigned *failed,
                     struct qimg_error *err)
{
    for (*failed = 0; *failed < 2; ++*failed)
        TRY(pair_cursor_peek_side(cursor, *failed, &run[*failed], err));
    return 0;
}

void pair_cursor_advance(struct pair_cursor *cursor, uint64_t len)
{
    copy_cursor_advance(&cursor->side[0], len);
    copy_cursor_advance(&cursor->side[1], len);
}

uint64_t pair_clip(struct run run[2])
{
    const uint64_t len = min_u64(run[0].len, run[1].len);
    run[0] = run_part(&run[0], 0, len);
    run[1] = run_part(&run[1], 0, len);
    return len;
}

/* Both take the same stored bytes: what they read is equal, whatever it is. */
static bool same_bytes(const struct layer *layer_a, const struct run *a,
                       const struct layer *layer_b, const struct run *b)
{
    if (a->kind != b->kind || a->host_off != b->host_off || a->host_off == QIMG_NO_OFFSET)
        return false;
    if (a->kind == RUN_COMPRESSED &&
        (a->packed_len != b->packed_len || a->skip != b->skip || a->codec != b->codec ||
         layer_a->image->cluster_size != layer_b->image->cluster_size))
        return false;
    if (a->kind != RUN_DATA && a->kind != RUN_COMPRESSED)
        return false;
    return io_same_file(layer_data_file(layer_a), layer_data_file(layer_b));
}

bool pair_proved_equal(const struct qimg_image *a, const struct qimg_image *b,
                       const struct run run[2])
{
    if (run_is_zero(&run[0]) || run_is_zero(&run[1]))
        return run_is_zero(&run[0]) && run_is_zero(&run[1]);
    return same_bytes(&a->layers[run[0].layer], &run[0], &b->layers[run[1].layer], &run[1]);
}

/* --- a slot's pairs ------------------------------------------------------------------------- */

void pair_batch_clear(struct pair_batch *batch)
{
    batch->pairs.count = 0;
    batch->used = 0;
}

void pair_batch_release(struct pair_batch *batch)
{
    pair_vec_release(&batch->pairs);
}

static size_t half_of(const struct copy_slot *slot)
{
    return slot->job->slot_size / 2;
}

uint64_t pair_batch_room(const struct pair_batch *batch, const struct copy_slot *slot,
                         const struct run run[2])
{
    const uint64_t room = half_of(slot) - batch->used;
    const bool packed = run[0].kind == RUN_COMPRESSED || run[1].kind == RUN_COMPRESSED;

    if (batch->pairs.count == COPY_PIECES / 2 || room == 0)
        return 0;
    if (run[0].len <= room)
        return run[0].len;
    return packed && batch->used > 0 ? 0 : room;
}

int pair_batch_add(struct pair_batch *batch, struct copy_slot *slot, const struct run run[2],
                   uint64_t len)
{
    struct pair pair = { .off = run[0].guest_off, .len = len, .at = batch->used };

    for (int side = 0; side < 2; side++) {
        pair.run[side] = run_part(&run[side], 0, len);
        if (!run_is_zero(&run[side]))
            pair.bytes[side] = slot->buf + batch->used + (side ? half_of(slot) : 0);
    }
    batch->used += len;
    slot->work += len;
    return pair_vec_push(&batch->pairs, pair);
}

void pair_batch_first_only(struct pair_batch *batch)
{
    struct pair *last = &batch->pairs.items[batch->pairs.count - 1];
    last->bytes[1] = last->bytes[0];
}

/* All of one side, then all of the other: neighbours in a file stay neighbours in the list. */
int pair_batch_fetch(const struct pair_batch *batch, struct copy_slot *slot,
                     struct qimg_image *const side[2])
{
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < batch->pairs.count; i++) {
            const struct pair *pair = &batch->pairs.items[i];
            if (!pair->bytes[s] || (s == 1 && pair->bytes[1] == pair->bytes[0]))
                continue;
            const struct copy_piece piece = {
                .image = side[s],
                .run = pair->run[s],
                .off = pair->off,
                .buf = (uint8_t *)(uintptr_t)pair->bytes[s],
            };
            TRY(copy_piece_vec_push(&slot->pieces, piece));
        }
    }
    return 0;
}

bool pair_equal(const struct pair *pair, uint64_t at, size_t len)
{
    if (pair->bytes[0] == pair->bytes[1])
        return true;
    if (!pair->bytes[0])
        return sparse_is_zero(pair->bytes[1] + at, len);
    if (!pair->bytes[1])
        return sparse_is_zero(pair->bytes[0] + at, len);
    return memcmp(pair->bytes[0] + at, pair->bytes[1] + at, len) == 0;
}

static uint64_t largest_cluster(const struct qimg_image *image)
{
    uint64_t size = 0;
    for (unsigned i = 0; image && i < image->layer_count; i++)
        size = max_u64(size, image->layers[i].image->cluster_size);
    return size;
}

size_t pair_slot_size(const struct qimg_image *a, const struct qimg_image *b)
{
    const uint64_t half = max_u64(CHUNK, max_u64(largest_cluster(a), largest_cluster(b)));
    return (size_t)min_u64(2 * half, LIMIT_COPY_PAIR);
}

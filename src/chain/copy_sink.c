/* SPDX-License-Identifier: Apache-2.0 */
#include "copy_sink.h"

#include <assert.h>
#include <stdlib.h>

#include "copy_worker.h"
#include "writing.h"

void copy_sink_open(struct copy_sink *sink, struct copy_job *job, struct copy_slot *slots,
                    struct io_queue *queue)
{
    *sink = (struct copy_sink){ .job = job, .slots = slots, .lane = { .queue = queue } };
    pthread_mutex_init(&sink->lock, NULL);
}

void copy_sink_close(struct copy_sink *sink)
{
    pthread_mutex_destroy(&sink->lock);
}

/* --- one slot's changes ----------------------------------------------------------------------- */

static int reserve_changes(struct copy_slot *slot)
{
    const size_t count = slot->writes.count;

    slot->changes_begun = 0;
    if (count <= slot->change_room)
        return 0;
    free(slot->changes);
    slot->changes = calloc(count, sizeof(*slot->changes));
    slot->change_room = slot->changes ? count : 0;
    return slot->changes ? 0 : -ENOMEM;
}

static struct chain_write *fill_change(struct copy_slot *slot, size_t i)
{
    const struct copy_write *w = &slot->writes.items[i];
    struct chain_write *change = &slot->changes[i];
    enum chain_write_kind kind = CHAIN_WRITE_ZEROES;

    if (w->data)
        kind = w->packed_len ? CHAIN_WRITE_PACKED : CHAIN_WRITE_BYTES;
    *change = (struct chain_write){
        .image = slot->job->image,
        .lane = &slot->sink->lane,
        .kind = kind,
        .range = w->range,
        .buf = w->data,
        .packed_len = w->packed_len,
        .may_unmap = !slot->job->keep_space,
        .reserve = slot->job->reserve,
        .user = slot,
    };
    if (w->lender) {
        const struct copy_piece *piece = w->lender;
        change->from = layer_data_file(&piece->image->layers[piece->run.layer]);
        change->from_off = piece->run.host_off;
        change->from_failed = &slot->job->offload_failed;
    }
    return change;
}

static void change_failed(struct copy_slot *slot, const struct chain_write *change, int rc)
{
    copy_slot_fail(slot, change->range.off, rc, true);
}

/* --- the queue's mode ------------------------------------------------------------------------- */

/* After a failure, here or elsewhere, nothing more is begun. */
static bool all_begun(const struct copy_slot *slot)
{
    return slot->changes_begun == slot->writes.count || slot->result < 0 ||
           atomic_load(&slot->job->stopped);
}

static void change_done(struct chain_write *change)
{
    struct copy_slot *slot = change->user;

    if (change->result < 0)
        change_failed(slot, change, change->result);
    if (--slot->pending == 0 && all_begun(slot))
        slot->stage = COPY_DONE;
}

void copy_sink_stage(struct copy_slot *slot)
{
    slot->stage = COPY_WRITING;
    slot->pending = 0;
    if (reserve_changes(slot) < 0)
        copy_slot_fail(slot, slot->writes.items[0].range.off, -ENOMEM, true);
    (void)copy_sink_advance(slot);
}

bool copy_sink_advance(struct copy_slot *slot)
{
    if (slot->stage != COPY_WRITING)
        return true;
    slot->pending++; /* what is done at once does not end the slot */
    while (!all_begun(slot)) {
        const size_t i = slot->changes_begun;
        if (i > 0 && !chain_write_placed(&slot->changes[i - 1]))
            break;
        struct chain_write *change = fill_change(slot, i);
        change->complete = change_done;
        slot->changes_begun++;
        slot->pending++;
        chain_write_start(change);
    }
    const bool placed =
        all_begun(slot) &&
        (slot->changes_begun == 0 || chain_write_placed(&slot->changes[slot->changes_begun - 1]));
    if (--slot->pending == 0 && all_begun(slot))
        slot->stage = COPY_DONE;
    return placed;
}

void copy_sink_run(struct copy_sink *sink, unsigned min)
{
    struct write_lane *lane = &sink->lane;
    const unsigned done = io_queue_run(lane->queue, min);

    if (lane->parked && done > 0)
        write_lane_retry(lane);
    else if (lane->parked)
        write_lane_wait(lane); /* others hold the clusters */
}

/* --- the workers' mode: a file ---------------------------------------------------------------- */

static void reserve_writes(const struct copy_slot *slot)
{
    for (size_t i = 0; i < slot->writes.count; i++)
        if (slot->writes.items[i].data)
            io_reserve(slot->job->target, slot->writes.items[i].range);
}

static void write_all(struct copy_slot *slot)
{
    struct io_file *target = slot->job->target;

    for (size_t i = 0; i < slot->writes.count && slot->result == 0; i++) {
        const struct copy_write *w = &slot->writes.items[i];
        const int rc = w->data ? io_write_exact(target, w->range.off, w->data, w->range.len)
                               : io_zero(target, w->range, true);
        if (rc < 0)
            copy_slot_fail(slot, w->range.off, rc, true);
    }
}

/* --- the workers' mode: an image -------------------------------------------------------------- */

/* Moves the bytes of the changes that have places. */
static void move_begun(struct copy_slot *slot)
{
    for (size_t i = 0; i < slot->changes_begun; i++) {
        const int rc = chain_write_move(&slot->changes[i]);
        if (rc < 0)
            change_failed(slot, &slot->changes[i], rc);
    }
}

static bool has_moved(const struct copy_slot *slot)
{
    for (size_t i = 0; i < slot->changes_begun; i++)
        if (slot->changes[i].placed)
            return false;
    return true;
}

/* A cluster is held: by an earlier change of this slot, which must be moved before the rest can be
 * placed, or by somebody else, who will release it. */
static void wait_for_clusters(struct copy_slot *slot, const struct chain_write *change)
{
    if (has_moved(slot))
        chain_writing_wait(change->image, change->seen);
    else
        move_begun(slot);
}

static void place(struct copy_slot *slot)
{
    if (reserve_changes(slot) < 0)
        copy_slot_fail(slot, slot->writes.items[0].range.off, -ENOMEM, true);
    for (size_t i = 0; i < slot->writes.count && slot->result == 0; i++) {
        struct chain_write *change = fill_change(slot, i);
        int rc;
        chain_write_prepare(change);
        slot->changes_begun = i + 1;
        while ((rc = chain_write_place(change)) == -EAGAIN && slot->result == 0)
            wait_for_clusters(slot, change);
        if (rc < 0)
            change_failed(slot, change, rc);
    }
}

/* --- the workers' mode ------------------------------------------------------------------------ */

static bool may_write(const struct copy_slot *slot)
{
    return slot->result == 0 && !atomic_load(&slot->job->stopped);
}

/* In turn, one slot at a time. */
static void begin(struct copy_slot *slot)
{
    slot->changes_begun = 0;
    if (!may_write(slot))
        return;
    if (slot->job->image)
        place(slot);
    else if (slot->job->reserve)
        reserve_writes(slot);
}

static void end(struct copy_slot *slot)
{
    if (slot->job->image)
        move_begun(slot); /* after a failure too: what has a place holds its clusters */
    else if (may_write(slot))
        write_all(slot);
    atomic_store(&slot->settled, true);
}

/* Under the lock. NULL: it is not ready, or somebody is placing and will ask again. */
static struct copy_slot *slot_in_turn(struct copy_sink *sink)
{
    struct copy_slot *slot = &sink->slots[sink->turn % sink->job->window];

    return slot->placeable && !sink->placing ? slot : NULL;
}

void copy_sink_ready(struct copy_slot *slot)
{
    struct copy_sink *sink = slot->sink;

    pthread_mutex_lock(&sink->lock);
    slot->placeable = true;
    while ((slot = slot_in_turn(sink))) {
        slot->placeable = false;
        sink->placing = true;
        pthread_mutex_unlock(&sink->lock);
        begin(slot);
        pthread_mutex_lock(&sink->lock);
        sink->placing = false;
        sink->turn++;
        pthread_mutex_unlock(&sink->lock);
        end(slot);
        pthread_mutex_lock(&sink->lock);
    }
    pthread_mutex_unlock(&sink->lock);
}

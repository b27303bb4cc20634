/* SPDX-License-Identifier: Apache-2.0
 *
 * The window of slots. Keeps true:
 * (1) slots are planned, and finished, in order; what lies between is unordered.
 * (2) a slot's writes start after the writes of all slots before it have started (into an image:
 *     have their places), unless the job allows any order or the worker mode is in use, where the
 *     page cache decides anyway and copy_sink.h sees to the order of places.
 * (3) after a failure no slot is planned and no write is started; what is under way is awaited.
 *
 * Two modes. Where the engine would serve this job's files by threads, one call in the worker
 * pool does a slot from read to write (copy_worker.c). Else all reads of a slot go to the queue
 * as one batch, then the transform to the pool, then all its writes to the queue.
 */
#include "copy.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "base_limits.h"
#include "copy_sink.h"
#include "copy_worker.h"
#include "run_read.h"
#include "workers.h"

struct window {
    struct copy_job *job;
    struct io_queue *queue;
    struct copy_sink sink;
    struct copy_slot *slots;
    uint64_t planned, written, finished; /* slots so far; slot n is slots[n % job->window] */
    bool in_worker;
    bool plan_ended;
    int plan_result; /* a failure, told after the slots before it */
    struct qimg_error plan_error;
    uint64_t started_ns;
    uint64_t work_planned;
};

/* --- slots -------------------------------------------------------------------------------- */

static int slot_init(struct copy_slot *slot, struct copy_job *job)
{
    slot->job = job;
    slot->stage = COPY_FREE;
    slot->buf = io_buffer_new(job->slot_size);
    if (job->scratch_size)
        slot->scratch = io_buffer_new(job->scratch_size);
    return slot->buf && (slot->scratch || !job->scratch_size) ? 0 : -ENOMEM;
}

static void slot_release(struct copy_slot *slot)
{
    free(slot->buf);
    free(slot->scratch);
    free(slot->changes);
    free(slot->requests);
    free(slot->iov);
    copy_piece_vec_release(&slot->pieces);
    copy_write_vec_release(&slot->writes);
}

static void slot_clear(struct copy_slot *slot)
{
    slot->used = 0;
    slot->pieces.count = 0;
    slot->writes.count = 0;
    slot->work = 0;
    slot->alone = false;
    slot->result = 0;
    slot->write_failed = false;
    slot->failed_off = 0;
    slot->failed_piece = 0;
    slot->changes_begun = 0;
    atomic_store(&slot->settled, false);
    slot->stage = COPY_FREE;
}

uint8_t *copy_slot_fetch(struct copy_slot *slot, const struct qimg_image *image,
                         const struct run *run, uint64_t off)
{
    const struct copy_piece piece = {
        .image = image,
        .run = *run,
        .off = off,
        .buf = slot->buf + slot->used,
    };

    assert(run->len <= slot->job->slot_size - slot->used);
    if (copy_piece_vec_push(&slot->pieces, piece) < 0)
        return NULL;
    slot->used += run->len;
    return piece.buf;
}

/* Room for @count requests, all blank. Nothing of the slot is under way. */
static int reserve_requests(struct copy_slot *slot, size_t count)
{
    if (count > slot->request_room) {
        free(slot->requests);
        free(slot->iov);
        slot->requests = calloc(count, sizeof(*slot->requests));
        slot->iov = calloc(count, sizeof(*slot->iov));
        slot->request_room = slot->requests && slot->iov ? count : 0;
        return slot->request_room ? 0 : -ENOMEM;
    }
    memset(slot->requests, 0, count * sizeof(*slot->requests));
    return 0;
}

static struct copy_slot *slot_at(struct window *w, uint64_t n)
{
    return &w->slots[n % w->job->window];
}

/* --- the queue's mode: reads, transform, writes -------------------------------------------- */

static int call_transform(struct io_request *request)
{
    struct copy_slot *slot = request->user;

    return slot->job->ops->transform(slot->job, slot);
}

static int call_read_piece(struct io_request *request)
{
    struct copy_slot *slot = request->user;
    const struct copy_piece *piece = &slot->pieces.items[request->off];

    return run_read(piece->image, &piece->run, piece->buf);
}

static int call_zero(struct io_request *request)
{
    return io_zero(request->file, (struct qimg_range){ .off = request->off, .len = request->len },
                   true);
}

static void transformed(struct io_request *request)
{
    struct copy_slot *slot = request->user;

    if (request->result < 0)
        copy_slot_fail(slot, 0, request->result, false);
    slot->stage = slot->result < 0 ? COPY_DONE : COPY_READY;
}

/* Its request lies behind those of the reads, which may be in the list that is being reaped. */
static void stage_transform(struct copy_slot *slot)
{
    struct io_request *request = &slot->requests[slot->pieces.count];

    if (slot->result < 0 || !slot->job->ops->transform) {
        slot->stage = slot->result < 0 ? COPY_DONE : COPY_READY;
        return;
    }
    request->op = IO_CALL;
    request->call = call_transform;
    request->advance = transformed;
    request->user = slot;
    io_queue_add(slot->queue, request);
}

static void read_done(struct io_request *request)
{
    struct copy_slot *slot = request->user;

    if (request->result < 0) {
        const size_t first =
            request->op == IO_CALL ? request->off : (size_t)(request - slot->requests);
        copy_slot_fail_read(slot, first, request->result);
    }
    if (--slot->pending == 0)
        stage_transform(slot);
}

/* The request for the pieces [first, ...) keeps slot->requests[first], so that a failure finds
 * its way back to the offset. */
static void stage_read(struct copy_slot *slot, size_t first, const struct run *merged)
{
    const struct copy_piece *piece = &slot->pieces.items[first];
    struct io_request *request = &slot->requests[first];

    if (run_is_zero(merged)) {
        memset(piece->buf, 0, merged->len);
        return;
    }
    request->user = slot;
    request->advance = read_done;
    if (merged->kind == RUN_DATA) {
        slot->iov[first] = (struct iovec){ .iov_base = piece->buf, .iov_len = merged->len };
        request->op = IO_READ;
        request->file = layer_data_file(&piece->image->layers[merged->layer]);
        request->off = merged->host_off;
        request->len = merged->len;
        request->iov = &slot->iov[first];
        request->iov_count = 1;
    } else {
        request->op = IO_CALL;
        request->call = call_read_piece;
        request->off = first;
    }
    slot->pending++;
    io_queue_add(slot->queue, request);
}

static void stage_reads(struct copy_slot *slot)
{
    slot->stage = COPY_READING;
    if (reserve_requests(slot, slot->pieces.count + 1) < 0) {
        copy_slot_fail(slot, 0, -ENOMEM, false);
        slot->stage = COPY_DONE;
        return;
    }
    for (size_t i = 0, end; i < slot->pieces.count; i = end) {
        struct run merged;
        end = copy_group(slot, i, &merged);
        stage_read(slot, i, &merged);
    }
    if (slot->pending == 0)
        stage_transform(slot);
}

static void write_done(struct io_request *request)
{
    struct copy_slot *slot = request->user;

    if (request->result < 0) {
        const size_t i = (size_t)(request - slot->requests);
        copy_slot_fail(slot, slot->writes.items[i].range.off, request->result, true);
    }
    if (--slot->pending == 0)
        slot->stage = COPY_DONE;
}

static void stage_write(struct copy_slot *slot, size_t i)
{
    const struct copy_write *w = &slot->writes.items[i];
    struct io_request *request = &slot->requests[i];

    request->user = slot;
    request->advance = write_done;
    request->file = slot->job->target;
    request->off = w->range.off;
    request->len = w->range.len;
    if (w->data) {
        slot->iov[i] =
            (struct iovec){ .iov_base = (void *)(uintptr_t)w->data, .iov_len = w->range.len };
        request->op = IO_WRITE;
        request->iov = &slot->iov[i];
        request->iov_count = 1;
    } else {
        request->op = IO_CALL;
        request->call = call_zero;
    }
    slot->pending++;
    io_queue_add(slot->queue, request);
}

static void stage_writes(struct copy_slot *slot)
{
    if (slot->writes.count == 0) {
        slot->stage = COPY_DONE;
        return;
    }
    if (slot->job->image) {
        copy_sink_stage(slot);
        return;
    }
    slot->stage = COPY_WRITING;
    if (reserve_requests(slot, slot->writes.count) < 0) {
        copy_slot_fail(slot, slot->writes.items[0].range.off, -ENOMEM, true);
        slot->stage = COPY_DONE;
        return;
    }
    for (size_t i = 0; i < slot->writes.count; i++)
        stage_write(slot, i);
}

/* Starts @slot's writes if it has some to start. True: slots behind it may start theirs. */
static bool start_slot(struct copy_slot *slot)
{
    if (slot->stage == COPY_READY && atomic_load(&slot->job->stopped))
        slot->stage = COPY_DONE;
    if (slot->stage == COPY_READY)
        stage_writes(slot);
    if (slot->job->image && slot->stage == COPY_WRITING)
        return copy_sink_advance(slot);
    return slot->stage == COPY_WRITING || slot->stage == COPY_DONE;
}

/* Starts the writes of every slot whose turn it is (2). */
static void start_writes(struct window *w)
{
    const bool in_order = w->job->image || !w->job->any_order;

    for (uint64_t n = w->written; n < w->planned; n++) {
        const bool started = start_slot(slot_at(w, n));
        if (n == w->written && started)
            w->written++;
        if (!started && in_order)
            break;
    }
}

/* --- the workers' mode ---------------------------------------------------------------------- */

static int call_work(struct io_request *request)
{
    copy_slot_work(request->user);
    return 0;
}

/* The call has returned. Another call may have taken over the slot's writes. */
static void worked(struct io_request *request)
{
    struct copy_slot *slot = request->user;

    slot->stage = COPY_WRITING;
}

static bool slot_is_done(struct copy_slot *slot)
{
    if (slot->stage == COPY_WRITING && atomic_load(&slot->settled))
        slot->stage = COPY_DONE;
    return slot->stage == COPY_DONE;
}

static void hand_to_worker(struct copy_slot *slot)
{
    slot->stage = COPY_READING;
    if (reserve_requests(slot, 1) < 0) {
        copy_slot_fail(slot, 0, -ENOMEM, false);
        copy_sink_ready(slot);
        worked(&(struct io_request){ .user = slot });
        return;
    }
    slot->requests[0].op = IO_CALL;
    slot->requests[0].call = call_work;
    slot->requests[0].advance = worked;
    slot->requests[0].user = slot;
    io_queue_add(slot->queue, &slot->requests[0]);
}

/* --- the window ----------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Sleeps, a little at a time, while the plan is ahead of the rate limit. True: look again. */
static bool must_wait(const struct window *w)
{
    const uint64_t rate = w->job->rate_limit;

    if (rate == 0)
        return false;
    const double due = (double)w->work_planned / (double)rate * 1e9;
    const double ahead = due - (double)(now_ns() - w->started_ns);
    if (ahead <= 0)
        return false;
    const struct timespec nap = { .tv_nsec = ahead < 50e6 ? (long)ahead : 50000000L };
    (void)nanosleep(&nap, NULL);
    return true;
}

static void slot_start(struct window *w, struct copy_slot *slot)
{
    w->work_planned += slot->work;
    if (slot->alone) {
        w->sink.turn = w->planned;
        copy_slot_work(slot);
        slot->stage = COPY_DONE;
    } else if (w->in_worker) {
        hand_to_worker(slot);
    } else {
        stage_reads(slot);
    }
}

/* Plans until the window is full. A slot that wants to be alone waits in its place for those
 * before it. Whoever waits for a rate limit can be cancelled. */
static int fill(struct window *w, struct qimg_error *err)
{
    while (!w->plan_ended && w->planned - w->finished < w->job->window) {
        struct copy_slot *slot = slot_at(w, w->planned);

        if (!slot->alone) {
            if (must_wait(w))
                return copy_tell(w->job, err);
            slot_clear(slot);
            w->plan_result = w->job->ops->plan(w->job, slot, &w->plan_error);
            w->plan_ended = w->plan_result <= 0;
            if (w->plan_ended)
                return 0;
        }
        if (slot->alone && w->finished < w->planned)
            return 0;
        slot_start(w, slot);
        slot->alone = false;
        w->planned++;
    }
    return 0;
}

static void count(struct copy_job *job, const struct copy_slot *slot)
{
    for (size_t i = 0; i < slot->pieces.count; i++) {
        const struct copy_piece *piece = &slot->pieces.items[i];
        if (!run_is_zero(&piece->run))
            *(piece->done ? &job->ledger.offloaded : &job->ledger.read) += piece->run.len;
    }
    for (size_t i = 0; i < slot->writes.count; i++) {
        const struct copy_write *w = &slot->writes.items[i];
        const uint64_t len = w->packed_len ? w->packed_len : w->range.len;
        *(w->data ? &job->ledger.written : &job->ledger.zeroed) += len;
    }
}

int copy_tell(const struct copy_job *job, struct qimg_error *err)
{
    if (job->progress && job->progress(job->user, job->done, job->total) != 0)
        return qimg_fail(err, ECANCELED, "the job was cancelled");
    return 0;
}

/* Finishes what is done at the window's end (1). Returns as ops->finish. */
static int retire(struct window *w, struct qimg_error *err)
{
    struct copy_job *job = w->job;

    while (w->finished < w->planned && slot_is_done(slot_at(w, w->finished))) {
        struct copy_slot *slot = slot_at(w, w->finished);
        count(job, slot);
        int rc = job->ops->finish(job, slot, err);
        if (rc != 0)
            return rc;
        w->finished++;
        if (w->written < w->finished)
            w->written = w->finished;
        job->done += slot->work;
        TRY(copy_tell(job, err));
    }
    return 0;
}

/* How many completions to wait for. Workers go on with one slot each meanwhile, or with the other
 * half of the window; waking for each slot would cost more than it gains. */
static unsigned worth_waking(const struct window *w)
{
    const uint64_t under_way = w->planned - w->finished;

    if (!w->in_worker || under_way <= 2)
        return 1;
    const uint64_t left = min_u64(workers_count(w->job->context->workers), under_way / 2);
    return (unsigned)(under_way - left);
}

/* The job's loop: returns 0 when all is finished, 1 when finish() said so, or a failure. */
static int run_window(struct window *w, struct qimg_error *err)
{
    for (;;) {
        TRY(fill(w, err));
        if (!w->in_worker)
            start_writes(w);
        const uint64_t before = w->finished;
        int rc = retire(w, err);
        if (rc != 0)
            return rc;
        if (w->plan_ended && w->finished == w->planned) {
            if (w->plan_result < 0)
                *err = w->plan_error;
            return w->plan_result;
        }
        if (w->finished == before && w->finished < w->planned)
            copy_sink_run(&w->sink, worth_waking(w));
    }
}

/* Waits until no slot is under way (3). */
static void drain(struct window *w)
{
    atomic_store(&w->job->stopped, true); /* (3) */
    for (;;) {
        bool busy = false;
        if (!w->in_worker)
            start_writes(w);
        for (uint64_t n = w->finished; n < w->planned; n++)
            busy |= !slot_is_done(slot_at(w, n));
        if (!busy)
            return;
        copy_sink_run(&w->sink, 1);
    }
}

static struct io_queue_profile profile_of(const struct copy_job *job)
{
    return (struct io_queue_profile){
        .depth = (unsigned)min_u64((uint64_t)job->window * COPY_PIECES, LIMIT_QUEUE_DEPTH),
        .direct = job->direct,
        .large = true,
    };
}

bool copy_in_worker(const struct copy_job *job)
{
    const struct io_queue_profile profile = profile_of(job);

    assert(!job->target || !job->image);
    if (job->salvage || job->offload)
        return true;
    return !job->direct && strcmp(io_engine_name(job->context->engine, &profile), "threads") == 0;
}

static int window_open(struct window *w, struct qimg_error *err)
{
    struct copy_job *job = w->job;
    const struct io_queue_profile profile = profile_of(job);

    w->slots = calloc(job->window, sizeof(*w->slots));
    if (!w->slots)
        return qimg_fail_memory(err);
    for (unsigned i = 0; i < job->window; i++)
        if (slot_init(&w->slots[i], job) < 0)
            return qimg_fail_memory(err);

    w->in_worker = copy_in_worker(job);
    int rc = io_queue_new(job->context->engine, &profile, &w->queue);
    if (rc < 0)
        return context_fail_queue(job->context, rc, err);
    copy_sink_open(&w->sink, job, w->slots, w->queue);
    for (unsigned i = 0; i < job->window; i++) {
        w->slots[i].queue = w->queue;
        w->slots[i].sink = &w->sink;
        w->slots[i].index = i;
    }
    w->started_ns = now_ns();
    return 0;
}

static void window_close(struct window *w)
{
    io_queue_free(w->queue);
    for (unsigned i = 0; w->slots && i < w->job->window; i++)
        slot_release(&w->slots[i]);
    free(w->slots);
}

int copy_run(struct copy_job *job, struct qimg_error *err)
{
    struct window w = { .job = job };

    qimg_error_clear(&w.plan_error);
    assert(job->window > 0 && job->slot_size > 0 && job->slot_size <= LIMIT_COPY_PAIR);
    int rc = window_open(&w, err);
    if (rc == 0) {
        rc = run_window(&w, err);
        drain(&w);
        copy_sink_close(&w.sink);
    }
    window_close(&w);
    return rc < 0 ? rc : 0;
}

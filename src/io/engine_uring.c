/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues over io_uring; the only user of liburing. Reads, writes and syncs go through the ring, in
 * one io_uring_enter a batch, which also waits where the caller does; what the kernel would hand
 * to threads of its own anyway (zeroing, punching), writes that need their edges read first, and
 * CPU work go to our pools. Keeps true:
 * (1) at most depth requests and one read of the eventfd are in the ring, whose completion side
 *     has room for all of them: it cannot overflow.
 * (2) the ring is used by the thread that made it (SINGLE_ISSUER); a queue that changed hands,
 *     idle as it must be then, gets a new ring. Without a ring everything goes to the pool.
 * (3) waiting is in the ring while it holds requests, else on the pool's condition; in the ring
 *     the pool's completions are seen through the eventfd, whose read is put there only while
 *     the pool owes us something.
 */
#include <assert.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "bits.h"
#include "bounce.h"
#include "queue.h"

/* The kernel cuts a transfer at 2 GiB less a page anyway. */
#define TRANSFER_LARGEST (1 * GiB)
#define VECTOR_LARGEST   1024 /* UIO_MAXIOV */

struct uring_queue {
    struct posix_queue base;
    struct io_uring ring;
    bool have_ring;
    pthread_t owner;      /* (2) */
    unsigned in_ring;     /* requests prepared or with the kernel */
    bool event_armed;     /* a read of the eventfd is in the ring */
    uint64_t event_value; /* its target */
};

/* --- the ring ----------------------------------------------------------------------------- */

/* The cheapest kind of ring that this kernel has: completions run when we ask for them (6.1), at
 * least without interrupting us (5.19). The flag tells a reap that does not wait when to ask. */
static const unsigned ring_kinds[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0,
};

static int ring_init(struct uring_queue *queue)
{
    struct posix_engine *engine = posix_engine(queue->base.base.engine);
    const unsigned entries = queue->base.base.depth + 1; /* (1) */
    unsigned kind = 0;

    for (;;) {
        const int rc = io_uring_queue_init(entries, &queue->ring, ring_kinds[kind]);
        if (rc == 0)
            break;
        if (rc == -EINVAL && ring_kinds[kind] != 0)
            kind++;
        else if (rc != -EMFILE || !park_make_room(engine))
            return rc;
    }
    if (!(queue->ring.features & IORING_FEAT_RW_CUR_POS)) { /* before 5.6: no IORING_OP_READ */
        io_uring_queue_exit(&queue->ring);
        return -ENOSYS;
    }
    io_uring_ring_dontfork(&queue->ring);
    queue->have_ring = true;
    queue->owner = pthread_self();
    queue->event_armed = false;
    return 0;
}

static void ring_exit(struct uring_queue *queue)
{
    assert(queue->in_ring == 0);
    if (queue->have_ring)
        io_uring_queue_exit(&queue->ring);
    queue->have_ring = false;
}

/* (2) */
static bool ring_ready(struct uring_queue *queue)
{
    if (queue->have_ring && !pthread_equal(queue->owner, pthread_self())) {
        ring_exit(queue);
        (void)ring_init(queue);
    }
    return queue->have_ring;
}

/* --- requests into the ring --------------------------------------------------------------- */

static void prepare_transfer(struct io_uring_sqe *sqe, int fd, const struct io_request *request)
{
    const bool read = request->op == IO_READ;
    uint64_t off = request->off;
    struct iovec flat = request->iov[0];

    if (request->bounce) {
        const struct qimg_range blocks = bounce_range(request);
        off = blocks.off;
        flat = (struct iovec){ request->bounce, (size_t)blocks.len };
    } else if (request->iov_count > 1) {
        const unsigned count = (unsigned)min_u64(request->iov_count, VECTOR_LARGEST);
        if (read)
            io_uring_prep_readv(sqe, fd, request->iov, count, off);
        else
            io_uring_prep_writev(sqe, fd, request->iov, count, off);
        return;
    }
    const unsigned len = (unsigned)min_u64(flat.iov_len, TRANSFER_LARGEST);
    if (read)
        io_uring_prep_read(sqe, fd, flat.iov_base, len, off);
    else
        io_uring_prep_write(sqe, fd, flat.iov_base, len, off);
}

static bool belongs_in_ring(const struct io_request *request)
{
    switch (request->op) {
    case IO_SYNC:
        return true;
    case IO_READ:
    case IO_WRITE:
        return request_is_aligned(request) || bounce_fits(request);
    case IO_ZERO:
    case IO_PUNCH:
    case IO_CALL:
        return false;
    }
    return false;
}

/* Puts @request in the ring. -EMFILE: not now, its file is parked and no other can be. */
static int enter_ring(struct uring_queue *queue, struct io_request *request)
{
    if (request->op != IO_SYNC && !request_is_aligned(request))
        TRY(bounce_begin(request));
    const int fd = posix_pin(posix_file(request->file));
    if (fd < 0) {
        free(request->bounce);
        request->bounce = NULL;
        return fd;
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
    assert(sqe); /* (1) */
    if (request->op == IO_SYNC) {
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        atomic_fetch_add_explicit(&request->file->engine->stats.syncs, 1, memory_order_relaxed);
    } else {
        prepare_transfer(sqe, fd, request);
    }
    io_uring_sqe_set_data(sqe, request);
    queue->in_ring++;
    return 0;
}

static void put_back(struct request_list *list, struct io_request *request)
{
    request->next = list->first;
    if (!list->first)
        list->last = &request->next;
    list->first = request;
    list->count++;
}

/* Prepares what there is room for, and sends off what is not for the ring. */
static void stage(struct uring_queue *queue)
{
    struct posix_queue *common = &queue->base;
    struct io_engine *engine = common->base.engine;
    const bool ring = common->staged.count > 0 && ring_ready(queue);
    struct request_list batch;
    unsigned started = 0;

    posix_queue_send_calls(common);
    request_list_init(&batch);
    while (common->staged.count > 0 && common->under_way + started < common->base.depth) {
        struct io_request *request = request_list_pop(&common->staged);
        int rc = 0;
        if (ring && belongs_in_ring(request))
            rc = enter_ring(queue, request);
        else
            request_list_push(&batch, request);
        if (rc == -EMFILE && queue->in_ring > 0) {
            put_back(&common->staged, request);
            break;
        }
        if (rc < 0) {
            request->result = rc;
            request_list_push(&common->ready, request);
            continue;
        }
        started++;
    }
    common->under_way += started;
    stats_started(engine, started);
    if (batch.count > 0) {
        atomic_fetch_add_explicit(&engine->stats.submits, 1, memory_order_relaxed);
        handover_send(&common->hand, posix_engine(engine)->blocking, &batch);
    }
}

/* --- results out of it -------------------------------------------------------------------- */

static void finish_sync(struct io_request *request, int res)
{
    int none = 0;

    request->result = res < 0 ? res : 0;
    if (res < 0)
        atomic_compare_exchange_strong(&request->file->sync_error, &none, res);
}

/* A short transfer is nearly always the end of the file, where one more call returns at once. */
static void finish_transfer(struct io_request *request, int res)
{
    if (res < 0 && res != -EAGAIN && res != -EINTR) {
        request->result = res;
        return;
    }
    request->done = align_down(res > 0 ? (uint64_t)res : 0, request->file->request_align);
    if (request->done < request->len) {
        request->result = request_perform(request);
        return;
    }
    request->result = 0;
    if (request->op == IO_READ)
        request_finish_read(request);
    else
        stats_count_write(request->file->engine, request->len);
}

static void finish(struct uring_queue *queue, struct io_request *request, int res)
{
    if (request->op == IO_SYNC)
        finish_sync(request, res);
    else if (request->bounce)
        bounce_end(request, res);
    else
        finish_transfer(request, res);
    posix_unpin(posix_file(request->file));
    request_list_push(&queue->base.ready, request);
}

/* Takes all completions that are there; asks the kernel for none. */
static void drain(struct uring_queue *queue)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0, finished = 0;

    if (!queue->have_ring)
        return;
    io_uring_for_each_cqe(&queue->ring, head, cqe)
    {
        struct io_request *request = io_uring_cqe_get_data(cqe);
        seen++;
        if (!request) {
            queue->event_armed = false;
            continue;
        }
        finish(queue, request, cqe->res);
        finished++;
    }
    if (seen == 0)
        return;
    io_uring_cq_advance(&queue->ring, seen);
    queue->in_ring -= finished;
    queue->base.under_way -= finished;
    stats_finished(queue->base.base.engine, finished);
}

/* --- entering the kernel ------------------------------------------------------------------ */

static void count_submit(struct uring_queue *queue)
{
    if (io_uring_sq_ready(&queue->ring) > 0)
        atomic_fetch_add_explicit(&queue->base.base.engine->stats.submits, 1, memory_order_relaxed);
}

/* The kernel is short of memory for requests: some of ours will end, or somebody else's. */
static void pause_briefly(void)
{
    const struct timespec a_moment = { .tv_nsec = 1000000 };

    nanosleep(&a_moment, NULL);
}

/* One io_uring_enter: submits all that is prepared and waits for @wait completions. After an
 * error what was not taken stays prepared, and the caller comes again. */
static void enter(struct uring_queue *queue, unsigned wait)
{
    count_submit(queue);
    const int rc = wait > 0 ? io_uring_submit_and_wait(&queue->ring, wait)
                            : io_uring_submit_and_get_events(&queue->ring);
    if (rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM)
        pause_briefly();
    else
        assert(rc >= 0 || rc == -EINTR); /* anything else means that our ring is broken */
}

static int uring_submit(struct io_queue *base)
{
    struct uring_queue *queue = (struct uring_queue *)base;

    stage(queue);
    while (queue->have_ring && io_uring_sq_ready(&queue->ring) > 0)
        enter(queue, 0);
    return 0;
}

/* Has the pool's next completion end our wait in the ring. False: there is one, or it cannot be
 * had so. */
static bool arm_event(struct uring_queue *queue)
{
    struct handover *hand = &queue->base.hand;

    if (hand->event < 0)
        hand->event = eventfd(0, EFD_CLOEXEC);
    if (hand->event < 0) {
        posix_queue_take_back(&queue->base, 1);
        return false;
    }
    if (!queue->event_armed) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
        assert(sqe); /* (1) */
        io_uring_prep_read(sqe, hand->event, &queue->event_value, sizeof(queue->event_value), 0);
        io_uring_sqe_set_data(sqe, NULL);
        queue->event_armed = true;
    }
    return handover_arm(hand);
}

/* Waits until something is complete, at best @want requests. (3) */
static void wait_for(struct uring_queue *queue, unsigned want)
{
    if (queue->in_ring == 0) {
        posix_queue_take_back(&queue->base, 1);
        return;
    }
    if (queue->base.hand.away == 0)
        enter(queue, (unsigned)min_u64(want, queue->in_ring));
    else if (arm_event(queue))
        enter(queue, 1);
}

/* Without waiting: submits, and lets the kernel post what it has done. */
static void poll_ring(struct uring_queue *queue)
{
    struct io_uring_cqe *cqe;

    uring_submit(&queue->base.base);
    if (queue->in_ring > 0 && io_uring_cq_ready(&queue->ring) == 0)
        (void)io_uring_peek_cqe(&queue->ring, &cqe);
}

static struct io_request *uring_reap(struct io_queue *base, unsigned min)
{
    struct uring_queue *queue = (struct uring_queue *)base;
    struct posix_queue *common = &queue->base;

    if (min == 0)
        poll_ring(queue);
    for (;;) {
        stage(queue);
        drain(queue);
        posix_queue_take_back(common, 0);
        stage(queue);
        const unsigned ready = common->ready.count;
        if (ready >= min || common->under_way + common->hand.away == 0)
            break;
        wait_for(queue, min - ready);
    }
    while (queue->have_ring && io_uring_sq_ready(&queue->ring) > 0)
        enter(queue, 0);
    return posix_queue_ready(common);
}

static void uring_free(struct io_queue *base)
{
    struct uring_queue *queue = (struct uring_queue *)base;
    struct posix_queue *common = &queue->base;

    request_list_init(&common->staged); /* never submitted: nothing happens to them */
    request_list_init(&common->staged_calls);
    while (common->under_way + common->hand.away > 0) {
        wait_for(queue, 1);
        drain(queue);
        posix_queue_take_back(common, 0);
    }
    ring_exit(queue);
    posix_queue_release(common);
    free(queue);
}

static const struct io_queue_ops uring_queue_ops = {
    .add = posix_queue_add,
    .submit = uring_submit,
    .reap = uring_reap,
    .free = uring_free,
};

int uring_queue_new(struct posix_engine *engine, const struct io_queue_profile *profile,
                    struct io_queue **out)
{
    struct uring_queue *queue = calloc(1, sizeof(*queue));

    if (!queue)
        return -ENOMEM;
    posix_queue_init(&queue->base, engine, &uring_queue_ops, profile->depth);
    const int rc = ring_init(queue);
    if (rc < 0) {
        posix_queue_release(&queue->base);
        free(queue);
        return rc;
    }
    *out = &queue->base.base;
    return 0;
}

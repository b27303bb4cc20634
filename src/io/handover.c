/* SPDX-License-Identifier: Apache-2.0 */
#include "handover.h"

#include <assert.h>
#include <stddef.h>
#include <unistd.h>

#include "queue.h"

void handover_init(struct handover *hand)
{
    pthread_mutex_init(&hand->lock, NULL);
    pthread_cond_init(&hand->wake, NULL);
    request_list_init(&hand->done);
    atomic_init(&hand->done_count, 0);
    hand->event = -1;
    hand->armed = false;
    hand->wanted = 0;
    hand->away = 0;
}

void handover_release(struct handover *hand)
{
    assert(hand->away == 0);
    if (hand->event >= 0)
        close(hand->event);
    pthread_cond_destroy(&hand->wake);
    pthread_mutex_destroy(&hand->lock);
}

static void count_up(int event)
{
    const uint64_t one = 1;

    /* Cannot fail: the counter is read long before 2^64, and the write is of 8 bytes. */
    const ssize_t n = write(event, &one, sizeof(one));
    assert(n == sizeof(one));
}

/* In a thread of the pool. The queue may be freed as soon as the lock is let go: wake inside. */
static void run(struct work *work)
{
    struct io_request *request =
        (struct io_request *)((char *)work - offsetof(struct io_request, work));
    struct handover *hand = &posix_queue(request->queue)->hand;

    request->result = request_perform(request);
    pthread_mutex_lock(&hand->lock);
    request_list_push(&hand->done, request);
    atomic_store_explicit(&hand->done_count, hand->done.count, memory_order_relaxed);
    if (hand->wanted && hand->done.count >= hand->wanted)
        pthread_cond_signal(&hand->wake);
    if (hand->armed)
        count_up(hand->event);
    hand->armed = false;
    pthread_mutex_unlock(&hand->lock);
}

void handover_send(struct handover *hand, struct workers *pool, struct request_list *requests)
{
    struct work *first = NULL, **last = &first;

    for (struct io_request *r = requests->first; r; r = r->next) {
        r->work.run = run;
        r->work.next = NULL;
        *last = &r->work;
        last = &r->work.next;
    }
    hand->away += requests->count;
    request_list_init(requests);
    workers_submit_list(pool, first);
}

static unsigned take_locked(struct handover *hand, struct request_list *out)
{
    const unsigned count = hand->done.count;

    request_list_move(out, &hand->done);
    atomic_store_explicit(&hand->done_count, 0, memory_order_relaxed);
    hand->away -= count;
    return count;
}

unsigned handover_take(struct handover *hand, struct request_list *out)
{
    if (atomic_load_explicit(&hand->done_count, memory_order_relaxed) == 0)
        return 0;
    pthread_mutex_lock(&hand->lock);
    const unsigned count = take_locked(hand, out);
    pthread_mutex_unlock(&hand->lock);
    return count;
}

unsigned handover_wait(struct handover *hand, unsigned min, struct request_list *out)
{
    assert(min > 0);
    assert(min <= hand->away);
    pthread_mutex_lock(&hand->lock);
    hand->wanted = min;
    while (hand->done.count < min)
        pthread_cond_wait(&hand->wake, &hand->lock);
    hand->wanted = 0;
    const unsigned count = take_locked(hand, out);
    pthread_mutex_unlock(&hand->lock);
    return count;
}

bool handover_arm(struct handover *hand)
{
    pthread_mutex_lock(&hand->lock);
    hand->armed = hand->done.count == 0;
    const bool armed = hand->armed;
    pthread_mutex_unlock(&hand->lock);
    return armed;
}

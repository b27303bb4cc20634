/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool of threads. Keeps true, under the lock:
 * (1) queued work runs in the order of submission; a thread takes one item at a time.
 * (2) a thread is started only when more work waits than threads idle, and never beyond the
 *     limit, so that a process which submits nothing has no thread.
 * (3) no thread ends before the queue is empty.
 */
#include "workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "bits.h"

/* Codecs and I/O need little; small stacks keep us within tight address space limits. */
#define STACK_BYTES (1 * MiB)
#define THREADS_MAX 1024

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct work *first, **last;
    unsigned queued;  /* not yet taken */
    unsigned idle;    /* threads that wait, woken or not, and those just started */
    unsigned started; /* threads[0 .. started) exist */
    unsigned limit;
    bool stopping;
    pthread_t threads[];
};

static unsigned processors(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

int workers_new(unsigned threads, struct workers **out)
{
    if (threads == 0)
        threads = (unsigned)max_u64(processors(), 2);
    threads = (unsigned)min_u64(threads, THREADS_MAX);

    struct workers *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));
    if (!pool)
        return -ENOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->last = &pool->first;
    pool->limit = threads;
    *out = pool;
    return 0;
}

unsigned workers_count(const struct workers *pool)
{
    return pool->limit;
}

/* The next item, or NULL when the pool ends. Called with the lock held. */
static struct work *take(struct workers *pool)
{
    while (!pool->first) {
        if (pool->stopping)
            return NULL; /* (3) */
        pool->idle++;
        pthread_cond_wait(&pool->wake, &pool->lock);
        pool->idle--;
    }
    struct work *work = pool->first;
    pool->first = work->next;
    if (!pool->first)
        pool->last = &pool->first;
    pool->queued--;
    return work;
}

static void *thread_main(void *arg)
{
    struct workers *pool = arg;

    pthread_mutex_lock(&pool->lock);
    pool->idle--;
    for (struct work *work = take(pool); work; work = take(pool)) {
        pthread_mutex_unlock(&pool->lock);
        work->run(work);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Starts one thread, all signals blocked in it: they are the program's, not ours. */
static bool start_thread(struct workers *pool)
{
    sigset_t all, before;
    pthread_attr_t attr;

    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&pool->threads[pool->started], &attr, thread_main, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        return false;
    pool->started++;
    pool->idle++;
    return true;
}

static void run_all(struct work *work)
{
    while (work) {
        struct work *next = work->next; /* run() may free its work */
        work->run(work);
        work = next;
    }
}

void workers_submit_list(struct workers *pool, struct work *first)
{
    unsigned count = 0;

    if (!first)
        return;
    pthread_mutex_lock(&pool->lock);
    *pool->last = first;
    for (struct work *work = first; work; work = work->next) {
        pool->last = &work->next;
        count++;
    }
    pool->queued += count;
    while (pool->queued > pool->idle && pool->started < pool->limit) /* (2) */
        if (!start_thread(pool))
            break;

    if (pool->started == 0) { /* then nothing else can be in the queue */
        pool->first = NULL;
        pool->last = &pool->first;
        pool->queued = 0;
        pthread_mutex_unlock(&pool->lock);
        run_all(first);
        return;
    }
    const unsigned wake = count < pool->idle ? count : pool->idle;
    pthread_mutex_unlock(&pool->lock); /* or who is woken would wait for it at once */
    for (unsigned i = 0; i < wake; i++)
        pthread_cond_signal(&pool->wake);
}

void workers_submit(struct workers *pool, struct work *work)
{
    work->next = NULL;
    workers_submit_list(pool, work);
}

void workers_free(struct workers *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workers.h"

struct job {
    struct work work;
    unsigned number;
};

static atomic_uint ran, now, most;
static unsigned order[1000];
static bool signals_blocked;

static void count(struct work *work)
{
    const struct job *job = (const struct job *)work;

    order[atomic_fetch_add(&ran, 1)] = job->number;
}

static void *submit_many(void *arg)
{
    static struct job jobs[4][200];
    static atomic_uint turn;
    struct job *mine = jobs[atomic_fetch_add(&turn, 1)];

    for (unsigned i = 0; i < 200; i++) {
        mine[i] = (struct job){ .work.run = count, .number = i };
        workers_submit(arg, &mine[i].work);
    }
    return NULL;
}

Test(workers, work_from_several_threads_all_runs_before_free_returns)
{
    struct workers *pool;
    pthread_t threads[4];

    cr_assert_eq(workers_new(3, &pool), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, submit_many, pool);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    workers_free(pool);
    cr_expect_eq(ran, 800);
}

Test(workers, one_thread_keeps_the_order_of_submission)
{
    static struct job jobs[300];
    struct workers *pool;

    cr_assert_eq(workers_new(1, &pool), 0);
    cr_expect_eq(workers_count(pool), 1);
    for (unsigned i = 0; i < 300; i++) {
        jobs[i] = (struct job){ .work.run = count, .number = i };
        if (i % 3 > 0)
            jobs[i - 1].work.next = &jobs[i].work;
        if (i % 3 == 2) /* by lists of three */
            workers_submit_list(pool, &jobs[i - 2].work);
    }
    workers_free(pool);
    for (unsigned i = 0; i < 300; i++)
        cr_assert_eq(order[i], i);
}

static void note_concurrency(struct work *work)
{
    const unsigned here = atomic_fetch_add(&now, 1) + 1;
    unsigned seen = atomic_load(&most);
    sigset_t blocked;

    while (here > seen && !atomic_compare_exchange_weak(&most, &seen, here))
        continue;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    signals_blocked = sigismember(&blocked, SIGINT) == 1;
    for (unsigned i = 0; i < 1000 && atomic_load(&most) < 4; i++)
        usleep(1000);
    atomic_fetch_sub(&now, 1);
    count(work);
}

Test(workers, as_many_at_once_as_there_are_threads_and_no_more)
{
    static struct job jobs[16];
    struct workers *pool;

    cr_assert_eq(workers_new(4, &pool), 0);
    for (unsigned i = 0; i < 16; i++) {
        jobs[i].work.run = note_concurrency;
        workers_submit(pool, &jobs[i].work);
    }
    workers_free(pool);
    cr_expect_eq(ran, 16);
    cr_expect_eq(most, 4);
    cr_expect(signals_blocked, "SIGINT is the program's");
}

/* In a process of its own, which may start no other. */
static bool runs_without_threads(void)
{
    struct job jobs[3] = { { .work.run = count }, { .work.run = count }, { .work.run = count } };
    const struct rlimit none = { 0, 0 };
    struct workers *pool;

    if (workers_new(0, &pool) < 0 || workers_count(pool) < 2)
        return false;
    /* The limit on processes does not bind root: become somebody. */
    if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
        return false;
    if (setrlimit(RLIMIT_NPROC, &none) < 0)
        return false;
    jobs[0].work.next = &jobs[1].work;
    workers_submit_list(pool, &jobs[0].work);
    workers_submit(pool, &jobs[2].work);
    const bool all = atomic_load(&ran) == 3;
    workers_free(pool);
    return all;
}

Test(workers, without_threads_work_runs_in_the_caller)
{
    int status = -1;
    const pid_t child = fork();

    if (child == 0)
        _exit(runs_without_threads() ? 0 : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
}

Test(workers, a_pool_that_got_no_work_ends_at_once)
{
    struct workers *pool;

    cr_assert_eq(workers_new(2, &pool), 0);
    workers_free(pool);
    workers_free(NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "engines.h"

#define MANY 64

static uint8_t *memory; /* MANY slots of SLOT bytes, page aligned */
#define SLOT (16 * KiB)

static struct io_request requests[MANY];
static struct iovec pieces[MANY][3];

static struct io_queue *queue_of(struct rig *rig, unsigned depth, bool large)
{
    const struct io_queue_profile profile = { depth, rig->c->direct, large };
    struct io_queue *queue = NULL;
    const int rc = io_queue_new(rig->engine, &profile, &queue);

    cr_assert_eq(rc, 0, "%s: %s", rig->c->name, strerror(-rc));
    if (!memory)
        memory = io_buffer_new(MANY * SLOT);
    cr_assert_not_null(memory);
    return queue;
}

static struct io_request *request(unsigned i, enum io_op op, struct io_file *file, uint64_t off,
                                  uint64_t len)
{
    pieces[i][0] = (struct iovec){ memory + i * SLOT, len };
    requests[i] = (struct io_request){
        .op = op, .file = file, .off = off, .len = len, .iov = pieces[i], .iov_count = 1
    };
    return &requests[i];
}

static unsigned run_all(struct io_queue *queue, unsigned count)
{
    unsigned done = 0;

    while (done < count) {
        const unsigned n = io_queue_run(queue, 1);
        if (n == 0)
            break;
        done += n;
    }
    return done;
}

/* Writes at odd places, syncs, reads back at odd places and over the end. */
Test(queue, what_was_written_is_read_back_whatever_the_alignment)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        static uint8_t model[MANY * SLOT];
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 8, true);
        const uint64_t step = 10007;

        memset(model, 0, sizeof(model));
        for (unsigned i = 0; i < MANY; i++) {
            io_queue_add(queue, request(i, IO_WRITE, file, i * step, 1 + i * 150));
            fill_pattern(memory + i * SLOT, requests[i].len, i);
            memcpy(model + i * step, memory + i * SLOT, requests[i].len);
            if (rig.c->direct) /* unaligned ends of the file are written one after the other */
                cr_assert_eq(run_all(queue, 1), 1);
        }
        if (!rig.c->direct)
            cr_assert_eq(run_all(queue, MANY), MANY);
        for (unsigned i = 0; i < MANY; i++)
            cr_expect_eq(requests[i].result, 0, "%s: %u", rig.c->name, i);
        io_queue_add(queue, request(0, IO_SYNC, file, 0, 0));
        cr_assert_eq(run_all(queue, 1), 1);
        cr_expect_eq(requests[0].result, 0);

        const uint64_t size = (MANY - 1) * step + 1 + (MANY - 1) * 150;
        for (unsigned i = 0; i < MANY; i++)
            io_queue_add(queue, request(i, IO_READ, file, i * step + i, 12000));
        cr_assert_eq(run_all(queue, MANY), MANY);
        for (unsigned i = 0; i < MANY; i++) {
            const uint64_t off = requests[i].off, had = min_u64(12000, size - min_u64(off, size));
            cr_expect_eq(requests[i].result, 0, "%s: %u", rig.c->name, i);
            cr_expect_eq(requests[i].got, had, "%s: %u: %llu", rig.c->name, i,
                         (unsigned long long)requests[i].got);
            cr_expect_eq(memcmp(memory + i * SLOT, model + off, 12000), 0, "%s: %u", rig.c->name,
                         i);
        }
        io_queue_free(queue);
        io_file_close(file);
    }
}

Test(queue, vectors_go_out_in_their_order_and_stay_as_they_are)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 4, false);

        fill_pattern(memory, 3 * 512, 9);
        pieces[0][0] = (struct iovec){ memory + 1024, 512 };
        pieces[0][1] = (struct iovec){ memory, 512 };
        pieces[0][2] = (struct iovec){ memory + 512, 512 };
        requests[0] = (struct io_request){ .op = IO_WRITE,
                                           .file = file,
                                           .off = 4096,
                                           .len = 3 * 512,
                                           .iov = pieces[0],
                                           .iov_count = 3 };
        io_queue_add(queue, &requests[0]);
        cr_assert_eq(run_all(queue, 1), 1);
        cr_expect_eq(requests[0].result, 0, "%s", rig.c->name);
        io_queue_add(queue, request(1, IO_READ, file, 4096, 3 * 512));
        cr_assert_eq(run_all(queue, 1), 1);
        cr_expect_eq(memcmp(memory + SLOT, memory + 1024, 512), 0, "%s", rig.c->name);
        cr_expect_eq(memcmp(memory + SLOT + 512, memory, 1024), 0, "%s", rig.c->name);
        cr_expect_eq(pieces[0][0].iov_base, memory + 1024, "%s: the iovec was changed",
                     rig.c->name);
        cr_expect_eq(requests[0].iov, pieces[0]);
        io_queue_free(queue);
        io_file_close(file);
    }
}

static int square(struct io_request *r)
{
    const int n = (int)(intptr_t)r->user;

    if (n % 5 == 0)
        usleep(2000);
    return n * n;
}

Test(queue, cpu_work_is_reaped_through_the_same_queue, .timeout = 60)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 4, false);

        cr_assert_eq(io_truncate(file, 1 * MiB), 0);
        for (unsigned round = 0; round < 20; round++) {
            for (unsigned i = 0; i < MANY; i++) {
                request(i, i % 2 ? IO_CALL : IO_READ, file, i * 4096, 4096);
                requests[i].call = square;
                requests[i].user = (void *)(intptr_t)i;
                io_queue_add(queue, &requests[i]);
            }
            cr_assert_eq(run_all(queue, MANY), MANY, "%s", rig.c->name);
            for (unsigned i = 0; i < MANY; i++)
                cr_assert_eq(requests[i].result, i % 2 ? (int)(i * i) : 0, "%s: %u", rig.c->name,
                             i);
        }
        cr_expect_leq(atomic_load(&rig.engine->stats.max_in_flight), 4, "%s", rig.c->name);
        cr_expect_eq(atomic_load(&rig.engine->stats.in_flight), 0, "%s", rig.c->name);
        io_queue_free(queue);
        io_file_close(file);
    }
}

/* All of more than the depth in one reap. */
Test(queue, a_reap_of_more_than_the_depth_returns_all)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 4, true);
        unsigned count = 0;

        for (unsigned i = 0; i < 32; i++)
            io_queue_add(queue, request(i, IO_READ, file, i * 4096, 4096));
        for (struct io_request *r = io_queue_reap(queue, 32); r; r = r->next)
            count++;
        cr_expect_eq(count, 32, "%s: %u", rig.c->name, count);
        cr_expect_null(io_queue_reap(queue, 1), "%s: nothing is under way", rig.c->name);
        io_queue_free(queue);
        io_file_close(file);
    }
}

/* Without ever waiting, the reaps alone bring everything to its end. */
Test(queue, reaps_that_do_not_wait_make_progress, .timeout = 100)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 4, true);
        unsigned done = 0;

        fill_pattern(memory, MANY * SLOT, 1);
        for (unsigned i = 0; i < 16; i++) {
            request(i, i % 4 == 3 ? IO_CALL : IO_WRITE, file, i * SLOT, SLOT)->call = square;
            io_queue_add(queue, &requests[i]);
        }
        for (unsigned tries = 0; done < 16 && tries < 5000; tries++) {
            done += io_queue_run(queue, 0);
            usleep(1000);
        }
        cr_expect_eq(done, 16, "%s: %u", rig.c->name, done);
        io_queue_free(queue);
        io_file_close(file);
    }
}

Test(queue, a_failure_is_the_result_of_its_request_alone)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        const struct io_open_options read_only = { .direct = rig.c->direct };
        struct io_file *file = rig_create(&rig, "a"), *same = NULL;
        struct io_queue *queue = queue_of(&rig, 4, false);

        cr_assert_eq(io_truncate(file, 64 * KiB), 0);
        cr_assert_eq(io_file_open(rig.engine, rig_path(&rig, "a"), &read_only, &same), 0);
        io_queue_add(queue, request(0, IO_WRITE, same, 0, 4096));
        io_queue_add(queue, request(1, IO_READ, same, 0, 4096));
        io_queue_add(queue, request(2, IO_WRITE, same, 0, 0));
        cr_assert_eq(run_all(queue, 3), 3);
        cr_expect_eq(requests[0].result, -EBADF, "%s: %d", rig.c->name, requests[0].result);
        cr_expect_eq(requests[1].result, 0, "%s: %d", rig.c->name, requests[1].result);
        cr_expect_eq(requests[2].result, 0, "%s: nothing to do", rig.c->name);
        io_queue_free(queue);
        io_file_close(same);
        io_file_close(file);
    }
}

Test(queue, zeroed_and_punched_ranges_read_as_zeros_and_no_more)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 4, false);

        fill_pattern(memory, SLOT, 5);
        cr_assert_eq(io_write_exact(file, 0, memory, SLOT), 0);
        io_queue_add(queue, request(0, IO_ZERO, file, 100, 5000));
        io_queue_add(queue, request(1, IO_PUNCH, file, 8192, 4096));
        cr_assert_eq(run_all(queue, 2), 2);
        cr_expect_eq(requests[0].result, 0, "%s: %d", rig.c->name, requests[0].result);
        cr_expect_eq(requests[1].result, 0, "%s: %d", rig.c->name, requests[1].result);
        cr_assert_eq(io_read_exact(file, 0, memory + SLOT, SLOT, NULL), 0);
        memset(memory + 100, 0, 5000);
        memset(memory + 8192, 0, 4096);
        cr_expect_eq(memcmp(memory, memory + SLOT, SLOT), 0, "%s", rig.c->name);
        io_queue_free(queue);
        io_file_close(file);
    }
}

static unsigned advanced;

static void add_again(struct io_request *r)
{
    advanced++;
    if (r->off == 0) {
        r->off = 4096;
        io_queue_add(r->queue, r);
    }
}

Test(queue, advance_may_add_the_request_again)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 4, false);

        advanced = 0;
        for (unsigned i = 0; i < 3; i++) {
            request(i, IO_READ, file, 0, 512)->advance = add_again;
            io_queue_add(queue, &requests[i]);
        }
        cr_expect_eq(run_all(queue, 6), 6, "%s", rig.c->name);
        cr_expect_eq(advanced, 6, "%s", rig.c->name);
        io_queue_free(queue);
        io_file_close(file);
    }
}

Test(queue, freeing_waits_for_what_is_under_way)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 8, true);

        cr_assert_eq(io_truncate(file, 1 * MiB), 0);
        for (unsigned i = 0; i < 16; i++) {
            request(i, i % 4 ? IO_READ : IO_CALL, file, i * 4096, 8192)->call = square;
            requests[i].user = (void *)5;
            io_queue_add(queue, &requests[i]);
        }
        io_queue_submit(queue);
        io_queue_free(queue);
        cr_expect_eq(atomic_load(&rig.engine->stats.in_flight), 0, "%s", rig.c->name);
        io_file_close(file);
    }
}

static void *use_queue(void *arg)
{
    struct io_queue *queue = arg;

    for (unsigned i = 0; i < 8; i++)
        io_queue_add(queue, &requests[i]);
    return (void *)(uintptr_t)run_all(queue, 8);
}

Test(queue, an_idle_queue_may_change_threads)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 8, true);
        pthread_t other;
        void *done = NULL;

        for (unsigned i = 0; i < 8; i++)
            request(i, IO_READ, file, i * 4096, 4096);
        cr_expect_eq(use_queue(queue), (void *)8);
        cr_assert_eq(pthread_create(&other, NULL, use_queue, queue), 0);
        pthread_join(other, &done);
        cr_expect_eq(done, (void *)8, "%s", rig.c->name);
        for (unsigned i = 0; i < 8; i++)
            cr_expect_eq(requests[i].result, 0, "%s: %d", rig.c->name, requests[i].result);
        io_queue_free(queue);
        io_file_close(file);
    }
}

Test(queue, a_batch_is_one_call)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = rig_create(&rig, "a");
        struct io_queue *queue = queue_of(&rig, 32, true);

        cr_assert_eq(io_truncate(file, 1 * MiB), 0);
        for (unsigned k = 0; k < 32; k++)
            io_queue_add(queue, request(k, IO_READ, file, k * 8192, 8192));
        cr_expect_eq(run_all(queue, 32), 32);
        const uint64_t submits = atomic_load(&rig.engine->stats.submits);
        /* the simulator's shortened reads are not the queue's business */
        cr_expect_leq(submits, 1, "%s: %llu", rig.c->name, (unsigned long long)submits);
        io_queue_free(queue);
        io_file_close(file);
    }
}

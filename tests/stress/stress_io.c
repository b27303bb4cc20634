/* SPDX-License-Identifier: Apache-2.0
 *
 * Several threads, each with a queue, on shared files: reads, writes to its own places, zeroing,
 * syncs and calls, more files than descriptors, over every engine. For ThreadSanitizer, under
 * which Criterion does not start.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bits.h"
#include "io.h"
#include "scratch.h"

#define THREADS  4
#define FILES    60
#define REQUESTS 24
#define ROUNDS   60
#define PIECE    4096u
#define SHARED   (THREADS * REQUESTS * PIECE)

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "stress_io: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

struct shared {
    struct io_engine *engine;
    struct io_file *files[FILES]; /* read-only: may be parked */
    struct io_file *target;
    bool large, direct;
};

struct thread {
    struct shared *shared;
    unsigned number;
    unsigned random;
    pthread_t id;
};

static int call(struct io_request *request)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < 2000; i++)
        sum = sum * 31 + i;
    request->user = (void *)(uintptr_t)(sum | 1);
    return 17;
}

static void choose(struct thread *thread, struct io_request *request, unsigned slot)
{
    static const enum io_op ops[] = { IO_READ, IO_READ, IO_READ, IO_WRITE, IO_CALL, IO_ZERO };
    const unsigned dice = (unsigned)rand_r(&thread->random);

    request->op = dice % 97 == 0 ? IO_SYNC : ops[dice % ARRAY_COUNT(ops)];
    request->user = NULL;
    request->call = call;
    request->len = PIECE;
    request->off = 0;
    request->file = thread->shared->files[(dice >> 8) % FILES];
    if (request->op == IO_READ || request->op == IO_CALL)
        return;
    request->file = thread->shared->target;
    request->off = (uint64_t)(thread->number * REQUESTS + slot) * PIECE;
    if (request->op == IO_WRITE)
        memset(request->iov[0].iov_base, (int)(1 + thread->number), PIECE);
}

static void check(const struct thread *thread, const struct io_request *request)
{
    const uint8_t *bytes = request->iov[0].iov_base;

    CHECK(request->result == (request->op == IO_CALL ? 17 : 0));
    CHECK(request->op != IO_CALL || request->user);
    if (request->op != IO_READ)
        return;
    CHECK(request->got == PIECE);
    for (unsigned i = 0; i < FILES; i++)
        if (request->file == thread->shared->files[i])
            CHECK(bytes[0] == 'a' + i % 26 && bytes[PIECE - 1] == bytes[0]);
}

static void *run(void *arg)
{
    struct thread *thread = arg;
    const struct io_queue_profile profile = { 8, thread->shared->direct, thread->shared->large };
    struct io_request requests[REQUESTS];
    struct iovec pieces[REQUESTS];
    uint8_t *memory = io_buffer_new(REQUESTS * PIECE);
    struct io_queue *queue;

    CHECK(memory);
    CHECK(io_queue_new(thread->shared->engine, &profile, &queue) == 0);
    for (unsigned i = 0; i < REQUESTS; i++) {
        pieces[i] = (struct iovec){ memory + i * PIECE, PIECE };
        requests[i] = (struct io_request){ .iov = &pieces[i], .iov_count = 1 };
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned done = 0;
        for (unsigned i = 0; i < REQUESTS; i++) {
            choose(thread, &requests[i], i);
            io_queue_add(queue, &requests[i]);
        }
        while (done < REQUESTS)
            done += io_queue_run(queue, round % 3);
        for (unsigned i = 0; i < REQUESTS; i++)
            check(thread, &requests[i]);
        uint8_t byte;
        CHECK(io_read_exact(thread->shared->files[round % FILES], 1, &byte, 1, NULL) == 0);
        CHECK(byte == 'a' + round % FILES % 26);
    }
    io_queue_free(queue);
    free(memory);
    return NULL;
}

static void open_all(struct shared *shared, const char *dir)
{
    uint8_t block[PIECE];
    char name[4096];

    for (unsigned i = 0; i <= FILES; i++) {
        const struct io_open_options writing = { .writable = true,
                                                 .create = true,
                                                 .direct = shared->direct };
        const struct io_open_options reading = { .direct = shared->direct };
        struct io_file *file;

        snprintf(name, sizeof(name), "%s/f%u", dir, i);
        CHECK(io_file_open(shared->engine, name, &writing, &file) == 0);
        if (i == FILES) {
            shared->target = file;
            CHECK(io_truncate(file, SHARED) == 0);
            continue;
        }
        memset(block, (int)('a' + i % 26), sizeof(block));
        CHECK(io_write_exact(file, 0, block, sizeof(block)) == 0);
        io_file_close(file);
        CHECK(io_file_open(shared->engine, name, &reading, &shared->files[i]) == 0);
    }
}

static void stress(enum io_engine_choice choice, bool large, bool direct)
{
    struct shared shared = { .large = large, .direct = direct };
    struct thread threads[THREADS];
    struct workers *workers;
    char *dir = scratch_new();

    CHECK(workers_new(3, &workers) == 0);
    CHECK(io_engine_new(choice, workers, NULL, NULL, &shared.engine) == 0);
    open_all(&shared, dir);
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){ .shared = &shared, .number = i, .random = i + 1 };
        CHECK(pthread_create(&threads[i].id, NULL, run, &threads[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i].id, NULL);
    CHECK(atomic_load(&shared.engine->stats.in_flight) == 0);
    for (unsigned i = 0; i < FILES; i++)
        io_file_close(shared.files[i]);
    io_file_close(shared.target);
    io_engine_free(shared.engine);
    workers_free(workers);
    scratch_remove(dir);
}

int main(void)
{
    static const enum io_engine_choice choices[] = { IO_ENGINE_THREADS, IO_ENGINE_URING };
    const struct rlimit few = { 64, 64 }; /* so that files are parked all the time */

    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (size_t i = 0; i < ARRAY_COUNT(choices); i++)
        for (int how = 0; how < 4; how++)
            stress(choices[i], how & 1, how & 2);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine for real files: which kind of queue a profile gets, and why. Making an engine is one
 * system call; rings and threads come with the queues that need them.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "posix.h"

/* Threads that wait in system calls: the depth that O_DIRECT wants where there is no ring. */
#define BLOCKING_THREADS 32

void posix_note(struct posix_engine *engine, const char *fmt, ...)
{
    char text[512];
    va_list args;

    if (!engine->base.note)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    engine->base.note(engine->base.note_user, text);
}

/* AUTO's choice. Measured on a virtual machine (2 processors, Linux 6.18, ext4, virtio disk, file
 * of 512 MiB, random reads at depth 32; least of 8 runs):
 *
 *                                           threads    threads, inline    io_uring    pread()
 *   4 KiB, page cache, us a read              3.3           1.35            1.3         1.17
 *   64 KiB, page cache, us a read             7.0           5.9             5.7
 *   copy in pieces of 64 KiB, s               0.33          0.18            0.19
 *   copy in pieces of 512 KiB / 2 MiB, s   0.14 / 0.21   0.14 / 0.20     0.16 / 0.14
 *   4 KiB, O_DIRECT, us a read               19.7            -             16.2 (14.1 by eights)
 *   copy in pieces of 1 MiB, O_DIRECT, s      0.56           -              0.58
 *
 * Large copies differ by less than the runs do (medians 0.2 to 0.3 s). So: O_DIRECT gets the ring.
 * Buffered requests get threads, small ones inline: that needs no ring, and copies large pieces
 * on several processors where a ring would copy them in the submitting thread. Registered buffers
 * and files changed fio's figures (4 KiB and 1 MiB O_DIRECT, 4 KiB cached) by less than its runs
 * differ; they are not used. */
static bool wants_ring(const struct posix_engine *engine, const struct io_queue_profile *profile)
{
    if (engine->choice != IO_ENGINE_AUTO)
        return engine->choice == IO_ENGINE_URING;
    return profile->direct && atomic_load(&engine->ring_refused) == 0;
}

/* The ring, or where the kernel refuses it and we may choose, threads. */
static int posix_queue_new(struct io_engine *base, const struct io_queue_profile *profile,
                           struct io_queue **out)
{
    struct posix_engine *engine = posix_engine(base);

    if (!wants_ring(engine, profile))
        return threads_queue_new(engine, profile, out);
    const int rc = uring_queue_new(engine, profile, out);
    if (rc == 0 || engine->choice == IO_ENGINE_URING)
        return rc;
    int none = 0;
    if (atomic_compare_exchange_strong(&engine->ring_refused, &none, -rc))
        posix_note(engine, "io_uring is not to be had (%s): using threads", strerror(-rc));
    return threads_queue_new(engine, profile, out);
}

static const char *posix_name(struct io_engine *base, const struct io_queue_profile *profile)
{
    return wants_ring(posix_engine(base), profile) ? "io_uring" : "threads";
}

static void posix_engine_free(struct io_engine *base)
{
    struct posix_engine *engine = posix_engine(base);

    workers_free(engine->blocking);
    park_release(&engine->park);
    if (engine->dir_fd >= 0)
        close(engine->dir_fd);
    free(engine);
}

static const struct io_engine_ops posix_engine_ops = {
    .open = posix_open,
    .queue_new = posix_queue_new,
    .sync_directory = posix_sync_directory,
    .unlink = posix_unlink,
    .name = posix_name,
    .free = posix_engine_free,
};

int io_engine_new(enum io_engine_choice choice, struct workers *workers, io_note_fn note,
                  void *note_user, struct io_engine **out)
{
    struct posix_engine *engine = calloc(1, sizeof(*engine));

    if (!engine)
        return -ENOMEM;
    if (workers_new(BLOCKING_THREADS, &engine->blocking) < 0) {
        free(engine);
        return -ENOMEM;
    }
    engine->base.ops = &posix_engine_ops;
    engine->base.workers = workers;
    engine->base.note = note;
    engine->base.note_user = note_user;
    engine->choice = choice;
    park_init(&engine->park);
    engine->dir_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (engine->dir_fd < 0)
        engine->dir_fd = AT_FDCWD;
    *out = &engine->base;
    return 0;
}

void io_engine_free(struct io_engine *engine)
{
    if (engine)
        engine->ops->free(engine);
}

const char *io_engine_name(struct io_engine *engine, const struct io_queue_profile *profile)
{
    return engine->ops->name(engine, profile);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * More files than descriptors. Files opened read-only form a ring; where the limit on open files
 * is near (or open() said EMFILE), a file that nobody uses is parked: its descriptor is closed,
 * and opened again by name at its next use. Keeps true:
 * (1) a descriptor that is pinned is not closed. pins is negative exactly while fd is -1, and only
 *     the holder of park.lock makes it so or undoes it.
 * (2) what is opened again is the same file (device and inode), else the use fails with -ESTALE.
 * (3) files opened for writing are never parked: closing one could lose a write-back error.
 * (4) a parked file holds no locks in the meantime. They are taken again with the descriptor; a
 *     conflict then fails the use with -EAGAIN.
 */
#include <assert.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#include "posix.h"

#define PINS_PARKED INT_MIN

/* Descriptors left for rings, event counters and the rest of the program. */
#define SPARE_DESCRIPTORS 24
#define FEWEST_FILES      4

void park_init(struct park *park)
{
    pthread_mutex_init(&park->lock, NULL);
}

void park_release(struct park *park)
{
    assert(park->open == 0);
    pthread_mutex_destroy(&park->lock);
}

static unsigned files_within(rlim_t descriptors)
{
    if (descriptors == RLIM_INFINITY || descriptors > UINT_MAX)
        return UINT_MAX;
    if (descriptors <= SPARE_DESCRIPTORS + FEWEST_FILES)
        return FEWEST_FILES;
    return (unsigned)descriptors - SPARE_DESCRIPTORS;
}

static void ask_limit(struct park *park)
{
    struct rlimit limit;

    park->limit = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? files_within(limit.rlim_cur) : UINT_MAX;
}

/* The soft limit is only a default; true where it could be moved. */
static bool raise_limit(struct park *park)
{
    struct rlimit limit;

    if (park->raised || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    park->raised = true;
    if (limit.rlim_cur == limit.rlim_max)
        return false;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    park->limit = files_within(limit.rlim_cur);
    return true;
}

/* Closes the descriptor of @file if nobody uses it. */
static bool park_file(struct park *park, struct posix_file *file)
{
    int unused = 0;

    if (!atomic_compare_exchange_strong(&file->pins, &unused, PINS_PARKED))
        return false;
    close(file->fd);
    file->fd = -1;
    park->open--;
    return true;
}

/* Parks the next file that was not used since the hand came by; on the second way round any that
 * is not in use. */
static bool park_one(struct park *park)
{
    struct posix_file *const start = park->hand;
    unsigned rounds = 0;

    if (!start)
        return false;
    while (rounds < 2) {
        struct posix_file *file = park->hand;
        park->hand = file->next;
        if (park->hand == start)
            rounds++;
        if (!atomic_exchange(&file->recent, false) && park_file(park, file))
            return true;
    }
    return false;
}

static bool make_room(struct park *park)
{
    return raise_limit(park) || park_one(park);
}

bool park_make_room(struct posix_engine *engine)
{
    pthread_mutex_lock(&engine->park.lock);
    const bool made = make_room(&engine->park);
    pthread_mutex_unlock(&engine->park.lock);
    return made;
}

static void reserve(struct park *park)
{
    if (park->limit == 0)
        ask_limit(park);
    while (park->open >= park->limit && make_room(park))
        continue;
    park->open++;
}

void park_reserve(struct posix_engine *engine)
{
    pthread_mutex_lock(&engine->park.lock);
    reserve(&engine->park);
    pthread_mutex_unlock(&engine->park.lock);
}

void park_unreserve(struct posix_engine *engine)
{
    pthread_mutex_lock(&engine->park.lock);
    assert(engine->park.open > 0);
    engine->park.open--;
    pthread_mutex_unlock(&engine->park.lock);
}

void park_enter(struct posix_file *file)
{
    struct park *park = &posix_engine(file->base.engine)->park;

    pthread_mutex_lock(&park->lock);
    if (!park->hand) {
        file->next = file->prev = file;
        park->hand = file;
    } else { /* behind the hand: the last to be looked at */
        file->next = park->hand;
        file->prev = park->hand->prev;
        file->prev->next = file;
        file->next->prev = file;
    }
    pthread_mutex_unlock(&park->lock);
}

void park_leave(struct posix_file *file)
{
    struct park *park = &posix_engine(file->base.engine)->park;

    pthread_mutex_lock(&park->lock);
    if (file->next) {
        file->next->prev = file->prev;
        file->prev->next = file->next;
        if (park->hand == file)
            park->hand = file->next == file ? NULL : file->next;
        file->next = file->prev = NULL;
    }
    if (file->fd >= 0)
        park->open--;
    pthread_mutex_unlock(&park->lock);
}

/* Adds a pin while the file is open. */
static bool pin_open(struct posix_file *file)
{
    int pins = atomic_load_explicit(&file->pins, memory_order_relaxed);

    while (pins >= 0)
        if (atomic_compare_exchange_weak_explicit(&file->pins, &pins, pins + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

/* The descriptor of a file that is parked, pinned once. Called with the lock held. */
static int unpark(struct park *park, struct posix_file *file)
{
    reserve(park);
    int fd = posix_reopen(file);
    while (fd == -EMFILE && make_room(park))
        fd = posix_reopen(file);
    if (fd < 0) {
        park->open--;
        return fd;
    }
    file->fd = fd;
    atomic_store_explicit(&file->pins, 1, memory_order_release); /* (1) */
    return fd;
}

int posix_pin(struct posix_file *file)
{
    struct park *park = &posix_engine(file->base.engine)->park;

    if (!atomic_load_explicit(&file->recent, memory_order_relaxed))
        atomic_store_explicit(&file->recent, true, memory_order_relaxed);
    if (pin_open(file))
        return file->fd;
    pthread_mutex_lock(&park->lock);
    const int fd = pin_open(file) ? file->fd : unpark(park, file);
    pthread_mutex_unlock(&park->lock);
    return fd;
}

void posix_unpin(struct posix_file *file)
{
    const int before = atomic_fetch_sub_explicit(&file->pins, 1, memory_order_release);
    assert(before > 0);
}

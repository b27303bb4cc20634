/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine for real files: one kind of file (file.c, extents.c, lock.c, park.c) under two kinds
 * of queue (engine_threads.c, engine_uring.c).
 */
#ifndef IO_POSIX_H
#define IO_POSIX_H

#include "io.h"
#include "request.h"

/* The call again where a signal came in between. */
#define RETRY_EINTR(call) \
    ({ \
        __typeof__(call) rc_; \
        do \
            rc_ = (call); \
        while (rc_ == -1 && errno == EINTR); \
        rc_; \
    })

struct posix_file;

/* The open files of an engine, see park.c. */
struct park {
    pthread_mutex_t lock;
    struct posix_file *hand; /* ring of the files that may be parked; the next to be looked at */
    unsigned open;           /* descriptors that our files hold */
    unsigned limit;          /* ... at most; 0 = not asked yet */
    bool raised;             /* the soft limit on descriptors is the hard one now */
};

struct posix_engine {
    struct io_engine base;
    enum io_engine_choice choice;
    int dir_fd;               /* where relative names start; AT_FDCWD where it has no handle */
    struct workers *blocking; /* threads that wait for the kernel; the borrowed ones compute */
    struct park park;
    atomic_bool no_locks_noted;
    atomic_int ring_refused; /* errno with which the kernel refused a ring, 0 so far */
};

/* How a file is read in a thread that must not wait (cached.c). */
enum cached_reads { CACHED_READS_NOWAIT, CACHED_READS_PLAIN, CACHED_READS_NEVER };

/* Does the file system gain by reserving? (reserve.c) */
enum reserves { RESERVES_UNKNOWN, RESERVES, RESERVES_NOT };

struct posix_file {
    struct io_file base;
    char *name;
    int fd;                         /* -1 while parked */
    atomic_int pins;                /* how many use fd now; PINS_PARKED while there is none */
    atomic_bool recent;             /* used since the park's hand came by */
    struct posix_file *next, *prev; /* the park's ring; NULL: never parked */
    struct io_lock held;            /* locks, under lock_order */
    pthread_mutex_t lock_order;
    atomic_bool no_zero_range, no_punch; /* what the file system was found not to do */
    atomic_int cached_reads;             /* enum cached_reads */
    atomic_int reserves;                 /* enum reserves */
    struct qimg_range known_data;        /* under data_order; see find_extent() */
    pthread_mutex_t data_order;
};

static inline struct posix_file *posix_file(struct io_file *file)
{
    return (struct posix_file *)file;
}

static inline struct posix_engine *posix_engine(struct io_engine *engine)
{
    return (struct posix_engine *)engine;
}

/* --- file.c --- */
int posix_open(struct io_engine *engine, const char *name, const struct io_open_options *options,
               struct io_file **out);
int posix_sync_directory(struct io_engine *engine, const char *name);
int posix_unlink(struct io_engine *engine, const char *name);
/* Opens the name of @file again after parking: its descriptor, or -errno. */
int posix_reopen(struct posix_file *file);

/* --- beneath.c --- */
/* openat(), but of what lies beneath @bounds only: -EXDEV for all else. Returns -errno. */
int posix_open_beneath(const struct io_bounds *bounds, int dir_fd, const char *name, int flags);

/* --- cached.c --- */
ssize_t posix_read_cached(struct io_file *base, uint64_t off, const struct iovec *iov,
                          unsigned count);

/* --- uncache.c --- */
int posix_uncache(struct io_file *base, uint64_t *cached);

/* --- extents.c --- */
int posix_zero(struct io_file *base, struct qimg_range range, bool may_unmap);
int posix_punch(struct io_file *base, struct qimg_range range);
int posix_allocate(struct io_file *base, struct qimg_range range);
int posix_extents(struct io_file *base, uint64_t off, struct io_extent *out);

/* --- reserve.c --- */
/* True: it was done. */
bool posix_reserve(struct io_file *base, struct qimg_range range);

/* --- copy_range.c --- */
int posix_copy_range(struct io_file *from, uint64_t from_off, struct io_file *to,
                     struct qimg_range range);

/* --- align.c --- */
/* Sets request_align and memory_align of a file opened with O_DIRECT. */
void posix_find_alignment(struct posix_file *file);

/* --- lock.c --- */
int posix_lock(struct io_file *base, struct io_lock want, struct io_lock_conflict *conflict);
/* Takes the locks of a file that was parked again, on its new descriptor. */
int posix_relock(struct posix_file *file, int fd);

/* --- park.c --- */
void park_init(struct park *park);
void park_release(struct park *park);
/* Counts a descriptor about to be opened, and parks another file where there are too many. */
void park_reserve(struct posix_engine *engine);
/* That descriptor was not opened, or is closed. */
void park_unreserve(struct posix_engine *engine);
/* After EMFILE: raises the limit or parks a file. False: nothing can be done. */
bool park_make_room(struct posix_engine *engine);
/* Makes @file one that may be parked; takes it out again (for closing). */
void park_enter(struct posix_file *file);
void park_leave(struct posix_file *file);

/* The descriptor of @file, which stays open until unpinned; or -errno. */
int posix_pin(struct posix_file *file);
void posix_unpin(struct posix_file *file);

/* --- queues --- */
int threads_queue_new(struct posix_engine *engine, const struct io_queue_profile *profile,
                      struct io_queue **out);
int uring_queue_new(struct posix_engine *engine, const struct io_queue_profile *profile,
                    struct io_queue **out);

void posix_note(struct posix_engine *engine, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes in files and block devices; knows no format. One vtable, three back ends: io_uring,
 * a pool of threads, and the simulator in tests/support. Everything returns a bare negative
 * errno: the first caller that knows a name writes the words.
 *
 * An io_engine opens files and makes queues. Synchronous calls (io_read_exact ...) serve
 * metadata; everything that moves data goes through an io_queue in batches.
 *
 * Threads: an io_file may be used from several threads at once; an io_queue belongs to one
 * thread at a time, and changes hands only while nothing is under way in it; an io_engine may
 * be shared.
 */
#ifndef IO_IO_H
#define IO_IO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "fail.h"
#include "qimg/types.h"
#include "workers.h"

struct io_engine;
struct io_file;
struct io_queue;

/* --- counters -------------------------------------------------------------------------- */

/* What the context reports as statistics. All in requests or bytes since the engine was made. */
struct io_stats {
    atomic_uint_least64_t reads, bytes_read;
    atomic_uint_least64_t writes, bytes_written;
    atomic_uint_least64_t zeroes, reserves, syncs, write_backs;
    atomic_uint_least64_t submits;       /* calls that handed a batch to the kernel or the pool */
    atomic_uint_least64_t in_flight;     /* now */
    atomic_uint_least64_t max_in_flight; /* ever, over all queues */
};

/* --- locks (facts: QEMU's OFD byte locks) ----------------------------------------------- */

/* Byte 100+i is held while permission i is used, byte 200+i while it is not shared. */
enum io_permission {
    IO_PERM_CONSISTENT_READ = 1 << 0,
    IO_PERM_WRITE = 1 << 1,
    IO_PERM_WRITE_UNCHANGED = 1 << 2,
    IO_PERM_RESIZE = 1 << 3,
};

struct io_lock {
    uint8_t uses;   /* bits of enum io_permission that this opener needs */
    uint8_t denies; /* bits that nobody else may use meanwhile */
};

/* Why io_lock() said -EAGAIN, in the order of QEMU's tests: first each permission that we use
 * (somebody denies it: Failed to get "write" lock), then each that we deny (somebody uses it:
 * Failed to get shared "write" lock); the lowest bit first. */
struct io_lock_conflict {
    enum io_permission permission;
    bool shared;   /* false: we use it and somebody denies it; true: we deny it, somebody uses it */
    unsigned byte; /* not 0: somebody holds an exclusive lock on this very byte, so that ours could
                    * not be taken (Failed to lock byte N) */
    unsigned held; /* the byte that somebody holds */
};

/* --- files ------------------------------------------------------------------------------ */

struct io_bounds;

struct io_open_options {
    bool writable;
    bool create;        /* make the file if it is not there (mode 0644); never truncates */
    bool direct;        /* O_DIRECT: -EINVAL where the file system has none */
    bool write_through; /* every write is durable when it completes */
    bool no_flush;      /* io_sync does nothing (cache mode unsafe) */
    const struct io_bounds *bounds; /* of a file on disk; borrowed until it is closed. NULL: none */
};

/* One open file or device. Back ends embed it as their first member. */
struct io_file {
    const struct io_file_ops *ops;
    struct io_engine *engine;
    uint64_t device, inode; /* identity */
    uint64_t rdev;          /* of a block device, else 0: the device's own identity */
    bool is_device;
    bool created; /* io_open_options.create made this file just now */
    struct io_open_options options;
    bool pads_end; /* set by who opened it: a write may leave zeros behind what it was asked to
                      write, up to the end of a block (exact.c) */
    atomic_int sync_error;  /* the first failure of a sync, final for this file */
    uint8_t *held_head;     /* its first IO_HEAD_BYTES, not on disk yet; NULL = none is held */
    pthread_mutex_t edges;  /* one write of a part of a block at a time (exact.c) */
    uint32_t request_align; /* offsets and lengths of requests that need no bounce; 1 if any */
    uint32_t memory_align;
};

/* Are these two openings of one file, or of one device? */
static inline bool io_same_file(const struct io_file *a, const struct io_file *b)
{
    if (a->is_device && b->is_device)
        return a->rdev == b->rdev;
    return a->device == b->device && a->inode == b->inode;
}

/* What SEEK_DATA/SEEK_HOLE say about the bytes at one offset. */
struct io_extent {
    uint64_t off, len;
    bool data; /* false: a hole, reads as zeros */
};

struct io_stat {
    uint64_t size;      /* bytes; of a device, its capacity */
    uint64_t allocated; /* bytes of storage in use (st_blocks) */
};

/* Filled by a back end. Requests here are already aligned as the file asks (exact.c and the
 * queues bounce the others); read and write may be short, and interrupted only by errors other
 * than EINTR/EAGAIN. */
struct io_file_ops {
    ssize_t (*read)(struct io_file *, uint64_t off, const struct iovec *iov, unsigned count);
    ssize_t (*write)(struct io_file *, uint64_t off, const struct iovec *iov, unsigned count);
    /* As read, but -EAGAIN where it would have to wait. May be NULL: it always would. */
    ssize_t (*read_cached)(struct io_file *, uint64_t off, const struct iovec *iov, unsigned count);
    int (*zero)(struct io_file *, struct qimg_range range, bool may_unmap);
    int (*punch)(struct io_file *, struct qimg_range range);
    int (*truncate)(struct io_file *, uint64_t size);
    int (*sync)(struct io_file *);
    void (*write_back)(struct io_file *);               /* may be NULL */
    int (*uncache)(struct io_file *, uint64_t *cached); /* may be NULL: there is no page cache */
    int (*stat)(struct io_file *, struct io_stat *out);
    int (*extents)(struct io_file *, uint64_t off, struct io_extent *out);
    int (*lock)(struct io_file *, struct io_lock want, struct io_lock_conflict *conflict);
    int (*allocate)(struct io_file *, struct qimg_range range); /* posix_fallocate's meaning */
    bool (*reserve)(struct io_file *, struct qimg_range range); /* io_reserve(); may be NULL */
    /* May be NULL. Both files are of one back end. */
    int (*copy_range)(struct io_file *from, uint64_t from_off, struct io_file *to,
                      struct qimg_range range);
    void (*close)(struct io_file *);
};

/* What every back end does to the part of a file that all share. io_file_base_init() sets what
 * is not told by @options to nothing special: any alignment, no identity. */
void io_file_base_init(struct io_file *file, struct io_engine *engine,
                       const struct io_file_ops *ops, const struct io_open_options *options);
void io_file_base_release(struct io_file *file);

/* Opens @name, relative to the directory in which the engine was made. Only regular files and
 * block devices are opened, without ever blocking on a FIFO or a device that is not there.
 * Returns -EMEDIUMTYPE for anything else that can be opened, else what open() said: -ENXIO of a
 * socket, -EISDIR of a directory that is to be written. */
MUST_CHECK int io_file_open(struct io_engine *engine, const char *name,
                            const struct io_open_options *options, struct io_file **out);

/* Directories, by handle, beneath which a file must really lie, whatever links its name goes
 * through and whoever swaps them meanwhile. A file elsewhere is not opened: -EXDEV. Where it lies
 * is asked of /proc: -ENOTSUP where that is not mounted. */
struct io_bounds {
    int *dirs;
    unsigned count;
};

/* @dirs ends with NULL. On failure bounds->count is the index of the directory at fault. */
MUST_CHECK int io_bounds_init(struct io_bounds *bounds, const char *const *dirs);
void io_bounds_release(struct io_bounds *bounds);

/* NULL is fine. Locks end here. */
void io_file_close(struct io_file *file);

/* Reads all of @len; bytes past the end of the file are zeros. @got (may be NULL) is told how
 * many bytes the file had. Any alignment. */
MUST_CHECK int io_read_exact(struct io_file *file, uint64_t off, void *buf, size_t len,
                             size_t *got);

/* The same where the page cache has all of it; -EAGAIN, with some of @buf filled, where it has to
 * be waited for. */
MUST_CHECK int io_read_cached(struct io_file *file, uint64_t off, void *buf, size_t len);

/* Writes all of @len. Any alignment (O_DIRECT edges are read and rewritten). Where the end of such
 * a write is not aligned and becomes the file's end, nobody may be writing behind it meanwhile. */
MUST_CHECK int io_write_exact(struct io_file *file, uint64_t off, const void *buf, size_t len);

/* Makes @range read as zeros; @may_unmap lets storage go. Falls back to writing zeros. */
MUST_CHECK int io_zero(struct io_file *file, struct qimg_range range, bool may_unmap);

/* Gives storage back; the content of @range becomes zeros where the file system can punch.
 * Returns -ENOTSUP where it cannot. */
MUST_CHECK int io_punch(struct io_file *file, struct qimg_range range);

MUST_CHECK int io_truncate(struct io_file *file, uint64_t size);

/* Reserves storage for @range and grows the file to hold it. */
MUST_CHECK int io_allocate(struct io_file *file, struct qimg_range range);

/* @range is about to be written, most of it into a hole: finds storage for all of it at once where
 * the page cache takes the bytes faster then. Changes neither size nor content, and promises
 * nothing. Ranges that are asked for in order lie in order on the disk. */
#define IO_RESERVE_MIN (64u << 10) /* less is not worth the call */
void io_reserve(struct io_file *file, struct qimg_range range);

/* Has the file system copy bytes of @from to @range of @to (copy_file_range). Any failure, most
 * likely -ENOTSUP, leaves @range undefined: the caller reads and writes instead. */
MUST_CHECK int io_copy_range(struct io_file *from, uint64_t from_off, struct io_file *to,
                             struct qimg_range range);

/* Makes everything written before durable (fdatasync); nothing under no_flush. A failure is
 * final: the caller must not retry and believe the second answer. */
MUST_CHECK int io_sync(struct io_file *file);

/* --- files that do not look like anything yet ---
 * The first sector of a new file is held back while the rest is written: whoever opens the file
 * meanwhile, or after a crash, finds no magic there. This io_file reads and writes it as if it
 * were there, by io_read_exact() and io_write_exact(); queued requests must stay behind it.
 * Since nothing in the file can be reached before its head, io_sync() of it does nothing. */
#define IO_HEAD_BYTES 512u

/* The head is zeros from now on. -ENOMEM. */
MUST_CHECK int io_hold_head(struct io_file *file);

/* Everything written before is made durable, then the head is written and made durable (nothing
 * of that under no_flush but the writing). Nobody else uses the file meanwhile. */
MUST_CHECK int io_release_head(struct io_file *file);

/* Has the disk begin with what was written to @file and is still in the page cache, so that a later
 * io_sync() has less to wait for. Promises nothing, and hides no failure from that sync; may wait
 * while the disk has more than enough to do. Nothing under no_flush. */
void io_write_back(struct io_file *file);

/* Makes the file durable, and has the page cache forget it, so that it is read from storage again.
 * @cached: how many bytes the cache kept all the same (others use them, or the file system has no
 * other place for them); IO_CACHED_UNKNOWN where the kernel does not tell. */
#define IO_CACHED_UNKNOWN UINT64_MAX
MUST_CHECK int io_uncache(struct io_file *file, uint64_t *cached);

MUST_CHECK int io_stat(struct io_file *file, struct io_stat *out);

/* What is at @off: data or hole, and for how long. @off < size. Where the file system cannot
 * tell, all is data. */
MUST_CHECK int io_extents(struct io_file *file, uint64_t off, struct io_extent *out);

/* Replaces the locks that this file holds. -EAGAIN: somebody else stands in the way, see
 * @conflict; the locks held before stay. Where the file system has no OFD locks: 0, and the
 * engine notes it once. */
MUST_CHECK int io_lock(struct io_file *file, struct io_lock want,
                       struct io_lock_conflict *conflict);

/* Makes the directory entry of @name durable. */
MUST_CHECK int io_sync_directory(struct io_engine *engine, const char *name);

/* Removes a file that this process made itself. */
MUST_CHECK int io_unlink(struct io_engine *engine, const char *name);

/* --- queues ----------------------------------------------------------------------------- */

enum io_op {
    IO_READ,  /* len bytes at off into iov; past the end of the file: zeros, see got */
    IO_WRITE, /* len bytes from iov to off */
    IO_ZERO,  /* as io_zero without unmapping */
    IO_PUNCH,
    IO_SYNC, /* covers only what completed before it was submitted */
    IO_CALL, /* call(request) in the worker pool: CPU work reaped like I/O; not limited by the
              * depth, and not counted as I/O in flight */
};

struct io_request {
    enum io_op op;
    struct io_file *file;
    uint64_t off, len;
    struct iovec *iov; /* the caller's, alive and unchanged until completion; adds up to len */
    unsigned iov_count;
    int (*call)(struct io_request *);     /* IO_CALL: its return value becomes result */
    void (*advance)(struct io_request *); /* called by io_queue_run() at completion */
    void *user;                           /* the caller's */

    /* Set at completion. */
    int result;   /* 0 or -errno: all of it was done, or it failed */
    uint64_t got; /* IO_READ: bytes that the file had; the rest was zeroed */

    /* The queue's own. */
    struct io_request *next;
    struct work work;
    void *bounce;
    uint64_t done;
    struct io_queue *queue;
};

struct io_queue_profile {
    unsigned depth; /* requests in flight at most; more are held back */
    bool direct;    /* most files of this queue are O_DIRECT */
    bool large;     /* requests of 64 KiB and more: copying, not seeking */
};

/* Back ends embed it as their first member. */
struct io_queue {
    const struct io_queue_ops *ops;
    struct io_engine *engine;
    unsigned depth;
};

struct io_queue_ops {
    void (*add)(struct io_queue *, struct io_request *);
    int (*submit)(struct io_queue *);
    struct io_request *(*reap)(struct io_queue *, unsigned min);
    void (*free)(struct io_queue *);
};

MUST_CHECK int io_queue_new(struct io_engine *engine, const struct io_queue_profile *profile,
                            struct io_queue **out);

/* Waits for what is in flight (their results are dropped). NULL is fine. */
void io_queue_free(struct io_queue *queue);

/* Stages @request. Cannot fail: what goes wrong becomes the request's result. */
void io_queue_add(struct io_queue *queue, struct io_request *request);

/* Hands everything staged to the kernel or the pool, in as few calls as can be. */
void io_queue_submit(struct io_queue *queue);

/* Submits what is staged, waits until at least @min requests are complete (fewer if fewer are
 * under way), returns all complete ones as a list through next. @min 0: does not wait. */
struct io_request *io_queue_reap(struct io_queue *queue, unsigned min);

/* Reaps as above and calls each request's advance(), in the caller's thread; advance() may add
 * further requests. Returns how many completed. */
unsigned io_queue_run(struct io_queue *queue, unsigned min);

/* --- engines ---------------------------------------------------------------------------- */

enum io_engine_choice { IO_ENGINE_AUTO, IO_ENGINE_URING, IO_ENGINE_THREADS };

struct io_engine_ops {
    int (*open)(struct io_engine *, const char *name, const struct io_open_options *,
                struct io_file **out);
    int (*queue_new)(struct io_engine *, const struct io_queue_profile *, struct io_queue **out);
    int (*sync_directory)(struct io_engine *, const char *name);
    int (*unlink)(struct io_engine *, const char *name);
    const char *(*name)(struct io_engine *, const struct io_queue_profile *);
    void (*free)(struct io_engine *);
};

/* Told of things worth a line under -v: which engine and why, no OFD locks here. May be called
 * from any thread. */
typedef void (*io_note_fn)(void *user, const char *text);

struct io_engine {
    const struct io_engine_ops *ops;
    struct workers *workers; /* borrowed */
    struct io_stats stats;
    io_note_fn note;
    void *note_user;
};

/* The engine for real files. @workers is borrowed and must outlive it. The ring is made with
 * the first queue that wants one; where the kernel refuses it (EPERM, ENOSYS, limits), AUTO
 * falls back to threads and notes it, URING fails then. When the soft limit on open files is
 * near, it is raised to the hard one; beyond that, files opened read-only are closed while idle
 * and opened again when used. Such a file holds no locks in the meantime; its next use fails with
 * -ESTALE where the name is another file by then, and with -EAGAIN where somebody else's locks
 * stand against its own. */
MUST_CHECK int io_engine_new(enum io_engine_choice choice, struct workers *workers, io_note_fn note,
                             void *note_user, struct io_engine **out);

void io_engine_free(struct io_engine *engine);

/* "io_uring" or "threads": what queues of that profile get. */
const char *io_engine_name(struct io_engine *engine, const struct io_queue_profile *profile);

/* --- buffers ---------------------------------------------------------------------------- */

/* Memory fit for any file's O_DIRECT (page-aligned). free() releases it. NULL: no memory. */
void *io_buffer_new(size_t len);

#endif

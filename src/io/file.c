/* SPDX-License-Identifier: Apache-2.0
 *
 * Real files: opening without surprises, and the plain calls. A name is opened non-blocking and
 * looked at before anything else is done with it: what is neither a regular file nor a block
 * device (a FIFO would block, a terminal would answer) is closed again.
 */
#include <assert.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"

/* --- the part that all back ends share ---------------------------------------------------- */

void io_file_base_init(struct io_file *file, struct io_engine *engine,
                       const struct io_file_ops *ops, const struct io_open_options *options)
{
    file->ops = ops;
    file->engine = engine;
    file->options = *options;
    file->request_align = 1;
    file->memory_align = 1;
    atomic_init(&file->sync_error, 0);
    pthread_mutex_init(&file->edges, NULL);
}

void io_file_base_release(struct io_file *file)
{
    pthread_mutex_destroy(&file->edges);
    free(file->held_head);
}

int io_file_open(struct io_engine *engine, const char *name, const struct io_open_options *options,
                 struct io_file **out)
{
    return engine->ops->open(engine, name, options, out);
}

void io_file_close(struct io_file *file)
{
    if (file)
        file->ops->close(file);
}

int io_truncate(struct io_file *file, uint64_t size)
{
    return file->ops->truncate(file, size);
}

int io_stat(struct io_file *file, struct io_stat *out)
{
    return file->ops->stat(file, out);
}

int io_sync(struct io_file *file)
{
    int failed = atomic_load(&file->sync_error);

    if (failed != 0)
        return failed;
    if (file->options.no_flush || file->held_head)
        return 0;
    atomic_fetch_add_explicit(&file->engine->stats.syncs, 1, memory_order_relaxed);
    const int rc = file->ops->sync(file);
    if (rc < 0)
        atomic_compare_exchange_strong(&file->sync_error, &failed, rc);
    return rc;
}

void io_write_back(struct io_file *file)
{
    if (!file->ops->write_back || file->options.no_flush)
        return;
    atomic_fetch_add_explicit(&file->engine->stats.write_backs, 1, memory_order_relaxed);
    file->ops->write_back(file);
}

int io_uncache(struct io_file *file, uint64_t *cached)
{
    *cached = 0;
    TRY(io_sync(file));
    return file->ops->uncache ? file->ops->uncache(file, cached) : 0;
}

int io_lock(struct io_file *file, struct io_lock want, struct io_lock_conflict *conflict)
{
    return file->ops->lock(file, want, conflict);
}

int io_sync_directory(struct io_engine *engine, const char *name)
{
    return engine->ops->sync_directory(engine, name);
}

int io_unlink(struct io_engine *engine, const char *name)
{
    return engine->ops->unlink(engine, name);
}

/* --- opening ------------------------------------------------------------------------------ */

static int open_flags(const struct io_open_options *options)
{
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

    flags |= options->writable ? O_RDWR : O_RDONLY;
    flags |= options->write_through ? O_DSYNC : 0;
    return flags;
}

static int open_once(const struct posix_engine *engine, const char *name, int flags,
                     const struct io_bounds *bounds)
{
    if (bounds)
        return posix_open_beneath(bounds, engine->dir_fd, name, flags);
    const int fd = RETRY_EINTR(openat(engine->dir_fd, name, flags, 0644));
    return fd < 0 ? -errno : fd;
}

/* Parks other files where descriptors run out. */
static int open_name(struct posix_engine *engine, const char *name, int flags,
                     const struct io_bounds *bounds)
{
    for (;;) {
        const int fd = open_once(engine, name, flags, bounds);
        if (fd != -EMFILE)
            return fd;
        if (!park_make_room(engine))
            return -EMFILE;
    }
}

/* A new file where there is none: who made it is known by O_EXCL. A name that is a dangling
 * link exists for O_EXCL and does not without it: then the link's target is made. */
static int open_or_create(struct posix_engine *engine, const char *name, int flags, bool *created)
{
    int fd = open_name(engine, name, flags | O_CREAT | O_EXCL, NULL);

    *created = fd >= 0;
    if (fd != -EEXIST)
        return fd;
    fd = open_name(engine, name, flags, NULL);
    return fd == -ENOENT ? open_name(engine, name, flags | O_CREAT, NULL) : fd;
}

/* O_DIRECT is set here rather than at open(), which would leave a new file behind on file systems
 * that refuse it; O_NONBLOCK goes. */
static int settle_flags(int fd, const struct io_open_options *options)
{
    const int flags = (options->direct ? O_DIRECT : 0) | (options->write_through ? O_DSYNC : 0);

    return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

static int check_kind(int fd, const struct stat *st, bool writable)
{
    int read_only = 0;

    if (S_ISREG(st->st_mode))
        return 0;
    if (!S_ISBLK(st->st_mode))
        return -EMEDIUMTYPE;
    if (writable && ioctl(fd, BLKROGET, &read_only) == 0 && read_only)
        return -EACCES;
    return 0;
}

static const struct io_file_ops posix_file_ops;

static int file_new(struct posix_engine *engine, const char *name,
                    const struct io_open_options *options, const struct stat *st,
                    struct posix_file **out)
{
    struct posix_file *file = calloc(1, sizeof(*file));
    char *own_name = strdup(name);

    if (!file || !own_name) {
        free(file);
        free(own_name);
        return -ENOMEM;
    }
    io_file_base_init(&file->base, &engine->base, &posix_file_ops, options);
    file->base.device = st->st_dev;
    file->base.inode = st->st_ino;
    file->base.is_device = S_ISBLK(st->st_mode);
    file->base.rdev = file->base.is_device ? st->st_rdev : 0;
    file->name = own_name;
    pthread_mutex_init(&file->lock_order, NULL);
    pthread_mutex_init(&file->data_order, NULL);
    *out = file;
    return 0;
}

static int open_descriptor(struct posix_engine *engine, const char *name,
                           const struct io_open_options *options, struct stat *st, bool *created)
{
    const int flags = open_flags(options);

    assert(!options->create || !options->bounds); /* no image names a file to be made */
    AUTO_FD int fd = options->create ? open_or_create(engine, name, flags, created)
                                     : open_name(engine, name, flags, options->bounds);

    if (fd < 0)
        return fd;
    if (fstat(fd, st) < 0)
        return -errno;
    TRY(check_kind(fd, st, options->writable));
    TRY(settle_flags(fd, options));
    return TAKE_FD(fd);
}

int posix_open(struct io_engine *base, const char *name, const struct io_open_options *options,
               struct io_file **out)
{
    struct posix_engine *engine = posix_engine(base);
    struct posix_file *file = NULL;
    bool created = false;
    struct stat st;

    park_reserve(engine);
    int rc = open_descriptor(engine, name, options, &st, &created);
    const int fd = rc;
    if (rc >= 0)
        rc = file_new(engine, name, options, &st, &file);
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        if (created)
            unlinkat(engine->dir_fd, name, 0);
        park_unreserve(engine);
        return rc;
    }
    file->fd = fd;
    file->base.created = created;
    if (options->direct)
        posix_find_alignment(file);
    if (!options->writable)
        park_enter(file);
    *out = &file->base;
    return 0;
}

int posix_reopen(struct posix_file *file)
{
    struct posix_engine *engine = posix_engine(file->base.engine);
    struct stat st;
    /* Not open_name(): the caller holds the park's lock and makes the room itself. */
    const struct io_open_options *options = &file->base.options;
    AUTO_FD int fd = open_once(engine, file->name, open_flags(options), options->bounds);

    if (fd < 0)
        return fd == -EMFILE ? -EMFILE : -ESTALE;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_dev != file->base.device || st.st_ino != file->base.inode)
        return -ESTALE;
    TRY(settle_flags(fd, &file->base.options));
    TRY(posix_relock(file, fd));
    return TAKE_FD(fd);
}

static void posix_close(struct io_file *base)
{
    struct posix_file *file = posix_file(base);

    assert(atomic_load(&file->pins) <= 0);
    park_leave(file);
    if (file->fd >= 0)
        close(file->fd);
    pthread_mutex_destroy(&file->data_order);
    pthread_mutex_destroy(&file->lock_order);
    io_file_base_release(base);
    free(file->name);
    free(file);
}

/* --- plain calls -------------------------------------------------------------------------- */

static ssize_t posix_read(struct io_file *base, uint64_t off, const struct iovec *iov,
                          unsigned count)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);

    if (fd < 0)
        return fd;
    const ssize_t n = RETRY_EINTR(preadv(fd, iov, (int)count, (off_t)off));
    const int failure = errno;
    posix_unpin(file);
    return n < 0 ? -failure : n;
}

static ssize_t posix_write(struct io_file *base, uint64_t off, const struct iovec *iov,
                           unsigned count)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);

    if (fd < 0)
        return fd;
    const ssize_t n = RETRY_EINTR(pwritev(fd, iov, (int)count, (off_t)off));
    const int failure = errno;
    posix_unpin(file);
    return n < 0 ? -failure : n;
}

static int posix_stat(struct io_file *base, struct io_stat *out)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);
    struct stat st;
    uint64_t capacity = 0;

    if (fd < 0)
        return fd;
    int rc = fstat(fd, &st);
    if (rc == 0 && base->is_device)
        rc = ioctl(fd, BLKGETSIZE64, &capacity);
    const int failure = errno;
    posix_unpin(file);
    if (rc < 0)
        return -failure;
    out->size = base->is_device ? capacity : (uint64_t)st.st_size;
    out->allocated = (uint64_t)st.st_blocks * 512;
    return 0;
}

/* A device has the size it has: what fits in it is fine. */
static int truncate_device(struct io_file *base, uint64_t size)
{
    struct io_stat now;

    TRY(posix_stat(base, &now));
    return size <= now.size ? 0 : -EINVAL;
}

static int posix_truncate(struct io_file *base, uint64_t size)
{
    struct posix_file *file = posix_file(base);

    if (base->is_device)
        return truncate_device(base, size);
    if (size > INT64_MAX)
        return -EFBIG;
    const int fd = posix_pin(file);
    if (fd < 0)
        return fd;
    const int rc = RETRY_EINTR(ftruncate(fd, (off_t)size));
    const int failure = errno;
    posix_unpin(file);
    return rc < 0 ? -failure : 0;
}

static int posix_sync(struct io_file *base)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);

    if (fd < 0)
        return fd;
    const int rc = fdatasync(fd); /* not again after EINTR: a failed sync is final */
    const int failure = errno;
    posix_unpin(file);
    return rc < 0 ? -failure : 0;
}

/* Without its waiting flags the call leaves errors for fdatasync() to tell. */
static void posix_write_back(struct io_file *base)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);

    if (fd < 0)
        return;
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    posix_unpin(file);
}

static const struct io_file_ops posix_file_ops = {
    .read = posix_read,
    .write = posix_write,
    .read_cached = posix_read_cached,
    .zero = posix_zero,
    .punch = posix_punch,
    .truncate = posix_truncate,
    .sync = posix_sync,
    .write_back = posix_write_back,
    .uncache = posix_uncache,
    .stat = posix_stat,
    .extents = posix_extents,
    .lock = posix_lock,
    .allocate = posix_allocate,
    .reserve = posix_reserve,
    .copy_range = posix_copy_range,
    .close = posix_close,
};

/* --- directory entries -------------------------------------------------------------------- */

int posix_sync_directory(struct io_engine *base, const char *name)
{
    struct posix_engine *engine = posix_engine(base);
    const char *slash = strrchr(name, '/');
    AUTO_FREE char *parent = NULL;

    if (!slash)
        parent = strdup(".");
    else
        parent = slash == name ? strdup("/") : strndup(name, (size_t)(slash - name));
    if (!parent)
        return -ENOMEM;
    AUTO_FD int fd = open_name(engine, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, NULL);
    if (fd < 0)
        return fd;
    /* Some file systems have nothing to sync in a directory and say so. */
    if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
        return -errno;
    return 0;
}

int posix_unlink(struct io_engine *base, const char *name)
{
    return unlinkat(posix_engine(base)->dir_fd, name, 0) < 0 ? -errno : 0;
}

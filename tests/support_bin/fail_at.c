/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded before a program (LD_PRELOAD), has calls on its files and devices fail as a disk's do. Of
 * the calls of kind $FAIL_CALL (read, write, sync, truncate, allocate, or any) the $FAIL_AT-th
 *   fails with errno $FAIL_ERRNO, it and, with $FAIL_ALWAYS, all that come after;
 *   or, with $FAIL_SHORT, moves at most 512 bytes;
 *   or, with $FAIL_PAUSE, waits: makes that file and goes on when it is gone.
 * What failed or was cut leaves the file $FAIL_MARK.
 * Sees what goes through the C library: qimg --engine=threads, and all of its metadata.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum what { GO_ON, FAIL, CUT };

static long setting(const char *name)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 10) : 0;
}

static void make(const char *file)
{
    if (file)
        (void)close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static void pause_at(const char *file)
{
    const struct timespec a_moment = { .tv_nsec = 2000000 };

    make(file);
    while (access(file, F_OK) == 0)
        (void)nanosleep(&a_moment, NULL);
}

static enum what ask(int fd, const char *kind)
{
    static atomic_long calls;
    const char *wanted = getenv("FAIL_CALL"), *pause = getenv("FAIL_PAUSE");
    const long at = setting("FAIL_AT");
    struct stat st;

    if (!wanted || (strcmp(wanted, kind) != 0 && strcmp(wanted, "any") != 0) ||
        fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        return GO_ON;
    const long now = atomic_fetch_add(&calls, 1) + 1;
    if (now == at && pause)
        pause_at(pause);
    if (pause || !(now == at || (now > at && setting("FAIL_ALWAYS"))))
        return GO_ON;
    make(getenv("FAIL_MARK"));
    if (setting("FAIL_SHORT"))
        return CUT;
    errno = (int)setting("FAIL_ERRNO");
    return FAIL;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Calls without a length. */
#define ASKED(name, kind, parameters, arguments) \
    int name parameters \
    { \
        return ask(fd, kind) == FAIL ? -1 : NEXT(name) arguments; \
    }

ASKED(fsync, "sync", (int fd), (fd))
ASKED(fdatasync, "sync", (int fd), (fd))
ASKED(syncfs, "sync", (int fd), (fd))
ASKED(ftruncate, "truncate", (int fd, off_t len), (fd, len))
ASKED(fallocate, "allocate", (int fd, int mode, off_t off, off_t len), (fd, mode, off, len))

/* It returns its error. */
int posix_fallocate(int fd, off_t off, off_t len)
{
    return ask(fd, "allocate") == FAIL ? errno : NEXT(posix_fallocate)(fd, off, len);
}

ssize_t pread(int fd, void *buf, size_t len, off_t off)
{
    const enum what what = ask(fd, "read");

    return what == FAIL ? -1 : NEXT(pread)(fd, buf, what == CUT && len > 512 ? 512 : len, off);
}

ssize_t write(int fd, const void *buf, size_t len)
{
    const enum what what = ask(fd, "write");

    return what == FAIL ? -1 : NEXT(write)(fd, buf, what == CUT && len > 512 ? 512 : len);
}

/* Its first 512 bytes. */
static struct iovec first_of(const struct iovec *iov)
{
    return (struct iovec){ iov->iov_base, iov->iov_len > 512 ? 512 : iov->iov_len };
}

#define VECTOR(name, kind, parameters, whole, cut) \
    ssize_t name parameters \
    { \
        const enum what what = ask(fd, kind); \
        if (what == FAIL) \
            return -1; \
        if (what == GO_ON || count < 1) \
            return NEXT(name) whole; \
        const struct iovec first = first_of(iov); \
        return NEXT(name) cut; \
    }

VECTOR(preadv, "read", (int fd, const struct iovec *iov, int count, off_t off),
       (fd, iov, count, off), (fd, &first, 1, off))
VECTOR(pwritev, "write", (int fd, const struct iovec *iov, int count, off_t off),
       (fd, iov, count, off), (fd, &first, 1, off))
VECTOR(preadv2, "read", (int fd, const struct iovec *iov, int count, off_t off, int flags),
       (fd, iov, count, off, flags), (fd, &first, 1, off, flags))

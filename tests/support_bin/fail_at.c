/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded before a program (LD_PRELOAD), has calls on its files and devices fail as a disk's do. Of
 * the calls of kind $FAIL_CALL (read, write, sync, truncate, allocate, or any) the $FAIL_AT-th
 *   fails with errno $FAIL_ERRNO, it and, with $FAIL_ALWAYS, all that come after;
 *   or, with $FAIL_PAUSE, waits: makes that file and goes on when it is gone.
 * What failed leaves the file $FAIL_MARK.
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

/* Whether the call is to fail, and with what errno. */
static bool fails(int fd, const char *kind)
{
    static atomic_long calls;
    const char *wanted = getenv("FAIL_CALL"), *pause = getenv("FAIL_PAUSE");
    const long at = setting("FAIL_AT");
    struct stat st;

    if (!wanted || (strcmp(wanted, kind) != 0 && strcmp(wanted, "any") != 0) ||
        fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        return false;
    const long now = atomic_fetch_add(&calls, 1) + 1;
    if (now == at && pause)
        pause_at(pause);
    if (pause || !(now == at || (now > at && setting("FAIL_ALWAYS"))))
        return false;
    make(getenv("FAIL_MARK"));
    errno = (int)setting("FAIL_ERRNO");
    return true;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define ASKED(type, name, kind, parameters, arguments) \
    type name parameters \
    { \
        return fails(fd, kind) ? -1 : NEXT(name) arguments; \
    }

ASKED(int, fsync, "sync", (int fd), (fd))
ASKED(int, fdatasync, "sync", (int fd), (fd))
ASKED(int, syncfs, "sync", (int fd), (fd))
ASKED(int, ftruncate, "truncate", (int fd, off_t len), (fd, len))
ASKED(int, fallocate, "allocate", (int fd, int mode, off_t off, off_t len), (fd, mode, off, len))

ASKED(ssize_t, write, "write", (int fd, const void *buf, size_t len), (fd, buf, len))
ASKED(ssize_t, pread, "read", (int fd, void *buf, size_t len, off_t off), (fd, buf, len, off))
ASKED(ssize_t, preadv, "read", (int fd, const struct iovec *iov, int count, off_t off),
      (fd, iov, count, off))
ASKED(ssize_t, preadv2, "read", (int fd, const struct iovec *iov, int count, off_t off, int flags),
      (fd, iov, count, off, flags))
ASKED(ssize_t, pwritev, "write", (int fd, const struct iovec *iov, int count, off_t off),
      (fd, iov, count, off))

/* It returns its error. */
int posix_fallocate(int fd, off_t off, off_t len)
{
    return fails(fd, "allocate") ? errno : NEXT(posix_fallocate)(fd, off, len);
}

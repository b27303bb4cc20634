/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded before a program (LD_PRELOAD), kills it by SIGKILL when it is about to make its
 * $KILL_AT-th call that changes what is on the disk. What it did before is there, as the kernel
 * has it.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>

static void count(void)
{
    static atomic_int calls;
    const char *at = getenv("KILL_AT");
    if (at && atomic_fetch_add(&calls, 1) + 1 == (int)strtol(at, NULL, 10))
        raise(SIGKILL);
}

#define COUNTED(result, name, parameters, arguments) \
    result name parameters; \
    result name parameters \
    { \
        result(*next) parameters = (result(*) parameters)dlsym(RTLD_NEXT, #name); \
        count(); \
        return next arguments; \
    }

COUNTED(int, link, (const char *from, const char *to), (from, to))
COUNTED(int, unlink, (const char *name), (name))
COUNTED(int, rename, (const char *from, const char *to), (from, to))
COUNTED(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
        (a, from, b, to, flags))
COUNTED(int, fsync, (int fd), (fd))
COUNTED(int, fdatasync, (int fd), (fd))
COUNTED(int, ftruncate, (int fd, off_t len), (fd, len))
COUNTED(int, fallocate, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len))
COUNTED(ssize_t, write, (int fd, const void *bytes, size_t len), (fd, bytes, len))
COUNTED(ssize_t, pwritev, (int fd, const struct iovec *iov, int n, off_t off), (fd, iov, n, off))

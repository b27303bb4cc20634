/* SPDX-License-Identifier: Apache-2.0 */
#include "fail_point.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_bool armed;
static atomic_uint_least64_t met;
static enum fail_kind kind;
static uint64_t failing;
static bool on_and_on;

void fail_arm(enum fail_kind what, uint64_t at, bool forever)
{
    kind = what;
    failing = at;
    on_and_on = forever;
    atomic_store(&met, 0);
    atomic_store(&armed, true);
}

uint64_t fail_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&met);
}

/* A point of @here was met. Does it fail? */
static bool fails(enum fail_kind here)
{
    if (!atomic_load(&armed) || kind != here)
        return false;
    const uint64_t n = atomic_fetch_add(&met, 1) + 1;
    return failing != 0 && (on_and_on ? n >= failing : n == failing);
}

/* --- allocations ------------------------------------------------------------------------------ */

#define ALLOCATES(result, name, parameters, arguments) \
    result __real_##name parameters; \
    result __wrap_##name parameters; \
    result __wrap_##name parameters \
    { \
        if (!fails(FAIL_MEMORY)) \
            return __real_##name arguments; \
        errno = ENOMEM; \
        return NULL; \
    }

ALLOCATES(void *, malloc, (size_t len), (len))
ALLOCATES(void *, calloc, (size_t n, size_t len), (n, len))
ALLOCATES(void *, realloc, (void *p, size_t len), (p, len))
ALLOCATES(void *, reallocarray, (void *p, size_t n, size_t len), (p, n, len))
ALLOCATES(void *, aligned_alloc, (size_t unit, size_t len), (unit, len))
ALLOCATES(char *, strdup, (const char *text), (text))
ALLOCATES(char *, strndup, (const char *text, size_t len), (text, len))

int __real_posix_memalign(void **out, size_t unit, size_t len);
int __wrap_posix_memalign(void **out, size_t unit, size_t len);

int __wrap_posix_memalign(void **out, size_t unit, size_t len)
{
    return fails(FAIL_MEMORY) ? ENOMEM : __real_posix_memalign(out, unit, len);
}

/* --- system calls ----------------------------------------------------------------------------- */

enum { SPACE = 1, INTERRUPTED = 2 }; /* what else than EIO may become of a call */

static bool call_fails(unsigned may)
{
    int code = 0;

    if (fails(FAIL_EIO))
        code = EIO;
    else if ((may & SPACE) && fails(FAIL_ENOSPC))
        code = ENOSPC;
    else if ((may & INTERRUPTED) && fails(FAIL_EINTR))
        code = EINTR;
    if (code)
        errno = code;
    return code != 0;
}

#define CALLS(result, name, parameters, arguments, may) \
    result __real_##name parameters; \
    result __wrap_##name parameters; \
    result __wrap_##name parameters \
    { \
        return call_fails(may) ? -1 : __real_##name arguments; \
    }

CALLS(int, fsync, (int fd), (fd), SPACE | INTERRUPTED)
CALLS(int, fdatasync, (int fd), (fd), SPACE | INTERRUPTED)
CALLS(int, ftruncate, (int fd, off_t len), (fd, len), SPACE | INTERRUPTED)
CALLS(int, fallocate, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len),
      SPACE | INTERRUPTED)
CALLS(int, rename, (const char *from, const char *to), (from, to), SPACE)
CALLS(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
      (a, from, b, to, flags), SPACE)
CALLS(int, unlink, (const char *name), (name), 0)
CALLS(int, unlinkat, (int fd, const char *name, int flags), (fd, name, flags), 0)
CALLS(int, mkdir, (const char *name, mode_t mode), (name, mode), SPACE)
CALLS(int, mkdirat, (int fd, const char *name, mode_t mode), (fd, name, mode), SPACE)
CALLS(int, fstat, (int fd, struct stat *st), (fd, st), 0)
CALLS(ssize_t, copy_file_range,
      (int in, off_t *in_off, int out, off_t *out_off, size_t len, unsigned flags),
      (in, in_off, out, out_off, len, flags), SPACE | INTERRUPTED)

int __real_posix_fallocate(int fd, off_t off, off_t len);
int __wrap_posix_fallocate(int fd, off_t off, off_t len);

int __wrap_posix_fallocate(int fd, off_t off, off_t len)
{
    return call_fails(SPACE | INTERRUPTED) ? errno : __real_posix_fallocate(fd, off, len);
}

/* The mode counts only where there is one. */
#define OPENS(name, parameters, last, ...) \
    int __real_##name parameters; \
    int __wrap_##name parameters; \
    int __wrap_##name parameters \
    { \
        va_list args; \
        va_start(args, last); \
        const mode_t mode = last & O_CREAT ? va_arg(args, mode_t) : 0; \
        va_end(args); \
        if (call_fails(INTERRUPTED | (last & O_CREAT ? SPACE : 0))) \
            return -1; \
        return __real_##name(__VA_ARGS__, mode); \
    }

OPENS(open, (const char *name, int flags, ...), flags, name, flags)
OPENS(openat, (int fd, const char *name, int flags, ...), flags, fd, name, flags)

/* --- transfers -------------------------------------------------------------------------------- */

#define TRANSFERS(name, parameters, whole, half, may) \
    ssize_t __real_##name parameters; \
    ssize_t __wrap_##name parameters; \
    ssize_t __wrap_##name parameters \
    { \
        if (call_fails(may)) \
            return -1; \
        if (len > 1 && fails(FAIL_SHORT)) \
            return __real_##name half; \
        return __real_##name whole; \
    }

TRANSFERS(read, (int fd, void *buf, size_t len), (fd, buf, len), (fd, buf, len / 2), INTERRUPTED)
TRANSFERS(write, (int fd, const void *buf, size_t len), (fd, buf, len), (fd, buf, len / 2),
          SPACE | INTERRUPTED)
TRANSFERS(pread, (int fd, void *buf, size_t len, off_t off), (fd, buf, len, off),
          (fd, buf, len / 2, off), INTERRUPTED)

/* Of a vector half of the first buffer. */
#define VECTORS(name, parameters, whole, part, may) \
    ssize_t __real_##name parameters; \
    ssize_t __wrap_##name parameters; \
    ssize_t __wrap_##name parameters \
    { \
        if (call_fails(may)) \
            return -1; \
        if (count < 1 || iov[0].iov_len < 2 || !fails(FAIL_SHORT)) \
            return __real_##name whole; \
        const struct iovec half = { iov[0].iov_base, iov[0].iov_len / 2 }; \
        return __real_##name part; \
    }

VECTORS(preadv, (int fd, const struct iovec *iov, int count, off_t off), (fd, iov, count, off),
        (fd, &half, 1, off), INTERRUPTED)
VECTORS(preadv2, (int fd, const struct iovec *iov, int count, off_t off, int flags),
        (fd, iov, count, off, flags), (fd, &half, 1, off, flags), INTERRUPTED)
VECTORS(pwritev, (int fd, const struct iovec *iov, int count, off_t off), (fd, iov, count, off),
        (fd, &half, 1, off), SPACE | INTERRUPTED)

/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded before a program (LD_PRELOAD), tells in the file $SYNC_LOG what it wrote and what it made
 * durable, one line a call: "write PATH" or "sync PATH". Failed calls are not told.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static void tell(const char *what, int fd)
{
    char link[64], path[4096];
    const char *log_path = getenv("SYNC_LOG");
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t len = readlink(link, path, sizeof(path) - 1);
    FILE *log = len > 0 && log_path ? fopen(log_path, "a") : NULL;
    if (!log)
        return;
    path[len] = '\0';
    fprintf(log, "%s %s\n", what, path);
    fclose(log);
}

#define TOLD(what, result, name, parameters, arguments) \
    result name parameters; \
    result name parameters \
    { \
        result(*next) parameters = (result(*) parameters)dlsym(RTLD_NEXT, #name); \
        const result done = next arguments; \
        if (done >= 0) \
            tell(what, fd); \
        return done; \
    }

TOLD("sync", int, fsync, (int fd), (fd))
TOLD("sync", int, fdatasync, (int fd), (fd))
TOLD("write", ssize_t, pwrite, (int fd, const void *bytes, size_t len, off_t off),
     (fd, bytes, len, off))
TOLD("write", ssize_t, pwritev, (int fd, const struct iovec *iov, int n, off_t off),
     (fd, iov, n, off))

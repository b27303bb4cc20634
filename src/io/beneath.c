/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening within bounds: a name that somebody else chose is opened only if the file lies beneath
 * one of a few directories. (1) Where a name leads is found out with a handle that can neither
 * read nor write (O_PATH). (2) The path that the kernel then tells has no links, "." or "..";
 * its part below the directory is walked again from that directory's own handle, and no link is
 * followed on the way: what was swapped meanwhile makes the walk fail, and it is asked anew. So
 * nothing outside is ever opened for reading, at no moment. (3) openat2() does the walk in one
 * call; a kernel without it (before 5.6, or a container's filter) is led through it a directory
 * at a time, which keeps (2) as well: there is no ".." left to climb by.
 */
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"

/* Somebody who renames files all the time must not keep us here for ever. */
#define ATTEMPTS 16

int io_bounds_init(struct io_bounds *bounds, const char *const *dirs)
{
    size_t count = 0;

    while (dirs[count])
        count++;
    *bounds = (struct io_bounds){ .dirs = calloc(count + 1, sizeof(int)) };
    if (!bounds->dirs)
        return -ENOMEM;
    for (; dirs[bounds->count]; bounds->count++) {
        const int fd = RETRY_EINTR(open(dirs[bounds->count], O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (fd < 0)
            return -errno;
        bounds->dirs[bounds->count] = fd;
    }
    return 0;
}

void io_bounds_release(struct io_bounds *bounds)
{
    for (unsigned i = 0; i < bounds->count; i++)
        close(bounds->dirs[i]);
    free(bounds->dirs);
    *bounds = (struct io_bounds){ 0 };
}

/* --- where something is ------------------------------------------------------------------- */

static int path_of(int fd, char out[static PATH_MAX])
{
    char link[48];

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t len = readlink(link, out, PATH_MAX - 1);
    if (len < 0)
        return errno == ENOENT ? -ENOTSUP : -errno;
    out[len] = '\0';
    return 0;
}

/* The part of @path below @dir; NULL: it is elsewhere. */
static const char *below(const char *path, const char *dir)
{
    const size_t len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

    if (strncmp(path, dir, len) != 0 || path[len] != '/')
        return NULL;
    return path + len + 1;
}

/* The directory of @bounds that @path lies beneath, and @rest below it. -EXDEV: none. */
static int find_bound(const struct io_bounds *bounds, const char *path, const char **rest)
{
    char dir[PATH_MAX];

    for (unsigned i = 0; i < bounds->count; i++) {
        TRY(path_of(bounds->dirs[i], dir));
        *rest = below(path, dir);
        if (*rest)
            return bounds->dirs[i];
    }
    return -EXDEV;
}

/* --- opening it there --------------------------------------------------------------------- */

/* As openat2() below, for kernels that have none. @path is taken apart. */
static int walk(int dir_fd, char *path, int flags)
{
    AUTO_FD int held = -1;
    int at = dir_fd;

    for (char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        *slash = '\0';
        const int next =
            RETRY_EINTR(openat(at, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (next < 0)
            return -errno;
        if (held >= 0)
            close(held);
        at = held = next;
    }
    const int fd = RETRY_EINTR(openat(at, path, flags | O_NOFOLLOW));
    return fd < 0 ? -errno : fd;
}

static int open_without_links(int dir_fd, char *path, int flags)
{
    const struct open_how how = { .flags = (unsigned)(flags | O_LARGEFILE),
                                  .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
    const long fd = RETRY_EINTR(syscall(SYS_openat2, dir_fd, path, &how, sizeof(how)));

    if (fd >= 0)
        return (int)fd;
    if (errno == ENOSYS || errno == EPERM)
        return walk(dir_fd, path, flags);
    return -errno;
}

/* The walk met something else than the path that was asked for: a link, another kind of file,
 * nothing, or a directory that was moved away. */
static bool was_swapped(int rc)
{
    return rc == -ELOOP || rc == -ENOTDIR || rc == -ENOENT || rc == -EXDEV || rc == -EAGAIN;
}

int posix_open_beneath(const struct io_bounds *bounds, int dir_fd, const char *name, int flags)
{
    int rc = -ESTALE;

    for (unsigned i = 0; i < ATTEMPTS; i++) {
        char path[PATH_MAX];
        const char *rest = NULL;
        AUTO_FD int place = RETRY_EINTR(openat(dir_fd, name, O_PATH | O_CLOEXEC));
        if (place < 0)
            return -errno;
        TRY(path_of(place, path));
        const int bound = find_bound(bounds, path, &rest);
        if (bound < 0)
            return bound;
        rc = open_without_links(bound, path + (rest - path), flags);
        if (!was_swapped(rc))
            return rc;
    }
    return -ESTALE;
}

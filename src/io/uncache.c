/* SPDX-License-Identifier: Apache-2.0
 *
 * Having the page cache forget a file. The kernel takes that as advice: what it kept is looked up
 * afterwards by mincore(), which reads nothing in.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "posix.h"

#define WINDOW ((uint64_t)1 << 30) /* bytes that are looked at together */

/* mincore() calls every page present to those who may neither write nor own the file. */
static bool may_look(int fd)
{
    struct stat st;

    return (fstat(fd, &st) == 0 && st.st_uid == geteuid()) ||
           faccessat(fd, "", W_OK, AT_EACCESS | AT_EMPTY_PATH) == 0;
}

static int count_window(int fd, struct qimg_range window, uint64_t page, uint8_t *present,
                        uint64_t *cached)
{
    void *at = mmap(NULL, window.len, PROT_READ, MAP_SHARED, fd, (off_t)window.off);

    if (at == MAP_FAILED)
        return -errno;
    const int rc = mincore(at, window.len, present) < 0 ? -errno : 0;
    munmap(at, window.len);
    for (uint64_t i = 0; rc == 0 && i * page < window.len; i++)
        *cached += present[i] & 1 ? page : 0;
    return rc;
}

static int count_cached(int fd, uint64_t size, uint64_t *out)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    AUTO_FREE uint8_t *present = malloc(WINDOW / page);
    uint64_t cached = 0;

    if (!present)
        return -ENOMEM;
    for (uint64_t off = 0; off < size; off += WINDOW) {
        const struct qimg_range window = { off, min_u64(WINDOW, size - off) };
        TRY(count_window(fd, window, page, present, &cached));
    }
    *out = cached;
    return 0;
}

int posix_uncache(struct io_file *base, uint64_t *cached)
{
    struct posix_file *file = posix_file(base);
    struct io_stat stat;

    *cached = IO_CACHED_UNKNOWN;
    TRY(io_stat(base, &stat));
    const int fd = posix_pin(file);
    if (fd < 0)
        return fd;
    const int rc = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (rc == 0 && may_look(fd) && count_cached(fd, stat.size, cached) < 0)
        *cached = IO_CACHED_UNKNOWN;
    posix_unpin(file);
    return -rc;
}

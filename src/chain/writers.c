/* SPDX-License-Identifier: Apache-2.0
 *
 * Two sources. The open files of processes tell exactly who writes, but those of other users only
 * to root. /proc/locks tells of everybody that somebody holds byte 101, QEMU's sign of a writer,
 * but of the locks that QEMU takes not who.
 */
#include "writers.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "proc.h"
#include "vec.h"

#define WRITE_BYTE 101 /* held while permission "write" is in use */
#define NOBODY     (-1)

/* One open file of a process; with fd NOBODY a lock, whose pid may be NOBODY too. */
struct holder {
    uint64_t device, inode;
    int pid, fd;
};

DEFINE_VEC(holder_vec, struct holder)

struct writers {
    struct holder_vec holders; /* sorted by device and inode */
};

/* --- looking ---------------------------------------------------------------------------------- */

static int add_open_file(void *user, struct proc_file open)
{
    const bool device = S_ISBLK(open.st->st_mode);
    return holder_vec_push(user,
                           (struct holder){ .device = device ? UINT64_MAX : open.st->st_dev,
                                            .inode = device ? open.st->st_rdev : open.st->st_ino,
                                            .pid = open.pid,
                                            .fd = open.fd });
}

/* "1: OFDLCK  ADVISORY  READ -1 fd:00:1234 101 101" */
static int add_lock(struct holder_vec *out, const char *line)
{
    unsigned major, minor;
    uint64_t inode, first, last = UINT64_MAX;
    int pid;
    char end[24];
    const int got = sscanf(line, "%*u: %*s %*s %*s %d %x:%x:%" SCNu64 " %" SCNu64 " %23s", &pid,
                           &major, &minor, &inode, &first, end);
    if (got != 6)
        return 0;
    if (strcmp(end, "EOF") != 0)
        last = strtoull(end, NULL, 10);
    if (WRITE_BYTE < first || WRITE_BYTE > last || pid == getpid())
        return 0;
    return holder_vec_push(
        out, (struct holder){
                 .device = makedev(major, minor), .inode = inode, .pid = pid, .fd = NOBODY });
}

static int add_locks(struct holder_vec *out)
{
    AUTO(proc_close) FILE *locks = fopen("/proc/locks", "re");
    char line[256];
    if (!locks)
        return 0;
    while (fgets(line, sizeof(line), locks))
        TRY(add_lock(out, line));
    return 0;
}

static int by_file(const void *a, const void *b)
{
    const struct holder *x = a, *y = b;
    return x->device != y->device ? compare_u64(x->device, y->device)
                                  : compare_u64(x->inode, y->inode);
}

int writers_new(struct writers **out)
{
    struct writers *writers = calloc(1, sizeof(*writers));
    int rc = writers ? proc_each_file(add_open_file, &writers->holders) : -ENOMEM;
    if (rc == 0)
        rc = add_locks(&writers->holders);
    if (rc < 0) {
        writers_free(writers);
        return rc;
    }
    if (writers->holders.count > 0)
        qsort(writers->holders.items, writers->holders.count, sizeof(struct holder), by_file);
    *out = writers;
    return 0;
}

void writers_free(struct writers *writers)
{
    if (!writers)
        return;
    holder_vec_release(&writers->holders);
    free(writers);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Is that file of that process still open, and for writing? */
static bool writes(const struct holder *holder)
{
    char line[128];
    unsigned flags = O_RDONLY;
    AUTO(proc_close) FILE *info = proc_file_info(holder->pid, holder->fd);
    while (info && fgets(line, sizeof(line), info))
        if (sscanf(line, "flags: %o", &flags) == 1)
            break;
    return (flags & O_ACCMODE) != O_RDONLY;
}

static const struct holder *first_of(const struct writers *writers,
                                     const struct qimg_chain_file *file)
{
    size_t low = 0, high = writers->holders.count;
    const struct holder wanted = { .device = file->device, .inode = file->inode };
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (by_file(&writers->holders.items[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return writers->holders.items + low;
}

int writers_find(const struct writers *writers, const struct qimg_chain_file *file, char **out)
{
    const struct holder wanted = { .device = file->device, .inode = file->inode };
    const struct holder *end = writers->holders.items + writers->holders.count;
    const struct holder *found = NULL;
    *out = NULL;
    if (!file->there || writers->holders.count == 0)
        return 0;
    for (const struct holder *h = first_of(writers, file); h < end && by_file(h, &wanted) == 0;
         h++) {
        const bool lock = h->fd == NOBODY;
        if (!lock && !writes(h))
            continue;
        if (!found || found->pid == NOBODY)
            found = h;
    }
    if (!found)
        return 0;
    *out = found->pid == NOBODY ? strdup("a process that only root may look into")
                                : proc_name(found->pid);
    return *out ? 0 : -ENOMEM;
}

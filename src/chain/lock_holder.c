/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_holder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "proc.h"
#include "str.h"

struct search {
    const struct io_file *file;
    unsigned byte;
    int pid;     /* found; 0 = not yet */
    bool others; /* hold it too */
};

static bool is_file(const struct io_file *file, const struct stat *st)
{
    if (file->is_device)
        return S_ISBLK(st->st_mode) && st->st_rdev == file->rdev;
    return S_ISREG(st->st_mode) && st->st_dev == file->device && st->st_ino == file->inode;
}

/* "lock:\t1: OFDLCK  ADVISORY  READ -1 fd:00:1234 101 101". Locks of whole files (FLOCK, LEASE) are
 * in nobody's way. */
static bool covers(const char *line, unsigned byte)
{
    char kind[8];
    uint64_t first, last;
    const int got =
        sscanf(line, "lock: %*u: %7s %*s %*s %*d %*s %" SCNu64 " %" SCNu64, kind, &first, &last);
    if (got < 2 || (strcmp(kind, "OFDLCK") != 0 && strcmp(kind, "POSIX") != 0))
        return false;
    return first <= byte && (got == 2 || byte <= last); /* 2: up to "EOF" */
}

static int look(void *user, struct proc_file open)
{
    struct search *search = user;
    char line[256];
    if (open.pid == search->pid || !is_file(search->file, open.st))
        return 0;
    AUTO(proc_close) FILE *info = proc_file_info(open.pid, open.fd);
    while (info && fgets(line, sizeof(line), info)) {
        if (!covers(line, search->byte))
            continue;
        if (search->pid)
            search->others = true;
        else
            search->pid = open.pid;
        return 0;
    }
    return 0;
}

char *lock_holder(const struct io_file *file, unsigned byte)
{
    struct search search = { .file = file, .byte = byte };
    if (proc_each_file(look, &search) < 0 || search.pid == 0)
        return NULL;
    if (!search.others)
        return proc_name(search.pid);
    AUTO_FREE char *first = proc_name(search.pid);
    return first ? str_format("%s and others", first) : NULL;
}

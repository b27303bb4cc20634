/* SPDX-License-Identifier: Apache-2.0 */
#include "proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "str.h"

static void cleanup_dir(DIR *const *dir)
{
    if (*dir)
        (void)closedir(*dir);
}

/* A name of digits alone as a number, else -1. */
static int number_of(const char *name)
{
    char *end;
    const long value = strtol(name, &end, 10);
    return *name >= '0' && *name <= '9' && *end == '\0' && value <= INT_MAX ? (int)value : -1;
}

static int visit_process(int proc, int pid, proc_file_fn visit, void *user)
{
    char path[64];
    const struct dirent *entry;
    struct stat st;
    (void)snprintf(path, sizeof(path), "%d/fd", pid);
    const int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(cleanup_dir) DIR *fds = fd >= 0 ? fdopendir(fd) : NULL;
    if (!fds)
        return 0; /* gone, or somebody else's */
    while ((entry = readdir(fds))) {
        const int number = number_of(entry->d_name);
        if (number < 0 || fstatat(fd, entry->d_name, &st, 0) < 0)
            continue;
        if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
            TRY(visit(user, (struct proc_file){ pid, number, &st }));
    }
    return 0;
}

int proc_each_file(proc_file_fn visit, void *user)
{
    const struct dirent *entry;
    AUTO(cleanup_dir) DIR *proc = opendir("/proc");
    if (!proc)
        return 0;
    while ((entry = readdir(proc))) {
        const int pid = number_of(entry->d_name);
        if (pid >= 0 && pid != getpid())
            TRY(visit_process(dirfd(proc), pid, visit, user));
    }
    return 0;
}

FILE *proc_file_info(int pid, int fd)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
    return fopen(path, "re");
}

char *proc_name(int pid)
{
    char path[64], name[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    AUTO(proc_close) FILE *comm = fopen(path, "re");
    if (!comm || !fgets(name, sizeof(name), comm))
        return str_format("process %d", pid);
    name[strcspn(name, "\n")] = '\0';
    return str_format("%s (process %d)", name, pid);
}

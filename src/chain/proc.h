/* SPDX-License-Identifier: Apache-2.0
 *
 * What /proc tells of processes, as far as we may look.
 */
#ifndef CHAIN_PROC_H
#define CHAIN_PROC_H

#include <stdio.h>
#include <sys/stat.h>

#include "fail.h"

struct proc_file {
    int pid, fd;
    const struct stat *st;
};

typedef int (*proc_file_fn)(void *user, struct proc_file file);

/* Visits each regular file and block device that a process, but for our own, has open, until one
 * visit fails; returns that failure, else 0. Processes of other users are left out. */
MUST_CHECK int proc_each_file(proc_file_fn visit, void *user);

/* What is known of an open file, to be closed; NULL where it is gone. */
FILE *proc_file_info(int pid, int fd);

/* "qemu-system-x86 (process 4711)", to be freed; NULL: no memory. */
char *proc_name(int pid);

static inline void proc_close(FILE *const *file)
{
    if (*file)
        (void)fclose(*file);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the program gives up before it looks at an image: Landlock takes away the files that the
 * command has no business with (and TCP, abstract sockets, signals to others), a seccomp filter
 * takes away system calls that it never makes: starting programs, sockets, ptrace, ... and, where
 * nothing at all is to be written, opening files for that. Neither can be taken back, and threads
 * started later are inside too. A kernel that has neither, or a host that forbids them, leaves the
 * program as it was; the caller is told. docs/confinement.md has the whole of it.
 */
#ifndef TOOLS_SANDBOX_H
#define TOOLS_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

enum sandbox_files {
    SANDBOX_READS,    /* nothing is written but what the places below allow */
    SANDBOX_REWRITES, /* files that are there already are written too, wherever they are */
    SANDBOX_ANYTHING, /* files are made, renamed and removed as well */
};

enum sandbox_right {
    SANDBOX_READ,
    SANDBOX_WRITE, /* a file, or all that is in a directory */
    SANDBOX_MAKE,  /* in a directory: files are made and removed there too */
};

struct sandbox_place {
    const char *path; /* what is not there is passed over */
    enum sandbox_right right;
};

struct sandbox_plan {
    enum sandbox_files files;
    bool bounded;  /* nothing is read either but what the places allow */
    bool programs; /* other programs may be started; they inherit all the rest */
    bool inspects; /* other processes are looked at, which Landlock would hide, and files as another
                    * user sees them: the filter is all there is */
    bool io_uring; /* a ring may be set up: what goes through one, the filter does not see, so that
                    * there is Landlock whatever is looked at */
    const struct sandbox_place *places;
    size_t place_count;
};

struct sandbox_state {
    int landlock; /* the kernel's version of it (1, ...); 0: the filter does without it; else -errno
                   */
    int filter;   /* 0, or -errno */
};

/* Confines the calling thread and all that it starts from now on. */
struct sandbox_state sandbox_enter(const struct sandbox_plan *plan);

/* Is nothing at all to be written? */
bool sandbox_reads_only(const struct sandbox_plan *plan);

/* The two halves. sandbox_filter() may be called again to take more away. */
int sandbox_landlock(const struct sandbox_plan *plan);
int sandbox_filter(const struct sandbox_plan *plan);

#endif

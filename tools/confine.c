/* SPDX-License-Identifier: Apache-2.0
 *
 * From what a command will do to the plan of a sandbox. A name that is no plain path (json:,
 * file:, a list of options) is not taken apart here, before anything is confined: then existing
 * files may be written, or read, wherever they are. So may they where an image in place has a data
 * file and no --allow-dir says where such may lie: only the image knows its name.
 */
#include "confine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The bytes that locks of images lie on, QEMU's, but the first: who reads is in nobody's way. */
#define LOCKS_AT     101
#define LOCKS_LENGTH 199

/* What the program itself reads late: a library that is loaded when it is first used (ISA-L),
 * processors that are online, who holds a lock. */
static const char *const own_reads[] = { "/usr/lib",
                                         "/usr/lib64",
                                         "/lib",
                                         "/lib64",
                                         "/usr/local/lib",
                                         "/etc/ld.so.cache",
                                         "/proc",
                                         "/sys/devices/system/cpu",
                                         NULL };

static void add(struct tool *tool, const char *path, size_t length, enum sandbox_right right)
{
    struct confine *c = &tool->confine;
    if (c->no_memory)
        return;
    struct sandbox_place *grown = reallocarray(c->places, c->count + 1, sizeof(*c->places));
    char *copy = strndup(path, length);
    if (grown)
        c->places = grown;
    if (!grown || !copy) {
        free(copy);
        c->no_memory = true;
        return;
    }
    c->places[c->count++] = (struct sandbox_place){ copy, right };
}

static bool is_path(const char *name, bool image_opts)
{
    return !image_opts && name[strcspn(name, ":/")] != ':';
}

static void at_least(struct tool *tool, enum sandbox_files files)
{
    if (tool->confine.files < files)
        tool->confine.files = files;
}

void confine_reads(struct tool *tool, const char *name, bool image_opts)
{
    tool->confine.told_reads = true;
    if (is_path(name, image_opts))
        add(tool, name, strlen(name), SANDBOX_READ);
    else
        tool->confine.obscure = true;
}

void confine_reads_nothing(struct tool *tool)
{
    tool->confine.reads_nothing = true;
}

void confine_changes_named(struct tool *tool)
{
    tool->confine.changes_named = true;
}

void confine_changes_any(struct tool *tool)
{
    at_least(tool, SANDBOX_REWRITES);
}

/* Does somebody hold a lock on it? Then the command fails, and says who, for which it looks at
 * other processes. */
static bool is_in_use(const char *name)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKS_AT, .l_len = LOCKS_LENGTH
    };
    const int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const bool in_use = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0)
        close(fd);
    return in_use;
}

void confine_changes(struct tool *tool, const char *name, bool image_opts)
{
    if (!is_path(name, image_opts)) {
        confine_changes_any(tool);
        return;
    }
    add(tool, name, strlen(name), SANDBOX_WRITE);
    tool->confine.inspects |= is_in_use(name);
    if (!tool->options.gate.no_data_file && qimg_may_have_data_file(name))
        confine_changes_named(tool);
}

/* Up to its last slash. */
static size_t directory_length(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? (size_t)(slash - name) + 1 : 0;
}

void confine_makes(struct tool *tool, const char *name)
{
    struct stat st;
    const size_t length = directory_length(name);
    if (!is_path(name, false) || (stat(name, &st) < 0 && lstat(name, &st) == 0)) {
        confine_anything(tool); /* a link to what is not there is made where it leads */
        return;
    }
    add(tool, name, strlen(name), SANDBOX_WRITE);
    tool->confine.inspects |= is_in_use(name);
    if (stat(name, &st) < 0)
        add(tool, length ? name : ".", length ? length : 1, SANDBOX_MAKE);
    else
        add(tool, length ? name : ".", length ? length : 1, SANDBOX_READ); /* to sync it */
}

void confine_makes_beside(struct tool *tool, const char *image, const char *name)
{
    char *path = NULL;
    const bool joined = name && *name != '/' && tool->options.gate.policy != QIMG_POLICY_QEMU;
    if (!name)
        return;
    if (asprintf(&path, "%.*s%s", joined ? (int)directory_length(image) : 0, image, name) < 0) {
        tool->confine.no_memory = true;
        return;
    }
    confine_makes(tool, path);
    free(path);
}

void confine_anything(struct tool *tool)
{
    at_least(tool, SANDBOX_ANYTHING);
}

void confine_inspects(struct tool *tool)
{
    tool->confine.inspects = true;
}

void confine_programs(struct tool *tool)
{
    tool->confine.programs = true;
}

/* --- the sandbox ---------------------------------------------------------------------------- */

static struct sandbox_plan plan_of(struct tool *tool)
{
    const struct confine *c = &tool->confine;
    const bool direct_ring = c->direct && tool->options.engine == QIMG_ENGINE_AUTO;
    return (struct sandbox_plan){
        .files = c->files,
        .bounded = tool->allow_dirs[0] && c->told_reads && !c->obscure,
        .programs = c->programs,
        .inspects = c->inspects,
        .io_uring = direct_ring || tool->options.engine == QIMG_ENGINE_IO_URING,
    };
}

/* Where images that are named may lie, and what the program itself needs. */
static void add_named(struct tool *tool, const struct sandbox_plan *plan)
{
    const enum sandbox_right right = tool->confine.changes_named ? SANDBOX_WRITE : SANDBOX_READ;
    if (tool->confine.changes_named && !tool->allow_dirs[0])
        confine_changes_any(tool);
    for (const char *const *dir = tool->allow_dirs; *dir; dir++)
        add(tool, *dir, strlen(*dir), right);
    for (const char *const *path = own_reads; plan->bounded && *path; path++)
        add(tool, *path, strlen(*path), SANDBOX_READ);
    if (plan->bounded)
        tzset(); /* reads a file */
}

static const char *files_text(const struct sandbox_plan *plan)
{
    if (plan->files == SANDBOX_ANYTHING)
        return "files as the user may";
    if (plan->files == SANDBOX_REWRITES)
        return "no new files";
    if (plan->bounded)
        return "reads and writes what was named only";
    return sandbox_reads_only(plan) ? "writes nothing" : "writes what was named only";
}

static void tell(const struct tool *tool, const struct sandbox_plan *plan,
                 struct sandbox_state state)
{
    const bool filtered = state.filter == 0, by_filter = filtered && sandbox_reads_only(plan);
    const bool held = state.landlock > 0 || by_filter;
    fprintf(stderr, "%s: sandbox: %s (", tool->name,
            held ? files_text(plan) : "files as the user may");
    if (state.landlock > 0)
        fprintf(stderr, "Landlock %d)\n", state.landlock);
    else if (state.landlock == 0)
        fprintf(stderr, "without Landlock, which would hide other processes)\n");
    else
        fprintf(stderr, "no Landlock: %s)\n", strerror(-state.landlock));
    if (filtered)
        fprintf(stderr, "%s: sandbox: system calls are filtered%s%s\n", tool->name,
                plan->io_uring ? ", io_uring is not" : "",
                plan->programs ? ", programs may be started" : "");
    else
        fprintf(stderr, "%s: sandbox: no filter of system calls: %s\n", tool->name,
                strerror(-state.filter));
}

static int enter(struct tool *tool)
{
    struct confine *c = &tool->confine;
    if (c->reads_nothing && c->mode == CONFINE_AS_FAR_AS_CAN) {
        if (tool->verbose)
            fprintf(stderr, "%s: sandbox: not needed, no image is read\n", tool->name);
        return EXIT_DONE;
    }
    struct sandbox_plan plan = plan_of(tool);
    add_named(tool, &plan);
    if (c->no_memory)
        return tool_fail(tool, "out of memory");
    plan.files = c->files;
    plan.places = c->places;
    plan.place_count = c->count;
    const struct sandbox_state state = sandbox_enter(&plan);
    if (tool->verbose)
        tell(tool, &plan, state);
    if (c->mode != CONFINE_REQUIRED || (state.landlock >= 0 && state.filter == 0))
        return EXIT_DONE;
    return tool_fail(tool, "The sandbox cannot be had: %s: %s",
                     state.landlock >= 0 ? "filtering system calls" : "Landlock",
                     strerror(state.landlock >= 0 ? -state.filter : -state.landlock));
}

int confine_enter(struct tool *tool)
{
    struct confine *c = &tool->confine;
    const int code = c->mode == CONFINE_OFF || c->entered ? EXIT_DONE : enter(tool);
    c->entered = true;
    for (size_t i = 0; i < c->count; i++)
        free((void *)(uintptr_t)c->places[i].path);
    free(c->places);
    c->places = NULL;
    c->count = 0;
    return code;
}

void confine_no_more_programs(struct tool *tool)
{
    tool->confine.programs = false;
    const struct sandbox_plan plan = plan_of(tool);
    if (tool->confine.mode != CONFINE_OFF)
        (void)sandbox_filter(&plan);
}

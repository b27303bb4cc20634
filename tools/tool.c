/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages on stderr, and the context that the global options describe. Every message passes
 * text_show(), since it may quote an image.
 */
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "confine.h"
#include "text.h"

/* What --version says where the program is called qemu-img: scripts parse it. */
#define QEMU_SURFACE_VERSION "10.2.50"

#define DEFAULT_MAP_BUDGET (32 << 20) /* the library's, where nobody says */

static void say(const char *prefix, const char *between, const char *text)
{
    text_show(stderr, prefix);
    fputs(between, stderr);
    text_show(stderr, text);
    putc('\n', stderr);
}

TOOL_PRINTF(3, 0)
static void say_format(const struct tool *tool, const char *between, const char *fmt, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    say(tool->name, between, text ? text : "out of memory");
    free(text);
}

int tool_fail(const struct tool *tool, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_format(tool, ": ", fmt, ap);
    va_end(ap);
    return EXIT_FAILED;
}

int tool_try_help(const struct tool *tool)
{
    fputs("Try '", stderr);
    text_show(stderr, tool->typed);
    fputs(" --help' for more information\n", stderr);
    return EXIT_FAILED;
}

int tool_fail_usage(const struct tool *tool, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_format(tool, ": ", fmt, ap);
    va_end(ap);
    return tool_try_help(tool);
}

/* A hint may have several lines; within a line nothing is trusted. */
static void say_lines(const char *lines)
{
    char *copy = strdup(lines);
    if (!copy)
        return;
    char *rest = copy, *line;
    while ((line = strsep(&rest, "\n"))) {
        if (!*line && !rest)
            break;
        text_show(stderr, line);
        putc('\n', stderr);
    }
    free(copy);
}

void tool_print_hint(const struct tool *tool, const struct qimg_error *err)
{
    if (err->hint[0])
        say_lines(err->hint);
    if (err->advice[0] && !tool->as_qemu)
        say_lines(err->advice);
}

int tool_fail_error(const struct tool *tool, const char *where, const struct qimg_error *err)
{
    tool_fail(tool, "%s%s", where, err->text);
    tool_print_hint(tool, err);
    if (err->code == ENOMEM && tool->memory_limit)
        fprintf(stderr, "The limit is --memory-limit=%" PRIu64 "\n", tool->memory_limit);
    return EXIT_FAILED;
}

void tool_advise(const struct tool *tool, const char *fmt, ...)
{
    va_list ap;
    if (tool->as_qemu || !isatty(STDERR_FILENO))
        return;
    va_start(ap, fmt);
    say_format(tool, ": try: ", fmt, ap);
    va_end(ap);
}

void tool_warn(const struct tool *tool, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_format(tool, ": warning: ", fmt, ap);
    va_end(ap);
}

/* Called by the library from any thread; stdio locks each call. */
static void note(void *user, enum qimg_note_level level, const char *text)
{
    const struct tool *tool = user;
    if (level == QIMG_NOTE_WARNING)
        tool_warn(tool, "%s", text);
    else if (level == QIMG_NOTE_PLAIN)
        say_lines(text);
    else if (tool->verbose)
        say(tool->name, ": ", text);
}

/* Address space is what the kernel can hold us to whatever asks for memory, ours and libraries';
 * malloc() fails in time, and each such failure is an error like others. */
static void limit_memory(struct tool *tool)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
    const uint64_t most = tool->memory_limit / 4;
    uint64_t *budget = &tool->options.map_budget;
    if (!tool->memory_limit)
        return;
    if (*budget > most || (*budget == 0 && most < DEFAULT_MAP_BUDGET))
        *budget = most;
    (void)getrlimit(RLIMIT_AS, &limit);
    if (limit.rlim_max > tool->memory_limit)
        limit.rlim_cur = limit.rlim_max = tool->memory_limit;
    (void)setrlimit(RLIMIT_AS, &limit);
}

int tool_context(struct tool *tool, struct qimg_context **out)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    limit_memory(tool);
    struct qimg_context_options options = tool->options;
    options.note = note;
    options.note_user = tool;
    if (tool->allow_dirs[0])
        options.gate.allow_dirs = tool->allow_dirs;
    if (tool->allow_formats[0])
        options.gate.allow_formats = tool->allow_formats;
    if (confine_enter(tool))
        return EXIT_FAILED;
    if (qimg_context_new(&options, out, &err) < 0)
        return tool_fail_error(tool, "", &err);
    return EXIT_DONE;
}

void tool_print_version(const struct tool *tool)
{
    printf("%s version %s\n", tool->name, tool->as_qemu ? QEMU_SURFACE_VERSION : qimg_version());
    if (tool->as_qemu)
        printf("qimg %s, compatible with QEMU " QEMU_SURFACE_VERSION "\n", qimg_version());
}

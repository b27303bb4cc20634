/* SPDX-License-Identifier: Apache-2.0
 *
 * The running program: what it is called, its global options, and how it speaks on stderr. There
 * is one, made by main() and handed to everything.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <stdbool.h>
#include <stdio.h>

#include "exit.h"
#include "qimg/qimg.h"
#include "sandbox.h"

#define TOOL_LIST_MAX 64 /* --allow-dir and --allow-format, each */

struct command;

enum confine_mode {
    CONFINE_AS_FAR_AS_CAN, /* what the kernel has of it */
    CONFINE_REQUIRED,
    CONFINE_OFF,
};

/* What the command said that it will do to files (confine.h). */
struct confine {
    enum confine_mode mode;
    enum sandbox_files files;
    bool reads_nothing; /* of what anybody wrote into an image */
    bool told_reads;    /* all images that the user named are among the places */
    bool obscure;       /* one of them is no plain path */
    bool changes_named; /* what an image names is written too */
    bool programs, inspects, no_memory, entered;
    bool direct; /* a cache mode asks for O_DIRECT, for which the engine likes a ring */
    struct sandbox_place *places;
    size_t count;
};

struct tool {
    const char *name;  /* last part of argv[0]: messages begin with it */
    const char *typed; /* argv[0] as typed, with the subcommand behind it once that is known */
    const struct command *command; /* NULL before the subcommand is known */
    bool as_qemu;                  /* called qemu-img or qemu-io: QEMU's policy, QEMU's version */
    bool verbose;
    int exit_code; /* where opt_parse() says that there is nothing left to do */
    struct qimg_context_options options;
    struct confine confine;
    uint64_t memory_limit; /* bytes of address space; 0 = none of our own */
    const char *allow_dirs[TOOL_LIST_MAX + 1];
    const char *allow_formats[TOOL_LIST_MAX + 1];
};

struct command {
    const char *name;
    int (*run)(struct tool *tool, int argc, char **argv);
    const char *operands;
    const char *summary;
};

/* All subcommands, sorted by name; ends with a NULL name. */
extern const struct command tool_commands[];

#define COMMAND(name, operands, summary) int cmd_##name(struct tool *tool, int argc, char **argv);
#include "commands.def"
#undef COMMAND

#define TOOL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* "NAME: TEXT" on stderr. Returns EXIT_FAILED. */
int tool_fail(const struct tool *tool, const char *fmt, ...) TOOL_PRINTF(2, 3);

/* The same with "Try '... --help' for more information" below it. */
int tool_fail_usage(const struct tool *tool, const char *fmt, ...) TOOL_PRINTF(2, 3);

/* That last line alone. */
int tool_try_help(const struct tool *tool);

/* Prints what the library says, with its hints. @where "" or "image.qcow2: ". */
int tool_fail_error(const struct tool *tool, const char *where, const struct qimg_error *err);

/* The hints alone, a line each, and under our own name the advice. */
void tool_print_hint(const struct tool *tool, const struct qimg_error *err);

/* A line of advice that qemu-img does not give: only under our own name, and on a terminal. */
void tool_advise(const struct tool *tool, const char *fmt, ...) TOOL_PRINTF(2, 3);

/* "NAME: warning: TEXT" */
void tool_warn(const struct tool *tool, const char *fmt, ...) TOOL_PRINTF(2, 3);

/* Enters the sandbox and makes the context that the global options ask for. Returns EXIT_DONE, or
 * EXIT_FAILED after saying why. */
int tool_context(struct tool *tool, struct qimg_context **out);

/* --version */
void tool_print_version(const struct tool *tool);

#endif

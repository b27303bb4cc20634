/* SPDX-License-Identifier: Apache-2.0
 *
 * The dispatcher: who am I called, what do the global options say, which subcommand is meant.
 * Called qemu-img it is qemu-img (QEMU's policy and version); called qemu-io it is `qimg io`.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "job.h"
#include "opt.h"
#include "streams.h"

const struct command tool_commands[] = {
#define COMMAND(name, operands, summary) { #name, cmd_##name, operands, summary },
#include "commands.def"
#undef COMMAND
    { NULL, NULL, NULL, NULL },
};

#define MEMORY_LEAST (16 << 20) /* with less the libraries alone hardly fit */
#define LIST_WIDE    75         /* columns of the list of formats */

static void print_formats(void)
{
    size_t column = LIST_WIDE;
    printf("\nSupported image formats:");
    for (const char *const *format = qimg_formats(); *format; format++) {
        size_t len = strlen(*format) + 1;
        if (column + len > LIST_WIDE) {
            printf("\n ");
            column = 1;
        }
        column += len;
        printf(" %s", *format);
    }
    printf("\n\n");
}

static const struct opt_row global_rows[];

static int print_help(struct tool *tool, void *slot, const char *value)
{
    (void)slot, (void)value;
    tool_print_version(tool);
    printf("Disk image utility.  Usage:\n\n  %s [standard options] COMMAND "
           "[--help | command options]\n\nStandard options:\n",
           tool->name);
    opt_print_rows(global_rows);
    printf("\nHow the work is done (also behind COMMAND):\n");
    opt_print_rows(opt_engine_rows);
    printf("\nWhat may be opened because an image names it (also behind COMMAND):\n");
    opt_print_rows(opt_gate_rows);
    printf("\nCommands (%s COMMAND --help tells more):\n\n", tool->name);
    for (const struct command *c = tool_commands; c->name; c++)
        printf("  %s - %s\n", c->name, c->summary);
    print_formats();
    exit(streams_close(tool, EXIT_DONE));
}

static int print_version(struct tool *tool, void *slot, const char *value)
{
    (void)slot, (void)value;
    tool_print_version(tool);
    exit(streams_close(tool, EXIT_DONE));
}

/* @origin is what the user knows @value by. */
static int choose_engine(struct tool *tool, const char *origin, const char *value)
{
    static const char *const names[] = { "auto", "io_uring", "threads" };
    static const enum qimg_engine engines[] = { QIMG_ENGINE_AUTO, QIMG_ENGINE_IO_URING,
                                                QIMG_ENGINE_THREADS };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i]) == 0) {
            tool->options.engine = engines[i];
            return EXIT_DONE;
        }
    }
    return tool_fail_usage(tool, "%s expects 'auto', 'io_uring' or 'threads', not '%s'", origin,
                           value);
}

static int set_engine(struct tool *tool, void *slot, const char *value)
{
    (void)slot;
    return choose_engine(tool, "--engine", value);
}

/* @origin is what the user knows @value by. */
static int choose_sandbox(struct tool *tool, const char *origin, const char *value)
{
    static const char *const names[] = {
        [CONFINE_AS_FAR_AS_CAN] = "auto", [CONFINE_REQUIRED] = "require", [CONFINE_OFF] = "off"
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i]) == 0) {
            tool->confine.mode = (enum confine_mode)i;
            return EXIT_DONE;
        }
    }
    return tool_fail_usage(tool, "%s expects 'auto', 'require' or 'off', not '%s'", origin, value);
}

static int set_sandbox(struct tool *tool, void *slot, const char *value)
{
    (void)slot;
    return choose_sandbox(tool, "--sandbox", value);
}

static int set_threads(struct tool *tool, void *slot, const char *value)
{
    uint64_t count;
    if (args_number(tool, "number of threads", value, (struct args_bounds){ 1, 1024 }, &count))
        return EXIT_FAILED;
    *(unsigned *)slot = (unsigned)count;
    return EXIT_DONE;
}

static int set_memory_limit(struct tool *tool, void *slot, const char *value)
{
    return args_size_within(tool, "memory limit", value,
                            (struct args_bounds){ MEMORY_LEAST, INT64_MAX }, slot);
}

static int set_compat(struct tool *tool, void *slot, const char *value)
{
    if (strcmp(value, "qemu") != 0)
        return tool_fail_usage(tool, "--compat expects 'qemu', not '%s'", value);
    *(enum qimg_policy *)slot = QIMG_POLICY_QEMU;
    return EXIT_DONE;
}

static const struct opt_row global_rows[] = {
    { OPT_CALL, 'h', "help", NULL, "display this help and exit", 0, print_help },
    { OPT_CALL, 'V', "version", NULL, "display the version and exit", 0, print_version },
    { OPT_IGNORED, 'T', "trace", "TRACE", "accepted for compatibility, not used", 0, NULL },
    { OPT_FLAG, 'v', "verbose", NULL,
      "say on stderr what was read and written, and what helps to explain it",
      offsetof(struct tool, verbose), NULL },
    OPT_ROWS_END,
};

const struct opt_row opt_engine_rows[] = {
    { OPT_CALL, 0, "engine", "ENGINE",
      "do input and output by 'io_uring' or 'threads' (default: auto, or the\n"
      "environment variable QIMG_ENGINE)",
      0, set_engine },
    { OPT_CALL, 0, "threads", "N", "use at most N worker threads (default: one a processor)",
      offsetof(struct tool, options.threads), set_threads },
    { OPT_CALL, 0, "map-budget", "SIZE", "memory for the merged map of each chain (default: 32M)",
      offsetof(struct tool, options.map_budget), opt_set_size },
    { OPT_CALL, 0, "memory-limit", "SIZE",
      "use at most SIZE of address space (at least 16M); a fourth of it is the most that\n"
      "the merged map of a chain takes",
      offsetof(struct tool, memory_limit), set_memory_limit },
    { OPT_CALL, 0, "compat", "qemu", "open what images name as QEMU does",
      offsetof(struct tool, options.gate.policy), set_compat },
    { OPT_CALL, 0, "sandbox", "MODE",
      "before an image is read, give up what the command does not need: 'auto' as far\n"
      "as the kernel can, 'require' or fail, 'off' (default: auto, or the environment\n"
      "variable QIMG_SANDBOX)",
      0, set_sandbox },
    OPT_ROWS_END,
};

/* @name is argv[0] as typed. */
static void tool_init(struct tool *tool, const char *name)
{
    const char *slash = strrchr(name, '/');
    *tool = (struct tool){ .name = slash ? slash + 1 : name, .typed = name };
    tool->as_qemu = strcmp(tool->name, "qemu-img") == 0 || strcmp(tool->name, "qemu-io") == 0;
    tool->options.gate.policy = tool->as_qemu ? QIMG_POLICY_QEMU : QIMG_POLICY_STRICT;
}

static const struct command *find_command(const char *name)
{
    for (const struct command *c = tool_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

/* Runs @command with @argv[0] made "TYPED COMMAND", which getopt's complaints begin with. */
static int run_as(struct tool *tool, const struct command *command, int argc, char **argv)
{
    char *typed = NULL;
    if (asprintf(&typed, "%s %s", tool->typed, command->name) < 0)
        return tool_fail(tool, "out of memory");
    tool->typed = argv[0] = typed;
    tool->command = command;
    int code = command->run(tool, argc, argv);
    free(typed);
    return code;
}

/* `help` and `help COMMAND` are other spellings of --help. */
static int help(struct tool *tool, int argc, char **argv)
{
    char option[] = "--help";
    if (argc == 1)
        return print_help(tool, NULL, NULL);
    const struct command *command = argc == 2 ? find_command(argv[1]) : NULL;
    if (!command)
        return tool_fail_usage(tool, "Command not found: %s", argv[argc - 1]);
    return run_as(tool, command, 2, (char *[]){ argv[1], option, NULL });
}

static int dispatch(struct tool *tool, int argc, char **argv)
{
    const char *engine = getenv("QIMG_ENGINE");
    if (engine && *engine && choose_engine(tool, "QIMG_ENGINE", engine))
        return EXIT_FAILED;
    const char *sandbox = getenv("QIMG_SANDBOX");
    if (sandbox && *sandbox && choose_sandbox(tool, "QIMG_SANDBOX", sandbox))
        return EXIT_FAILED;
    if (strcmp(tool->name, "qemu-io") == 0) {
        tool->command = find_command("io");
        return cmd_io(tool, argc, argv);
    }
    int operands = opt_parse_global(tool, global_rows, argc, argv);
    if (operands < 0)
        return tool->exit_code;
    if (operands == 0)
        return tool_fail_usage(tool, "Not enough arguments");
    if (!tool->as_qemu && strcmp(argv[optind], "help") == 0)
        return help(tool, operands, argv + optind);
    const struct command *command = find_command(argv[optind]);
    if (!command)
        return tool_fail_usage(tool, "Command not found: %s", argv[optind]);
    return run_as(tool, command, operands, argv + optind);
}

int main(int argc, char **argv)
{
    struct tool tool;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not get longer is an error like any other */
    streams_init();
    tool_init(&tool, argc > 0 ? argv[0] : "qimg");
    const int code = streams_close(&tool, dispatch(&tool, argc, argv));
    job_die_if_cancelled();
    return code;
}

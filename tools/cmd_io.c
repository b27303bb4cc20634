/* SPDX-License-Identifier: Apache-2.0
 *
 * io: open an image and run commands on it, from -c or from standard input.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "confine.h"
#include "io.h"
#include "opt.h"

struct io_args {
    const char *format, *cache, *discard, *aio;
    bool image_opts, read_only, snapshot, no_cache, copy_on_read, misaligned, native_aio;
    bool force_share, version, expert;
    const char **commands;
    size_t command_count;
};

static int add_command(struct tool *tool, void *slot, const char *value)
{
    struct io_args *args = slot;
    if (args->command_count % 64 == 0) {
        size_t room = (args->command_count + 64) * sizeof(*args->commands);
        const char **grown = realloc(args->commands, room);
        if (!grown)
            return tool_fail(tool, "out of memory");
        args->commands = grown;
    }
    args->commands[args->command_count++] = value;
    return EXIT_DONE;
}

#define AT(member) offsetof(struct io_args, member)

static const struct opt_row rows[] = {
    { OPT_CALL, 'c', "cmd", "COMMAND", "run COMMAND (may be repeated; 'help' lists them)", 0,
      add_command },
    OPT_IMAGE_ROWS(struct io_args),
    { OPT_FLAG, 'r', "read-only", NULL, "open FILE for reading only", AT(read_only), NULL },
    { OPT_FLAG, 'n', "nocache", NULL, "bypass the host's cache, short for -t none", AT(no_cache),
      NULL },
    { OPT_TEXT, 't', "cache", "CACHE", "cache mode (default: writeback)", AT(cache), NULL },
    OPT_SHARE_ROW(struct io_args),
    { OPT_FLAG, 'm', "misalign", NULL, "read into buffers that are not aligned for O_DIRECT",
      AT(misaligned), NULL },
    { OPT_FLAG, 's', "snapshot", NULL, "throw changes away at the end", AT(snapshot), NULL },
    { OPT_FLAG, 'C', "copy-on-read", NULL, "keep what reading fetches from below", AT(copy_on_read),
      NULL },
    { OPT_FLAG, 'k', "native-aio", NULL, "short for -i native", AT(native_aio), NULL },
    { OPT_FLAG, 'x', NULL, NULL, NULL, AT(expert), NULL },
    { OPT_TEXT, 'i', "aio", "MODE", "threads, native or io_uring: only checked (see --engine)",
      AT(aio), NULL },
    { OPT_TEXT, 'd', "discard", "MODE", "ignore or unmap (default): what discards do", AT(discard),
      NULL },
    { OPT_IGNORED, 'T', "trace", "TRACE", "accepted for compatibility, not used", 0, NULL },
    { OPT_FLAG, 'V', "version", NULL, "display the version and exit", AT(version), NULL },
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

/* One command a line; a prompt before each, as qemu-io gives it also to scripts. */
static int run_stdin(struct io *io)
{
    char *line = NULL;
    size_t room = 0;
    int rc = 0;
    while (!io->done) {
        printf("%s> ", io->tool->name);
        fflush(stdout);
        ssize_t len = getline(&line, &room, stdin);
        if (len < 0)
            break;
        if (len > 0 && line[len - 1] == '\n')
            line[len - 1] = '\0';
        if (io_run_line(io, line) < 0)
            rc = -1;
    }
    free(line);
    return rc;
}

static int run_commands(struct io *io, const struct io_args *args)
{
    int rc = 0;
    if (args->command_count == 0)
        return run_stdin(io);
    for (size_t i = 0; i < args->command_count && !io->done; i++)
        if (io_run_line(io, args->commands[i]) < 0)
            rc = -1;
    return rc;
}

/* Options of the program into those of opening. */
static int open_options(struct io *io, const struct io_args *args, struct io_open *open)
{
    *open = (struct io_open){ .read_only = args->read_only,
                              .copy_on_read = args->copy_on_read,
                              .snapshot = args->snapshot,
                              .native_aio = args->native_aio };
    if (args->no_cache)
        open->options.cache = QIMG_CACHE_NONE;
    io->tool->confine.direct |= args->no_cache;
    if (args->force_share)
        open->options.share = QIMG_SHARE_FORCE;
    if ((args->cache && io_open_letter(io, open, 't', args->cache)) ||
        (args->discard && io_open_letter(io, open, 'd', args->discard)) ||
        (args->aio && io_open_letter(io, open, 'i', args->aio)))
        return EXIT_FAILED;
    open->options.format = args->format;
    open->options.image_opts = args->image_opts;
    if (args->image_opts && args->format)
        return tool_fail(io->tool, "--image-opts and -f are mutually exclusive");
    return EXIT_DONE;
}

static int run(struct tool *tool, const struct io_args *args, const char *file)
{
    struct io io = { .tool = tool, .misaligned = args->misaligned };
    struct io_open open;
    if (open_options(&io, args, &open))
        return EXIT_FAILED;
    confine_changes_any(tool); /* its commands open what they like */
    confine_inspects(tool);    /* so that a lock's holder can be named */
    if (tool_context(tool, &io.context))
        return EXIT_FAILED;
    int rc = file ? io_open_image(&io, file, args->image_opts ? NULL : file, &open) : 0;
    if (rc == 0)
        rc = run_commands(&io, args);
    if (io.image && io_close_image(&io) < 0)
        rc = -1;
    qimg_context_free(io.context);
    return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}

int cmd_io(struct tool *tool, int argc, char **argv)
{
    struct io_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    int code = tool->exit_code;
    if (args.version)
        tool_print_version(tool);
    else if (count > 1)
        code = tool_fail_usage(tool, "Unexpected argument: %s", argv[optind + 1]);
    else if (count >= 0)
        code = run(tool, &args, count ? argv[optind] : NULL);
    free(args.commands);
    return code;
}

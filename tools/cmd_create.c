/* SPDX-License-Identifier: Apache-2.0
 *
 * create: make an image.
 */
#include <getopt.h>

#include "args.h"
#include "confine.h"
#include "opt.h"
#include "text.h"

struct create_args {
    const char *format, *backing, *backing_format;
    bool unchecked, sync, fingerprint, fingerprint_content, quiet;
    struct args_options options;
};

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "format", "FMT", "format of the new image (default: raw)",
      offsetof(struct create_args, format), NULL },
    { OPT_CALL, 'o', "options", "FMT_OPTS",
      "options of the format, key=value,... ('-o help' lists them)",
      offsetof(struct create_args, options), args_options_add },
    { OPT_TEXT, 'b', "backing", "BACKING_FILE",
      "make the image an overlay of BACKING_FILE, which is named relative to FILE",
      offsetof(struct create_args, backing), NULL },
    { OPT_TEXT, 'B', "backing-format", "BACKING_FMT", "format of BACKING_FILE",
      offsetof(struct create_args, backing_format), NULL },
    { OPT_TEXT, 'F', NULL, "BACKING_FMT", NULL, offsetof(struct create_args, backing_format),
      NULL },
    { OPT_FLAG, 'u', "backing-unsafe", NULL, "do not open BACKING_FILE; SIZE must be given then",
      offsetof(struct create_args, unchecked), NULL },
    { OPT_FLAG, 0, "fingerprint", NULL,
      "record what BACKING_FILE is now, so that a change of it is noticed (--verify)",
      offsetof(struct create_args, fingerprint), NULL },
    { OPT_FLAG, 0, "fingerprint-content", NULL, "the same, with a digest of all its content",
      offsetof(struct create_args, fingerprint_content), NULL },
    { OPT_FLAG, 0, "sync", NULL, "do not end before FILE and its name are on stable storage",
      offsetof(struct create_args, sync), NULL },
    OPT_QUIET_ROW(struct create_args),
    OPT_OBJECT_ROW,
    { OPT_OPERAND, 0, "FILE", NULL, "the image to create; an existing file is overwritten", 0,
      NULL },
    { OPT_OPERAND, 0, "SIZE", NULL,
      "size of its disk in bytes, or with a suffix k, M, G, T, P or E (powers of\n"
      "1024); not needed where BACKING_FILE has one",
      0, NULL },
    OPT_ROWS_END,
};

static void announce(void *user, const char *text)
{
    (void)user;
    text_show(stdout, text);
    putchar('\n');
    fflush(stdout); /* so that it comes before an error on stderr */
}

static int create(struct tool *tool, const struct create_args *args, const char *file,
                  const uint64_t *size)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_context *context;
    struct qimg_create_options options = {
        .format = args->format,
        .backing_name = args->backing,
        .backing_format = args->backing_format,
        .backing_unchecked = args->unchecked,
        .sync = args->sync,
        .fingerprint = args->fingerprint,
        .fingerprint_content = args->fingerprint_content,
        .has_size = size != NULL,
        .size = size ? *size : 0,
        .options = args->options.list,
        .option_count = args->options.count,
        .announce = args->quiet ? NULL : announce,
    };
    if (!args->backing && !args_option(&args->options, "backing_file"))
        confine_reads_nothing(tool);
    confine_makes(tool, file);
    confine_makes_beside(tool, file, args_option(&args->options, "data_file"));
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = EXIT_DONE;
    if (qimg_create(context, file, &options, &err) < 0)
        code = tool_fail_error(tool, "", &err);
    qimg_context_free(context);
    return code;
}

static int run(struct tool *tool, struct create_args *args, int count, char **operands)
{
    uint64_t size;
    if (args_options_want_help(&args->options))
        return args_options_help(tool, args->format, count > 0);
    if (count < 1)
        return tool_fail_usage(tool, "Expecting image file name");
    if (count > 1 && args_size(tool, "image size", operands[1], &size))
        return EXIT_FAILED;
    if (count > 2)
        return tool_fail_usage(tool, "Unexpected argument: %s", operands[2]);
    if (args_options_split(tool, &args->options))
        return EXIT_FAILED;
    return create(tool, args, operands[0], count > 1 ? &size : NULL);
}

int cmd_create(struct tool *tool, int argc, char **argv)
{
    struct create_args args = { .format = "raw" };
    int count = opt_parse(tool, rows, &args, argc, argv);
    int code = count < 0 ? tool->exit_code : run(tool, &args, count, argv + optind);
    args_options_release(&args.options);
    return code;
}

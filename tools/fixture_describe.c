/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture describe.
 */
#include <getopt.h>
#include <stdlib.h>

#include "confine.h"
#include "fixture_verbs.h"

struct describe_args {
    struct qimg_fixture_describe_options options;
};

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "format", "FMT", "format of FILE (default: found by its content)",
      offsetof(struct describe_args, options.format), NULL },
    { OPT_FLAG, 0, "backing-chain", NULL, "describe the backing images too",
      offsetof(struct describe_args, options.whole_chain), NULL },
    { OPT_TEXT, 0, "data-file", "NEW_FILE",
      "put data that no pattern makes there (default: random data is described in\n"
      "its place)",
      offsetof(struct describe_args, options.data_name), NULL },
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

static int describe(struct tool *tool, const struct describe_args *args, const char *name)
{
    struct qimg_context *context;
    struct qimg_error err;
    char *text;

    if (args->options.data_name)
        confine_makes(tool, args->options.data_name);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    qimg_error_clear(&err);
    int code = EXIT_DONE;
    if (qimg_fixture_describe(context, name, &args->options, &text, &err) < 0) {
        code = tool_fail_error(tool, "", &err);
    } else {
        fputs(text, stdout);
        free(text);
    }
    qimg_context_free(context);
    return code;
}

int fixture_describe(struct tool *tool, int argc, char **argv)
{
    struct describe_args args = { 0 };
    const int count = opt_parse(tool, rows, &args, argc, argv);

    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    return describe(tool, &args, argv[optind]);
}

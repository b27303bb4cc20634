/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture verify.
 */
#include <getopt.h>
#include <inttypes.h>

#include "confine.h"
#include "fixture_verbs.h"
#include "text.h"

static void print_finding(void *user, const char *file, const char *text)
{
    (void)user;
    text_show(stdout, file);
    fputs(": ", stdout);
    text_show(stdout, text);
    putchar('\n');
}

struct verify_args {
    bool quiet;
};

static const struct opt_row rows[] = {
    OPT_QUIET_ROW(struct verify_args),
    { OPT_OPERAND, 0, "DIR", NULL, "the directory that holds manifest.json", 0, NULL },
    OPT_ROWS_END,
};

int fixture_verify(struct tool *tool, int argc, char **argv)
{
    struct verify_args args = { 0 };
    const int count = opt_parse_ungated(tool, rows, &args, argc, argv);
    struct qimg_fixture_verify_options options = { .finding = print_finding };
    struct qimg_fixture_verify_result result;
    struct qimg_error err;

    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one directory");
    qimg_error_clear(&err);
    options.engine = tool->options.engine;
    options.threads = tool->options.threads;
    if (confine_enter(tool))
        return EXIT_FAILED;
    if (qimg_fixture_verify(argv[optind], &options, &result, &err) < 0)
        return tool_fail_error(tool, "", &err);
    if (!args.quiet)
        printf("%" PRIu64 " images, %" PRIu64 " bytes compared, %" PRIu64 " differences\n",
               result.images, result.bytes_compared, result.findings);
    return result.findings ? EXIT_FAILED : EXIT_DONE;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * chain show: a chain as a tree, or as JSON, and what is wrong with it.
 */
#include <getopt.h>

#include "chain_print.h"
#include "opt.h"

struct show_args {
    const char *format;
    bool image_opts, json;
};

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "format", "FMT", "format of IMAGE (default: found by its content)",
      offsetof(struct show_args, format), NULL },
    { OPT_FLAG, 0, "image-opts", NULL, "IMAGE is a list of options (key=value,...), not a name",
      offsetof(struct show_args, image_opts), NULL },
    OPT_OUTPUT_ROW(struct show_args),
    { OPT_OPERAND, 0, "IMAGE", NULL, "the image at the top of the chain", 0, NULL },
    OPT_ROWS_END,
};

static void print(const struct show_args *args, const struct qimg_chain *chain,
                  const struct qimg_findings *findings)
{
    if (args->json) {
        struct out out = out_json(stdout);
        out_object(&out, NULL);
        chain_print_json(&out, chain);
        chain_print_findings_json(&out, "findings", findings);
        out_close(&out);
        return;
    }
    chain_print_tree(stdout, chain);
    chain_print_findings(stdout, findings);
}

static int show(struct tool *tool, const struct show_args *args, struct qimg_survey *survey,
                const char *name)
{
    const struct qimg_chain_options options = { .format = args->format,
                                                .image_opts = args->image_opts };
    struct qimg_findings findings = { 0 };
    struct qimg_chain chain;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_survey_chain(survey, name, &options, &chain, &err) < 0)
        return tool_fail_error(tool, "", &err);
    int code;
    if (!chain.images[0]->file.there) {
        code = tool_fail(tool, "Could not open '%s': %s", name, chain.images[0]->problem);
    } else if (qimg_survey_diagnose(survey, &chain, NULL, &findings, &err) < 0) {
        code = tool_fail_error(tool, "", &err);
    } else {
        print(args, &chain, &findings);
        code = chain_exit_code(findings.worst);
    }
    qimg_findings_release(&findings);
    qimg_chain_release(&chain);
    return code;
}

int chain_show(struct tool *tool, int argc, char **argv)
{
    struct show_args args = { 0 };
    struct qimg_error err;
    struct qimg_context *context;
    struct qimg_survey *survey;
    const int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    qimg_error_clear(&err);
    int code;
    if (qimg_survey_new(context, &survey, &err) < 0) {
        code = tool_fail_error(tool, "", &err);
    } else {
        code = show(tool, &args, survey, argv[optind]);
        qimg_survey_free(survey);
    }
    qimg_context_free(context);
    return code;
}

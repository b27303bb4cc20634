/* SPDX-License-Identifier: Apache-2.0
 *
 * chain verify: what is wrong with the chains of many images, and the commands that mend it. What
 * chains share is looked at, and told of, once.
 */
#include <getopt.h>

#include "chain_print.h"
#include "confine.h"
#include "opt.h"
#include "text.h"

struct verify_args {
    const char *format, *as_user;
    bool image_opts, content, json, quiet;
};

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "format", "FMT", "format of each IMAGE (default: found by its content)",
      offsetof(struct verify_args, format), NULL },
    { OPT_FLAG, 0, "image-opts", NULL,
      "each IMAGE is a list of options (key=value,...), not a name",
      offsetof(struct verify_args, image_opts), NULL },
    { OPT_TEXT, 0, "as", "USER", "judge by what USER may read (only root may ask for others)",
      offsetof(struct verify_args, as_user), NULL },
    { OPT_FLAG, 0, "content", NULL,
      "compare all of a backing file with its fingerprint, if that has a digest of it",
      offsetof(struct verify_args, content), NULL },
    OPT_OUTPUT_ROW(struct verify_args),
    { OPT_FLAG, 'q', "quiet", NULL, "print nothing, only set the exit code",
      offsetof(struct verify_args, quiet), NULL },
    { OPT_OPERAND, 0, "IMAGE", NULL, "an image at the top of a chain (may be repeated)", 0, NULL },
    OPT_ROWS_END,
};

struct verifying {
    struct tool *tool;
    const struct verify_args *args;
    struct qimg_survey *survey;
    struct out out; /* of JSON */
    int code;       /* the worst so far */
};

/* Of several exit codes the first in this order counts. */
static int worse_of(int a, int b)
{
    static const int order[] = { EXIT_FAILED, EXIT_CHAIN_BROKEN, EXIT_CHAIN_UNVISITED,
                                 EXIT_CHAIN_WARNINGS };
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return EXIT_DONE;
}

static const char *verdict(const struct qimg_findings *findings)
{
    if (findings->worst > QIMG_SEVERITY_NOTE)
        return qimg_severity_name(findings->worst);
    return "clean";
}

static void print(struct verifying *v, const char *name, const struct qimg_chain *chain,
                  const struct qimg_findings *findings)
{
    if (v->args->quiet)
        return;
    if (v->args->json) {
        out_object(&v->out, NULL);
        out_text(&v->out, "image", name);
        out_text(&v->out, "verdict", verdict(findings));
        out_number(&v->out, "depth", chain->count);
        out_text(&v->out, "end", qimg_chain_end_name(chain->end));
        chain_print_findings_json(&v->out, "findings", findings);
        out_close(&v->out);
        return;
    }
    text_show(stdout, name);
    printf(": %zu image%s, %s\n", chain->count, chain->count == 1 ? "" : "s", verdict(findings));
    chain_print_findings(stdout, findings);
}

static int verify_chain(struct verifying *v, const char *name, struct qimg_chain *chain)
{
    const struct qimg_doctor_options options = { .as_user = v->args->as_user,
                                                 .content = v->args->content,
                                                 .find_writers = true };
    struct qimg_findings findings = { 0 };
    struct qimg_error err;
    qimg_error_clear(&err);
    int code;
    if (qimg_survey_diagnose(v->survey, chain, &options, &findings, &err) < 0) {
        code = tool_fail_error(v->tool, "", &err);
    } else {
        print(v, name, chain, &findings);
        code = chain->images[0]->file.there ? chain_exit_code(findings.worst) : EXIT_FAILED;
    }
    qimg_findings_release(&findings);
    return code;
}

static int verify(struct verifying *v, const char *name)
{
    const struct qimg_chain_options options = { .format = v->args->format,
                                                .image_opts = v->args->image_opts };
    struct qimg_chain chain;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_survey_chain(v->survey, name, &options, &chain, &err) < 0)
        return tool_fail_error(v->tool, "", &err);
    const int code = verify_chain(v, name, &chain);
    qimg_chain_release(&chain);
    return code;
}

static void verify_all(struct verifying *v, char *const *names)
{
    const bool json = v->args->json && !v->args->quiet;
    v->out = out_json(stdout);
    if (json) {
        out_object(&v->out, NULL);
        out_list(&v->out, "images");
    }
    for (; *names; names++)
        v->code = worse_of(v->code, verify(v, *names));
    if (json) {
        out_close(&v->out);
        out_close(&v->out);
    }
}

int chain_verify(struct tool *tool, int argc, char **argv)
{
    struct verify_args args = { 0 };
    struct verifying v = { .tool = tool, .args = &args };
    struct qimg_error err;
    struct qimg_context *context;
    const int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count == 0)
        return tool_fail_usage(tool, "Expecting image file names");
    confine_inspects(tool);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    qimg_error_clear(&err);
    if (qimg_survey_new(context, &v.survey, &err) < 0) {
        v.code = tool_fail_error(tool, "", &err);
    } else {
        verify_all(&v, argv + optind);
        qimg_survey_free(v.survey);
    }
    qimg_context_free(context);
    return v.code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * chain show: a chain as a tree with what is wrong with it, as JSON, for Graphviz, or as the <disk>
 * that tells libvirt of it.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "chain_print.h"
#include "confine.h"
#include "opt.h"

#define ASSUMPTIONS_MAX 64

enum show_output { SHOW_TREE, SHOW_JSON, SHOW_DOT, SHOW_LIBVIRT };

struct assumptions {
    struct qimg_chain_assumption list[ASSUMPTIONS_MAX];
    char *text[ASSUMPTIONS_MAX]; /* owned: what the formats point into */
    size_t count;
};

struct show_args {
    const char *format, *as_user;
    bool image_opts;
    enum show_output output;
    struct assumptions assume;
    struct qimg_libvirt_options libvirt;
};

/* --- options ---------------------------------------------------------------------------------- */

static int set_output(struct tool *tool, void *slot, const char *value)
{
    static const char *const names[] = { "human", "json", "dot", "libvirt" };
    if (strcmp(value, "xml") == 0)
        value = "libvirt";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], value) == 0) {
            *(enum show_output *)slot = (enum show_output)i;
            return EXIT_DONE;
        }
    return tool_fail_usage(tool, "--output expects 'human', 'json', 'dot' or 'libvirt', not '%s'",
                           value);
}

static int set_wrap(struct tool *tool, void *slot, const char *value)
{
    *(bool *)slot = strcmp(value, "domain") == 0;
    if (*(bool *)slot || strcmp(value, "disk") == 0)
        return EXIT_DONE;
    return tool_fail_usage(tool, "--wrap expects 'disk' or 'domain', not '%s'", value);
}

/* "2=qcow2" or "2=raw:end" */
static int add_assumption(struct tool *tool, void *slot, const char *value)
{
    struct assumptions *assume = slot;
    uint64_t index;
    if (assume->count == ASSUMPTIONS_MAX)
        return tool_fail(tool, "At most %d times --assume", ASSUMPTIONS_MAX);
    char *text = strdup(value);
    if (!text)
        return tool_fail(tool, "out of memory");
    assume->text[assume->count] = text;
    struct qimg_chain_assumption *told = &assume->list[assume->count++];
    char *format = strchr(text, '='), *end = strchr(text, ':');
    if (!format || format[1] == '\0' || (end && (end < format || strcmp(end, ":end") != 0)))
        return tool_fail_usage(tool, "--assume expects INDEX=FORMAT or INDEX=FORMAT:end, not '%s'",
                               value);
    *format++ = '\0';
    if (end)
        *end = '\0';
    if (args_number(tool, "index", text, (struct args_bounds){ 1, 1 << 20 }, &index))
        return EXIT_FAILED;
    *told = (struct qimg_chain_assumption){ .index = index, .format = format, .end = end != NULL };
    return EXIT_DONE;
}

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "format", "FMT", "format of IMAGE (default: found by its content)",
      offsetof(struct show_args, format), NULL },
    { OPT_FLAG, 0, "image-opts", NULL, "IMAGE is a list of options (key=value,...), not a name",
      offsetof(struct show_args, image_opts), NULL },
    { OPT_CALL, 0, "output", "human|json|dot|libvirt",
      "how to print the chain (default: human; xml is libvirt too)",
      offsetof(struct show_args, output), set_output },
    { OPT_TEXT, 0, "as", "USER", "judge by what USER may read (only root may ask for others)",
      offsetof(struct show_args, as_user), NULL },
    { OPT_CALL, 0, "assume", "INDEX=FMT[:end]",
      "take image INDEX of the chain for FMT, and for its last image (may be repeated)",
      offsetof(struct show_args, assume), add_assumption },
    { OPT_FLAG, 0, "partial", NULL, "libvirt: print what lies above the first uncertain image",
      offsetof(struct show_args, libvirt.partial), NULL },
    { OPT_FLAG, 0, "index", NULL, "libvirt: number the images as libvirt does",
      offsetof(struct show_args, libvirt.numbered), NULL },
    { OPT_CALL, 0, "wrap", "disk|domain", "libvirt: what to print (default: disk)",
      offsetof(struct show_args, libvirt.domain), set_wrap },
    { OPT_TEXT, 0, "target", "DEV", "libvirt: the disk's target (default: vda)",
      offsetof(struct show_args, libvirt.target), NULL },
    { OPT_TEXT, 0, "bus", "BUS", "libvirt: the bus of the target (default: virtio)",
      offsetof(struct show_args, libvirt.bus), NULL },
    { OPT_OPERAND, 0, "IMAGE", NULL, "the image at the top of the chain", 0, NULL },
    OPT_ROWS_END,
};

/* --- printing --------------------------------------------------------------------------------- */

static void print_json(const struct qimg_chain *chain, const struct qimg_findings *findings)
{
    struct out out = out_json(stdout);
    out_object(&out, NULL);
    chain_print_json(&out, chain);
    chain_print_findings_json(&out, "findings", findings);
    out_close(&out);
}

/* A broken chain is not written for libvirt. Findings go to stderr, beside the XML on stdout. */
static int print_libvirt(struct tool *tool, const struct show_args *args,
                         const struct qimg_chain *chain, const struct qimg_findings *findings)
{
    struct qimg_error err;
    const char *needs_new;
    char *text;
    qimg_error_clear(&err);
    chain_print_findings(stderr, findings);
    if (findings->worst == QIMG_SEVERITY_ERROR && !args->libvirt.partial) {
        tool_fail(tool, "nothing was printed, because of what is wrong; --partial prints what lies "
                        "above it");
        return EXIT_CHAIN_BROKEN;
    }
    if (qimg_chain_libvirt(chain, &args->libvirt, &text, &needs_new, &err) < 0) {
        tool_fail_error(tool, "", &err);
        return EXIT_CHAIN_BROKEN;
    }
    fputs(text, stdout);
    free(text);
    if (needs_new)
        tool_warn(tool, "%s needs libvirt 10.10", needs_new);
    return chain_exit_code(findings->worst);
}

static int print(struct tool *tool, const struct show_args *args, const struct qimg_chain *chain,
                 const struct qimg_findings *findings)
{
    switch (args->output) {
    case SHOW_TREE:
        chain_print_tree(stdout, chain);
        chain_print_findings(stdout, findings);
        break;
    case SHOW_JSON:
        print_json(chain, findings);
        break;
    case SHOW_DOT:
        chain_print_dot(stdout, chain);
        break;
    case SHOW_LIBVIRT:
        return print_libvirt(tool, args, chain, findings);
    }
    return chain_exit_code(findings->worst);
}

/* --- the verb --------------------------------------------------------------------------------- */

static int show_chain(struct tool *tool, const struct show_args *args, struct qimg_survey *survey,
                      const struct qimg_chain *chain)
{
    const struct qimg_doctor_options options = { .as_user = args->as_user };
    struct qimg_findings findings = { 0 };
    struct qimg_error err;
    qimg_error_clear(&err);
    int code;
    if (qimg_survey_diagnose(survey, chain, &options, &findings, &err) < 0)
        code = tool_fail_error(tool, "", &err);
    else
        code = print(tool, args, chain, &findings);
    qimg_findings_release(&findings);
    return code;
}

static int show(struct tool *tool, const struct show_args *args, struct qimg_survey *survey,
                const char *name)
{
    const struct qimg_chain_options options = { .format = args->format,
                                                .image_opts = args->image_opts,
                                                .assumptions = args->assume.list,
                                                .assumption_count = args->assume.count };
    struct qimg_chain chain;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_survey_chain(survey, name, &options, &chain, &err) < 0)
        return tool_fail_error(tool, "", &err);
    int code;
    if (!chain.images[0]->file.there)
        code = tool_fail(tool, "Could not open '%s': %s", name, chain.images[0]->problem);
    else
        code = show_chain(tool, args, survey, &chain);
    qimg_chain_release(&chain);
    return code;
}

static int run(struct tool *tool, const struct show_args *args, const char *name)
{
    struct qimg_context *context;
    struct qimg_survey *survey;
    struct qimg_error err;
    confine_inspects(tool);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    qimg_error_clear(&err);
    int code;
    if (qimg_survey_new(context, &survey, &err) < 0) {
        code = tool_fail_error(tool, "", &err);
    } else {
        code = show(tool, args, survey, name);
        qimg_survey_free(survey);
    }
    qimg_context_free(context);
    return code;
}

int chain_show(struct tool *tool, int argc, char **argv)
{
    struct show_args args = { 0 };
    const int count = opt_parse(tool, rows, &args, argc, argv);
    int code = tool->exit_code;
    if (count == 1)
        code = run(tool, &args, argv[optind]);
    else if (count >= 0)
        code = tool_fail_usage(tool, "Expecting one image file name");
    for (size_t i = 0; i < args.assume.count; i++)
        free(args.assume.text[i]);
    return code;
}

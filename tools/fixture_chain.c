/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture chain, fixture overlays: a specification from a few numbers, printed or built.
 */
#include <getopt.h>
#include <stdlib.h>

#include "args.h"
#include "fixture_verbs.h"

struct form_args {
    struct qimg_fixture_form form;
    struct fixture_writing how;
    bool print_spec;
};

static int set_count(struct tool *tool, void *slot, const char *value)
{
    uint64_t count;

    if (args_number(tool, "number of images", value, (struct args_bounds){ 1, 65535 }, &count))
        return EXIT_FAILED;
    *(unsigned *)slot = (unsigned)count;
    return EXIT_DONE;
}

static int set_seed(struct tool *tool, void *slot, const char *value)
{
    return args_number(tool, "seed", value, (struct args_bounds){ 0, UINT64_MAX }, slot);
}

#define AT(member) offsetof(struct form_args, member)

/* clang-format off */
#define FORM_ROWS \
    { OPT_CALL, 0, "size", "SIZE", "size of the disks (default: 64M)", AT(form.size), \
      opt_set_size }, \
    { OPT_CALL, 0, "data", "SIZE", "what each image writes (default: 64k)", AT(form.data), \
      opt_set_size }, \
    { OPT_CALL, 0, "seed", "N", "chooses content and places (default: 0)", AT(form.seed), \
      set_seed }, \
    { OPT_CALL, 0, "cluster-size", "SIZE", "cluster size (default: 64k)", AT(form.cluster_size), \
      opt_set_size }, \
    { OPT_TEXT, 'f', "format", "FMT", "format of the base: qcow2 (default) or raw", \
      AT(form.format), NULL }, \
    { OPT_FLAG, 0, "spec", NULL, "print the specification, build nothing", \
      AT(print_spec), NULL }, \
    FIXTURE_WRITING_ROWS(struct form_args, how), \
    { OPT_OPERAND, 0, "DIR", NULL, \
      "where the images go, with manifest.json; it is made if it is not there", 0, NULL }, \
    OPT_ROWS_END
/* clang-format on */

static const struct opt_row chain_rows[] = {
    { OPT_CALL, 0, "depth", "N", "how many images (default: 3)", AT(form.count), set_count },
    FORM_ROWS,
};

static const struct opt_row overlays_rows[] = {
    { OPT_CALL, 0, "count", "N", "how many overlays (default: 2)", AT(form.count), set_count },
    FORM_ROWS,
};

typedef int (*form_fn)(const struct qimg_fixture_form *, char **, struct qimg_error *);

static int make(struct tool *tool, const struct form_args *args, form_fn form,
                const char *directory)
{
    struct qimg_error err;
    char *text;

    qimg_error_clear(&err);
    if (form(&args->form, &text, &err) < 0)
        return tool_fail_error(tool, "", &err);
    int code = EXIT_DONE;
    if (args->print_spec)
        fputs(text, stdout);
    else
        code = fixture_build_text(tool, &args->how, "specification", text, directory);
    free(text);
    return code;
}

static int run(struct tool *tool, struct form_args *args, int count, char **operands, form_fn form)
{
    if (count < 0)
        return tool->exit_code;
    if (count > 1 || (count == 0 && !args->print_spec))
        return tool_fail_usage(tool, "Expecting one directory");
    return make(tool, args, form, operands[0]);
}

#define DEFAULTS(images) \
    { \
        .form = {.count = images, .size = 64 << 20, .data = 64 << 10, .format = "qcow2" } \
    }

int fixture_chain(struct tool *tool, int argc, char **argv)
{
    struct form_args args = DEFAULTS(3);
    const int count = opt_parse_ungated(tool, chain_rows, &args, argc, argv);

    return run(tool, &args, count, argv + optind, qimg_fixture_chain_spec);
}

int fixture_overlays(struct tool *tool, int argc, char **argv)
{
    struct form_args args = DEFAULTS(2);
    const int count = opt_parse_ungated(tool, overlays_rows, &args, argc, argv);

    return run(tool, &args, count, argv + optind, qimg_fixture_overlays_spec);
}

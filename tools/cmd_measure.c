/* SPDX-License-Identifier: Apache-2.0
 *
 * measure: how large an image file would get that is made, or converted from another image.
 */
#include <getopt.h>

#include "args.h"
#include "confine.h"
#include "opt.h"
#include "out.h"
#include "snapshot_arg.h"

struct measure_args {
    const char *format, *target_format;
    struct args_options options;
    struct snapshot_arg snapshot;
    bool image_opts, force_share, json, has_size;
    uint64_t size;
};

static int set_size(struct tool *tool, void *slot, const char *value)
{
    struct measure_args *args = slot;
    args->has_size = true;
    return args_size(tool, "image size", value, &args->size);
}

#define AT(member) offsetof(struct measure_args, member)

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct measure_args),
    { OPT_CALL, 'l', "snapshot", "SNAPSHOT",
      "measure an internal snapshot of FILE: its id or name, or\n"
      "snapshot.id=ID,snapshot.name=NAME",
      AT(snapshot), snapshot_arg_set },
    { OPT_TEXT, 'O', "target-format", "TGT_FMT", "format of the new image (default: raw)",
      AT(target_format), NULL },
    { OPT_CALL, 'o', "target-format-options", "TGT_FMT_OPTS",
      "options of that format, key=value,...", AT(options), args_options_add },
    { OPT_CALL, 's', "size", "SIZE", "measure a new image of SIZE bytes instead of FILE", 0,
      set_size },
    { OPT_TEXT, 0, "source-format", "FMT", NULL, AT(format), NULL },
    { OPT_FLAG, 0, "source-image-opts", NULL, NULL, AT(image_opts), NULL },
    { OPT_CALL, 0, "options", "TGT_FMT_OPTS", NULL, AT(options), args_options_add },
    OPT_OUTPUT_ROW(struct measure_args),
    OPT_SHARE_ROW(struct measure_args),
    OPT_OBJECT_ROW,
    { OPT_OPERAND, 0, "FILE", NULL, "the image that would be converted", 0, NULL },
    OPT_ROWS_END,
};

static const char *contradiction(const struct measure_args *args, int operands)
{
    if (operands > 1)
        return "At most one filename argument is allowed.";
    if (!operands && (args->image_opts || args->format || snapshot_arg_given(&args->snapshot)))
        return "--image-opts, -f, and -l require a filename argument.";
    if (operands && args->has_size)
        return "--size N cannot be used together with a filename.";
    if (!operands && !args->has_size)
        return "Either --size N or one filename must be specified.";
    return NULL;
}

/* JSON keys are in QEMU's order, which is not that of the lines. */
static void print(const struct measure_args *args, const struct qimg_measure_result *result)
{
    struct out out = args->json ? out_json(stdout) : out_human(stdout, 0);
    out_object(&out, NULL);
    if (result->has_bitmaps && args->json)
        out_number(&out, "bitmaps", result->bitmaps);
    out_number(&out, args->json ? "required" : "required size", result->required);
    out_number(&out, args->json ? "fully-allocated" : "fully allocated size",
               result->fully_allocated);
    if (result->has_bitmaps && !args->json)
        out_number(&out, "bitmaps size", result->bitmaps);
    out_close(&out);
}

static int measure(struct tool *tool, struct measure_args *args, struct qimg_image *source)
{
    struct qimg_error err;
    struct qimg_measure_result result;
    struct qimg_measure_options options = {
        .source = source,
        .size = args->size,
        .format = args->target_format ? args->target_format : "raw",
    };
    qimg_error_clear(&err);
    if (args_options_split(tool, &args->options))
        return EXIT_FAILED;
    if (qimg_create_help(options.format) &&
        args_options_check(tool, &args->options, options.format))
        return EXIT_FAILED;
    options.options = args->options.list;
    options.option_count = args->options.count;
    if (qimg_measure(&options, &result, &err) == 0) {
        print(args, &result);
        return EXIT_DONE;
    }
    tool_fail_error(tool, "", &err);
    return EXIT_FAILED;
}

static int open_and_measure(struct tool *tool, struct qimg_context *context,
                            struct measure_args *args, const char *name)
{
    struct qimg_image *source = NULL;
    const struct qimg_open_options options = {
        .format = args->format,
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .image_opts = args->image_opts,
    };
    if (name && snapshot_arg_open(tool, context, name, &options, &args->snapshot, &source))
        return EXIT_FAILED;
    int code = measure(tool, args, source);
    qimg_image_close(source);
    return code;
}

static int run(struct tool *tool, struct measure_args *args, const char *name)
{
    struct qimg_context *context;
    if (name)
        confine_reads(tool, name, args->image_opts);
    else
        confine_reads_nothing(tool);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = open_and_measure(tool, context, args, name);
    qimg_context_free(context);
    return code;
}

int cmd_measure(struct tool *tool, int argc, char **argv)
{
    struct measure_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    int code = tool->exit_code;
    const char *wrong = count < 0 ? NULL : contradiction(&args, count);
    if (wrong)
        code = tool_fail(tool, "%s", wrong);
    else if (count >= 0)
        code = run(tool, &args, count ? argv[optind] : NULL);
    args_options_release(&args.options);
    snapshot_arg_release(&args.snapshot);
    return code;
}

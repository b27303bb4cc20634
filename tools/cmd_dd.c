/* SPDX-License-Identifier: Apache-2.0
 *
 * dd: copy an image, or blocks of it, into a new one. Operands are dd's. As in qemu-img, count=
 * counts from the beginning of the input, so that skip= takes from what count= leaves.
 */
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "args.h"
#include "confine.h"
#include "job.h"
#include "opt.h"

struct dd_args {
    const char *format, *target_format, *input, *output;
    bool image_opts, force_share, has_count;
    uint64_t block, count, skip;
};

#define AT(member) offsetof(struct dd_args, member)

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "format", "FMT", "format of the input (default: found by its content)",
      AT(format), NULL },
    { OPT_FLAG, 0, "image-opts", NULL, "the input is a list of options (key=value,...), not a name",
      AT(image_opts), NULL },
    { OPT_TEXT, 'O', "output-format", "OUT_FMT", "format of the output (default: raw)",
      AT(target_format), NULL },
    { OPT_FLAG, 'U', "force-share", NULL, "open the input although others may write to it",
      AT(force_share), NULL },
    OPT_OBJECT_ROW,
    { OPT_OPERAND, 0, "if=INPUT", NULL, "the image to read", 0, NULL },
    { OPT_OPERAND, 0, "of=OUTPUT", NULL, "the image to make; what is there is overwritten", 0,
      NULL },
    { OPT_OPERAND, 0, "bs=SIZE", NULL, "bytes of a block (default: 512)", 0, NULL },
    { OPT_OPERAND, 0, "count=N", NULL, "the input ends after N blocks", 0, NULL },
    { OPT_OPERAND, 0, "skip=N", NULL, "leave out the first N blocks", 0, NULL },
    OPT_ROWS_END,
};

/* --- operands ------------------------------------------------------------------------------- */

static int set_block(const struct tool *tool, struct dd_args *args, const char *value)
{
    return args_size_within(tool, "bs", value, (struct args_bounds){ 1, INT_MAX }, &args->block);
}

static int set_count(const struct tool *tool, struct dd_args *args, const char *value)
{
    args->has_count = true;
    return args_size(tool, "count", value, &args->count);
}

static int set_operand(const struct tool *tool, struct dd_args *args, const char *operand)
{
    const char *value = strchr(operand, '=');
    const size_t len = value ? (size_t)(value++ - operand) : 0;
    if (len == 2 && strncmp(operand, "if", 2) == 0)
        args->input = value;
    else if (len == 2 && strncmp(operand, "of", 2) == 0)
        args->output = value;
    else if (len == 2 && strncmp(operand, "bs", 2) == 0)
        return set_block(tool, args, value);
    else if (len == 5 && strncmp(operand, "count", 5) == 0)
        return set_count(tool, args, value);
    else if (len == 4 && strncmp(operand, "skip", 4) == 0)
        return args_size(tool, "skip", value, &args->skip);
    else
        return tool_fail(tool, "unrecognized operand %.*s", (int)strcspn(operand, "="), operand);
    return EXIT_DONE;
}

static int set_operands(const struct tool *tool, struct dd_args *args, char **operands, int count)
{
    for (int i = 0; i < count; i++)
        if (set_operand(tool, args, operands[i]))
            return EXIT_FAILED;
    if (!args->input || !args->output)
        return tool_fail(tool, "Must specify both input and output files");
    return EXIT_DONE;
}

/* --- the copy ------------------------------------------------------------------------------- */

/* The range to copy of an input of @size bytes. False: skip= lies beyond its end. */
static bool range_of(const struct dd_args *args, uint64_t size, struct qimg_range *range)
{
    if (args->has_count && args->count <= INT64_MAX / args->block &&
        args->count * args->block < size)
        size = args->count * args->block;
    if (args->skip > INT64_MAX / args->block || args->skip * args->block > size) {
        *range = (struct qimg_range){ 0, 0 };
        return false;
    }
    *range = (struct qimg_range){ args->skip * args->block, size - args->skip * args->block };
    return true;
}

static int copy(struct tool *tool, struct qimg_context *context, const struct dd_args *args,
                struct qimg_image *source)
{
    struct qimg_range range;
    struct qimg_error err;
    if (args->target_format && !qimg_format_known(args->target_format))
        return tool_fail(tool, "Unknown file format");
    const bool within = range_of(args, qimg_image_size(source), &range);
    struct job job;
    const struct qimg_convert_options options = {
        .sources = &source,
        .source_count = 1,
        .range = &range,
        .dd_words = true,
        .target = args->output,
        .target_format = args->target_format ? args->target_format : "raw",
        .progress = job_progress,
        .user = &job,
    };
    qimg_error_clear(&err);
    job_begin(&job, tool, (struct progress_spec){ .step = 1 });
    int code = EXIT_DONE;
    if (qimg_convert(context, &options, &err) < 0)
        code = job_fail(&job, &err, "'%s' is not there", args->output);
    else if (!within)
        tool_fail(tool, "%s: cannot skip to specified offset", args->input);
    return job_end(&job, code);
}

static int run(struct tool *tool, const struct dd_args *args)
{
    struct qimg_context *context;
    struct qimg_image *source;
    const struct qimg_open_options options = {
        .format = args->format,
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .image_opts = args->image_opts,
    };
    confine_reads(tool, args->input, args->image_opts);
    confine_makes(tool, args->output);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, args->input, &options, &source);
    if (code == EXIT_DONE) {
        code = copy(tool, context, args, source);
        qimg_image_close(source);
    }
    qimg_context_free(context);
    return code;
}

int cmd_dd(struct tool *tool, int argc, char **argv)
{
    struct dd_args args = { .block = 512 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (set_operands(tool, &args, argv + optind, count))
        return EXIT_FAILED;
    return run(tool, &args);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * amend: change features of an image in place.
 */
#include <getopt.h>
#include <string.h>

#include "args.h"
#include "confine.h"
#include "job.h"
#include "opt.h"

struct amend_args {
    const char *format, *cache;
    bool image_opts, force, quiet;
    enum progress_style progress_style;
    struct args_options options;
};

static const struct opt_row rows[] = {
    { OPT_CALL, 'o', "options", "FMT_OPTS",
      "features to change, key=value,... ('-o help' lists them)",
      offsetof(struct amend_args, options), args_options_add },
    OPT_IMAGE_ROWS(struct amend_args),
    { OPT_TEXT, 't', "cache", "CACHE", "cache mode of FILE (default: writeback)",
      offsetof(struct amend_args, cache), NULL },
    { OPT_FLAG, 0, "force", NULL, "accepted for compatibility: there is nothing to force",
      offsetof(struct amend_args, force), NULL },
    OPT_PROGRESS_ROW(struct amend_args),
    OPT_QUIET_ROW(struct amend_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

static int refuse_format(const struct tool *tool, const char *format)
{
    return tool_fail(tool, "Format driver '%s' does not support option amendment", format);
}

static int print_help(const struct tool *tool, const char *format)
{
    const struct qimg_option_help *row = qimg_amend_help(format);
    if (!row)
        return refuse_format(tool, format);
    printf("Amend options for '%s':\n", format);
    for (; row->name; row++) {
        int width = printf("  %s=<%s>", row->name, row->type);
        printf("%*s - %s\n", width < 24 ? 24 - width : 0, "", row->help);
    }
    return EXIT_DONE;
}

static int amend_image(struct tool *tool, struct amend_args *args, const char *file,
                       struct qimg_image *image)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct job job;
    if (args_options_want_help(&args->options))
        return print_help(tool, qimg_image_format(image));
    if (!qimg_amend_help(qimg_image_format(image)))
        return refuse_format(tool, qimg_image_format(image));
    job_begin(
        &job, tool,
        (struct progress_spec){
            .style = args->progress_style, .quiet = args->quiet, .in_steps = true, .step = 1 });
    job_start(&job);
    const struct qimg_amend_options options = {
        .options = args->options.list,
        .option_count = args->options.count,
        .progress = job_progress,
        .user = &job,
    };
    int code = EXIT_DONE;
    if (qimg_image_amend(image, &options, &err) < 0)
        code = job_fail(&job, &err, "'%s' is as it was before", file);
    else
        job_complete(&job);
    return job_end(&job, code);
}

static int amend(struct tool *tool, struct amend_args *args, const char *file)
{
    struct qimg_context *context;
    struct qimg_image *image;
    if (!args_options_want_help(&args->options) && args_options_split(tool, &args->options))
        return EXIT_FAILED;
    /* The backing file matters only where the disk grows. */
    const bool alone = tool->options.gate.policy != QIMG_POLICY_QEMU;
    struct qimg_open_options options = {
        .format = args->format,
        .writable = true,
        .no_backing = alone && !args_option(&args->options, "size"),
        .next_only = alone && !args->image_opts,
        .image_opts = args->image_opts,
    };
    if (args->cache && args_cache(tool, "cache option", args->cache, &options.cache))
        return EXIT_FAILED;
    confine_changes(tool, file, args->image_opts);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, file, &options, &image);
    if (code == EXIT_DONE) {
        code = amend_image(tool, args, file, image);
        qimg_image_close(image);
    }
    qimg_context_free(context);
    return code;
}

int cmd_amend(struct tool *tool, int argc, char **argv)
{
    struct amend_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    int code;
    if (count < 0)
        code = tool->exit_code;
    else if (!args.options.text)
        code = tool_fail_usage(tool, "Must specify options (-o)");
    else if (args.format && args_options_want_help(&args.options))
        code = print_help(tool, args.format);
    else if (count != 1)
        code = tool_fail_usage(tool, "Expecting one image file name");
    else
        code = amend(tool, &args, argv[optind]);
    args_options_release(&args.options);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * compare: do two images read alike? Exit codes 0 same, 1 differ, 2 cannot be opened, 3 cannot
 * be mapped, 4 cannot be read.
 */
#include <getopt.h>

#include "args.h"
#include "compare_print.h"
#include "confine.h"
#include "job.h"
#include "opt.h"

struct compare_args {
    const char *format_a, *format_b, *cache;
    bool image_opts, strict, all, force_share, json, quiet;
    enum progress_style progress_style;
};

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "a-format", "FMT", "format of FILE1 (default: found by its content)",
      offsetof(struct compare_args, format_a), NULL },
    { OPT_TEXT, 'F', "b-format", "FMT", "format of FILE2 (default: found by its content)",
      offsetof(struct compare_args, format_b), NULL },
    { OPT_FLAG, 0, "image-opts", NULL,
      "FILE1 and FILE2 are lists of options (key=value,...), not names",
      offsetof(struct compare_args, image_opts), NULL },
    { OPT_FLAG, 's', "strict", NULL, "images of different size or allocation are different",
      offsetof(struct compare_args, strict), NULL },
    { OPT_FLAG, 0, "all", NULL,
      "go on after the first difference: tell of each range that differs, and of\n"
      "the layers that it comes from",
      offsetof(struct compare_args, all), NULL },
    { OPT_TEXT, 'T', "cache", "CACHE", "cache mode of both images (default: writeback)",
      offsetof(struct compare_args, cache), NULL },
    OPT_SHARE_ROW(struct compare_args),
    OPT_OUTPUT_ROW(struct compare_args),
    OPT_PROGRESS_ROW(struct compare_args),
    OPT_QUIET_ROW(struct compare_args),
    OPT_OBJECT_ROW,
    { OPT_OPERAND, 0, "FILE1, FILE2", NULL, "the images", 0, NULL },
    OPT_ROWS_END,
};

struct compare_run {
    struct job job; /* first: what the progress callback is called with */
    struct compare_print print;
};

static void on_difference(void *user, const struct qimg_compare_difference *difference)
{
    struct compare_run *run = user;
    job_clear(&run->job);
    compare_print_difference(&run->print, difference);
}

static int compare(struct qimg_context *context, const struct compare_args *args,
                   struct compare_run *run)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_compare_result result = { 0 };
    struct qimg_compare_options options = {
        .a = run->print.images[0],
        .b = run->print.images[1],
        .strict = args->strict,
        .difference = args->all ? on_difference : NULL,
        .progress = job_progress,
        .user = run,
    };
    job_start(&run->job);
    compare_print_begin(&run->print);
    const int rc = qimg_compare(context, &options, &result, &err);
    const bool same = result.verdict == QIMG_COMPARE_IDENTICAL;
    if (rc == 0 && (same || args->all) && run->job.progress.printed < 100)
        job_complete(&run->job); /* proved by the maps alone: there was no work */
    job_settle(&run->job);
    compare_print_end(&run->print, &result, rc < 0 ? &err : NULL);
    if (rc == 0)
        return same ? EXIT_DONE : EXIT_COMPARE_DIFFER;
    job_fail(&run->job, &err, "how they compare is not known");
    return result.stage == QIMG_COMPARE_READING ? EXIT_COMPARE_READING : EXIT_COMPARE_MAPPING;
}

static int open_and_compare(struct tool *tool, struct qimg_context *context,
                            const struct compare_args *args, char **names, struct compare_run *run)
{
    struct qimg_image **images = run->print.images;
    struct qimg_open_options options = {
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .image_opts = args->image_opts,
    };
    int code = EXIT_COMPARE_OPEN;
    if (args->cache && args_cache(tool, "source cache option", args->cache, &options.cache))
        return code;
    options.format = args->format_a;
    if (args_open(tool, context, names[0], &options, &images[0]) == EXIT_DONE) {
        options.format = args->format_b;
        if (args_open(tool, context, names[1], &options, &images[1]) == EXIT_DONE)
            code = compare(context, args, run);
    }
    qimg_image_close(images[1]);
    qimg_image_close(images[0]);
    return code;
}

int cmd_compare(struct tool *tool, int argc, char **argv)
{
    struct compare_args args = { 0 };
    struct qimg_context *context;
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 2)
        return tool_fail_usage(tool, "Expecting two image file names");
    if (args.json && args.progress_style == PROGRESS_SHOWN)
        return tool_fail_usage(tool, "-p does not go with --output=json; --progress=json does");
    struct compare_run run = {
        .print = { .json = args.json,
                   .quiet = args.quiet,
                   .strict = args.strict,
                   .all = args.all,
                   .names = { argv[optind], argv[optind + 1] } },
    };
    job_begin(
        &run.job, tool,
        (struct progress_spec){ .style = args.progress_style, .quiet = args.quiet, .step = 2 });
    for (int i = 0; i < 2; i++)
        confine_reads(tool, argv[optind + i], args.image_opts);
    if (tool_context(tool, &context))
        return EXIT_COMPARE_OPEN;
    int code = open_and_compare(tool, context, &args, argv + optind, &run);
    job_end(&run.job, code);
    qimg_context_free(context);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * compare: do two images read alike? Exit codes 0 same, 1 differ, 2 cannot be opened, 3 cannot
 * be mapped, 4 cannot be read.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>

#include "args.h"
#include "job.h"
#include "opt.h"

struct compare_args {
    const char *format_a, *format_b, *cache;
    bool image_opts, strict, force_share, quiet;
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
    { OPT_TEXT, 'T', "cache", "CACHE", "cache mode of both images (default: writeback)",
      offsetof(struct compare_args, cache), NULL },
    OPT_SHARE_ROW(struct compare_args),
    OPT_PROGRESS_ROW(struct compare_args),
    OPT_QUIET_ROW(struct compare_args),
    OPT_OBJECT_ROW,
    { OPT_OPERAND, 0, "FILE1, FILE2", NULL, "the images", 0, NULL },
    OPT_ROWS_END,
};

TOOL_PRINTF(2, 3) static void say(const struct compare_args *args, const char *fmt, ...)
{
    va_list ap;
    if (args->quiet)
        return;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
}

static int report(const struct compare_args *args, const struct qimg_compare_result *result)
{
    if (result->size_mismatch && !args->strict)
        say(args, "Warning: Image size mismatch!\n");
    switch (result->verdict) {
    case QIMG_COMPARE_IDENTICAL:
        say(args, "Images are identical.\n");
        return EXIT_DONE;
    case QIMG_COMPARE_CONTENT:
        say(args, "Content mismatch at offset %" PRIu64 "!\n", result->offset);
        break;
    case QIMG_COMPARE_SIZE:
        say(args, "Strict mode: Image size mismatch!\n");
        break;
    case QIMG_COMPARE_STATUS:
        say(args, "Strict mode: Offset %" PRIu64 " block status mismatch!\n", result->offset);
        break;
    }
    return EXIT_COMPARE_DIFFER;
}

static int compare(struct qimg_context *context, const struct compare_args *args,
                   struct qimg_image *const images[2], struct job *job)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_compare_result result = { 0 };
    struct qimg_compare_options options = {
        .a = images[0],
        .b = images[1],
        .strict = args->strict,
        .progress = job_progress,
        .user = job,
    };
    job_start(job);
    if (qimg_compare(context, &options, &result, &err) == 0) {
        bool same = result.verdict == QIMG_COMPARE_IDENTICAL;
        if (same && job->progress.printed < 100) /* proved without work to tell of */
            job_complete(job);
        job_settle(job);
        return report(args, &result);
    }
    job_fail(job, &err, "how they compare is not known");
    return result.stage == QIMG_COMPARE_READING ? EXIT_COMPARE_READING : EXIT_COMPARE_MAPPING;
}

static int open_and_compare(struct tool *tool, struct qimg_context *context,
                            const struct compare_args *args, char **names, struct job *job)
{
    struct qimg_image *images[2] = { NULL, NULL };
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
            code = compare(context, args, images, job);
    }
    qimg_image_close(images[1]);
    qimg_image_close(images[0]);
    return code;
}

int cmd_compare(struct tool *tool, int argc, char **argv)
{
    struct compare_args args = { 0 };
    struct job job;
    struct qimg_context *context;
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 2)
        return tool_fail_usage(tool, "Expecting two image file names");
    job_begin(
        &job, tool,
        (struct progress_spec){ .style = args.progress_style, .quiet = args.quiet, .step = 2 });
    if (tool_context(tool, &context))
        return EXIT_COMPARE_OPEN;
    int code = open_and_compare(tool, context, &args, argv + optind, &job);
    job_end(&job, code);
    qimg_context_free(context);
    return code;
}

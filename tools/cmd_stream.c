/* SPDX-License-Identifier: Apache-2.0
 *
 * stream: copy into an overlay what lies below it, or between it and a base.
 */
#include <getopt.h>

#include "args.h"
#include "opt.h"
#include "pull_command.h"

struct stream_args {
    const char *format, *cache, *base;
    enum progress_style progress_style;
    bool image_opts, compress, plan, json, quiet;
    uint64_t rate_limit;
};

static int set_rate(struct tool *tool, void *slot, const char *value)
{
    return args_size(tool, "rate limit", value, &((struct stream_args *)slot)->rate_limit);
}

#define AT(member) offsetof(struct stream_args, member)

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct stream_args),
    { OPT_TEXT, 't', "cache", "CACHE", "cache mode of FILE and its chain (default: writeback)",
      AT(cache), NULL },
    { OPT_TEXT, 'b', "base", "BASE",
      "the image of the chain that stays FILE's backing file\n"
      "(default: none does)",
      AT(base), NULL },
    { OPT_FLAG, 'c', "compress", NULL, "compress what is copied into FILE", AT(compress), NULL },
    { OPT_FLAG, 0, "plan", NULL,
      "change nothing: print what would be read and copied, and how large FILE can\n"
      "become",
      AT(plan), NULL },
    OPT_OUTPUT_ROW(struct stream_args),
    { OPT_CALL, 'r', "rate-limit", "RATE", "go through at most RATE bytes of disk per second", 0,
      set_rate },
    OPT_PROGRESS_ROW(struct stream_args),
    OPT_QUIET_ROW(struct stream_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

static struct qimg_stream_options options_of(const struct stream_args *args, struct job *job)
{
    return (struct qimg_stream_options){
        .base = args->base,
        .pull = { .compress = args->compress,
                  .rate_limit = args->rate_limit,
                  .progress = job_progress,
                  .user = job },
    };
}

static int make_plan(const struct pull_command *command, struct qimg_image *image,
                     struct qimg_pull_plan *plan, struct qimg_error *err)
{
    const struct qimg_stream_options options = options_of(command->args, NULL);
    return qimg_stream_plan(image, &options, plan, err);
}

static int work(const struct pull_command *command, struct qimg_image *image, struct job *job)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_pull_result result;
    const struct qimg_stream_options options = options_of(command->args, job);
    if (qimg_stream(image, &options, &result, &err) < 0)
        return pull_command_fail(command, job, &result, &err);
    return EXIT_DONE;
}

int cmd_stream(struct tool *tool, int argc, char **argv)
{
    struct stream_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    struct pull_command command = {
        .tool = tool,
        .file = argv[optind],
        .open = { .format = args.format, .image_opts = args.image_opts },
        .progress = { .style = args.progress_style, .quiet = args.quiet, .step = 1 },
        .plan = args.plan,
        .json = args.json,
        .args = &args,
        .make_plan = make_plan,
        .work = work,
    };
    if (args.cache && args_cache(tool, "cache option", args.cache, &command.open.cache))
        return EXIT_FAILED;
    return pull_command_run(&command);
}

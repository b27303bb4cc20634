/* SPDX-License-Identifier: Apache-2.0
 *
 * commit: write what an overlay holds into its backing file.
 */
#include <errno.h>
#include <getopt.h>

#include "args.h"
#include "confine.h"
#include "job.h"
#include "opt.h"

struct commit_args {
    const char *format, *cache, *base;
    const char *dependants[TOOL_LIST_MAX + 1];
    bool image_opts, drop, break_dependants, quiet;
    enum progress_style progress_style;
    uint64_t rate_limit;
};

static int set_rate(struct tool *tool, void *slot, const char *value)
{
    return args_size(tool, "rate limit", value, &((struct commit_args *)slot)->rate_limit);
}

static int add_directory(struct tool *tool, void *slot, const char *value)
{
    struct commit_args *args = slot;
    for (size_t i = 0; i < TOOL_LIST_MAX; i++) {
        if (!args->dependants[i]) {
            args->dependants[i] = value;
            return EXIT_DONE;
        }
    }
    return tool_fail(tool, "--dependants was given more than %d times", TOOL_LIST_MAX);
}

#define AT(member) offsetof(struct commit_args, member)

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct commit_args),
    { OPT_TEXT, 't', "cache", "CACHE", "cache mode of FILE and its chain (default: writeback)",
      AT(cache), NULL },
    { OPT_TEXT, 'b', "base", "BASE",
      "commit into this image of the chain, and leave FILE as it is\n"
      "(default: into its backing file)",
      AT(base), NULL },
    { OPT_FLAG, 'd', "drop", NULL, "do not empty FILE afterwards: it will be dropped", AT(drop),
      NULL },
    { OPT_CALL, 'r', "rate-limit", "RATE", "write at most RATE bytes per second", 0, set_rate },
    { OPT_CALL, 0, "dependants", "DIR",
      "refuse to commit where an image below DIR depends on what would change\n"
      "(may be repeated)",
      0, add_directory },
    { OPT_FLAG, 0, "break-dependants", NULL, "commit all the same: they will read differently",
      AT(break_dependants), NULL },
    OPT_PROGRESS_ROW(struct commit_args),
    OPT_QUIET_ROW(struct commit_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

struct commit_run {
    struct tool *tool;
    struct job job;
};

/* The first report, of 0 bytes, comes when the chain is open. */
static int tell_progress(void *user, uint64_t done, uint64_t total)
{
    struct commit_run *run = user;
    if (done == 0)
        job_start(&run->job);
    return job_progress(&run->job, done, total);
}

static void tell_dependant(void *user, const char *name, const char *backing)
{
    tool_warn(((struct commit_run *)user)->tool, "'%s' depends on '%s'", name, backing);
}

static int commit(struct commit_run *run, struct qimg_context *context,
                  const struct qimg_commit_options *options)
{
    struct qimg_commit_result result;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_commit(context, options, &result, &err) == 0) {
        job_complete(&run->job);
        return EXIT_DONE;
    }
    job_fail(&run->job, &err, "'%s' is as it was, its base has a part of it; commit it again",
             options->name);
    if (err.code == EBUSY && result.dependants)
        tool_advise(run->tool, "--break-dependants, if these images are of no use any more");
    return EXIT_FAILED;
}

static int run(struct tool *tool, const struct commit_args *args, const char *name)
{
    struct commit_run run = { .tool = tool };
    struct qimg_context *context;
    struct qimg_commit_options options = {
        .name = name,
        .open = { .format = args->format, .image_opts = args->image_opts },
        .base = args->base,
        .keep_overlay = args->drop,
        .rate_limit = args->rate_limit,
        .dependants = args->dependants,
        .break_dependants = args->break_dependants,
        .dependant = tell_dependant,
        .progress = tell_progress,
        .user = &run,
    };
    if (args->cache && args_cache(tool, "cache option", args->cache, &options.open.cache))
        return EXIT_FAILED;
    if (args->image_opts && args->format)
        return tool_fail(tool, "--image-opts and --format are mutually exclusive");
    confine_changes(tool, name, args->image_opts);
    confine_changes_named(tool);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    job_begin(
        &run.job, tool,
        (struct progress_spec){ .style = args->progress_style, .quiet = args->quiet, .step = 1 });
    const int code = job_end(&run.job, commit(&run, context, &options));
    qimg_context_free(context);
    if (code == EXIT_DONE && !args->quiet)
        puts("Image committed.");
    return code;
}

int cmd_commit(struct tool *tool, int argc, char **argv)
{
    struct commit_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    return run(tool, &args, argv[optind]);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * rebase: change what an image names as its backing file. What the guest would read differently is
 * copied into the image before; with -u, the name changes and nothing else does.
 */
#include <getopt.h>

#include "args.h"
#include "opt.h"
#include "pull_command.h"

struct rebase_args {
    const char *format, *cache, *backing, *backing_format, *backing_cache;
    enum qimg_cache backing_cache_mode;
    enum progress_style progress_style;
    bool image_opts, compress, unchecked, fingerprint, fingerprint_content, plan, json, force_share,
        quiet;
};

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct rebase_args),
    { OPT_TEXT, 't', "cache", "CACHE", "cache mode of FILE (default: writeback)",
      offsetof(struct rebase_args, cache), NULL },
    { OPT_TEXT, 'b', "backing", "BACKING_FILE",
      "the new backing file, named relative to FILE; \"\" for none",
      offsetof(struct rebase_args, backing), NULL },
    { OPT_TEXT, 'B', "backing-format", "BACKING_FMT", "format of BACKING_FILE",
      offsetof(struct rebase_args, backing_format), NULL },
    { OPT_TEXT, 'F', NULL, "BACKING_FMT", NULL, offsetof(struct rebase_args, backing_format),
      NULL },
    { OPT_TEXT, 'T', "backing-cache", "CACHE", "cache mode of BACKING_FILE (default: writeback)",
      offsetof(struct rebase_args, backing_cache), NULL },
    { OPT_FLAG, 'u', "backing-unsafe", NULL,
      "change the name only: open neither the old nor the new backing file\n"
      "(without -b, FILE names no backing file any more)",
      offsetof(struct rebase_args, unchecked), NULL },
    { OPT_FLAG, 'c', "compress", NULL, "compress what is copied into FILE",
      offsetof(struct rebase_args, compress), NULL },
    { OPT_FLAG, 0, "fingerprint", NULL,
      "record what BACKING_FILE is now, so that a change of it is noticed (--verify)",
      offsetof(struct rebase_args, fingerprint), NULL },
    { OPT_FLAG, 0, "fingerprint-content", NULL, "the same, with a digest of all its content",
      offsetof(struct rebase_args, fingerprint_content), NULL },
    { OPT_FLAG, 0, "plan", NULL,
      "change nothing: print what would be read, compared and copied, and how large\n"
      "FILE can become",
      offsetof(struct rebase_args, plan), NULL },
    OPT_OUTPUT_ROW(struct rebase_args),
    { OPT_FLAG, 'U', "force-share", NULL, "open BACKING_FILE although others may write to it",
      offsetof(struct rebase_args, force_share), NULL },
    OPT_PROGRESS_ROW(struct rebase_args),
    OPT_QUIET_ROW(struct rebase_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

/* -u */
static int change_name(struct tool *tool, const struct rebase_args *args, struct qimg_image *image)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    const char *backing = args->backing && *args->backing ? args->backing : NULL;
    if (args->backing_format && !qimg_format_known(args->backing_format))
        return tool_fail(tool, "Invalid format name: '%s'", args->backing_format);
    if (qimg_image_set_backing(image, backing, backing ? args->backing_format : NULL, &err) < 0)
        return tool_fail_error(tool, "", &err);
    return EXIT_DONE;
}

static struct qimg_rebase_options options_of(const struct rebase_args *args, struct job *job)
{
    return (struct qimg_rebase_options){
        .backing_name = args->backing,
        .backing_format = args->backing_format,
        .backing_cache = args->backing_cache_mode,
        .force_share = args->force_share,
        .pull = { .compress = args->compress, .progress = job_progress, .user = job },
    };
}

static int make_plan(const struct pull_command *command, struct qimg_image *image,
                     struct qimg_pull_plan *plan, struct qimg_error *err)
{
    const struct qimg_rebase_options options = options_of(command->args, NULL);
    return qimg_rebase_plan(image, &options, plan, err);
}

static int copy_and_change(const struct pull_command *command, struct qimg_image *image,
                           struct job *job)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_pull_result result;
    const struct qimg_rebase_options options = options_of(command->args, job);
    if (qimg_rebase(image, &options, &result, &err) < 0)
        return pull_command_fail(command, job, &result, &err);
    return EXIT_DONE;
}

/* Records the fingerprint; with @dry_run, only checks that the header has room for it. */
static int seal(struct tool *tool, const struct rebase_args *args, struct qimg_image *image,
                bool dry_run)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    const struct qimg_seal_options options = {
        .content = args->fingerprint_content,
        .dry_run = dry_run,
        .backing_name = args->backing,
        .backing_format = args->backing_format,
    };
    if (!args->fingerprint && !args->fingerprint_content)
        return EXIT_DONE;
    return qimg_image_seal(image, &options, &err) < 0 ? tool_fail_error(tool, "", &err) : EXIT_DONE;
}

static int work(const struct pull_command *command, struct qimg_image *image, struct job *job)
{
    const struct rebase_args *args = command->args;
    int code = seal(command->tool, args, image, true);
    if (code == EXIT_DONE)
        code = args->unchecked ? change_name(command->tool, args, image)
                               : copy_and_change(command, image, job);
    return code == EXIT_DONE ? seal(command->tool, args, image, false) : code;
}

/* The options whose text is parsed. */
static int read_caches(struct tool *tool, struct rebase_args *args, enum qimg_cache *cache)
{
    if (args->cache && args_cache(tool, "cache option", args->cache, cache))
        return EXIT_FAILED;
    if (args->backing_cache)
        return args_cache(tool, "source cache option", args->backing_cache,
                          &args->backing_cache_mode);
    return EXIT_DONE;
}

int cmd_rebase(struct tool *tool, int argc, char **argv)
{
    struct rebase_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    if (!args.unchecked && !args.backing)
        return tool_fail_usage(tool, "Must specify backing file (-b) or use unsafe mode (-u)");
    if ((args.fingerprint || args.fingerprint_content) && !(args.backing && *args.backing))
        return tool_fail_usage(tool, "A fingerprint needs a backing file");
    if (args.unchecked && args.plan)
        return tool_fail_usage(tool, "--plan and -u are mutually exclusive: -u copies nothing");
    struct pull_command command = {
        .tool = tool,
        .file = argv[optind],
        .open = { .format = args.format,
                  .info_only = args.unchecked,
                  .no_backing = args.unchecked,
                  .image_opts = args.image_opts },
        .progress = { .style = args.progress_style, .quiet = args.quiet, .step = 2 },
        .plan = args.plan,
        .json = args.json,
        .args = &args,
        .make_plan = make_plan,
        .work = work,
    };
    return read_caches(tool, &args, &command.open.cache) ? EXIT_FAILED : pull_command_run(&command);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * check: is an image sound, and mend it. Exit codes 0 sound, 1 could not tell, 2 corrupt, 3 only
 * leaks, 63 the format has no check; after a repair they stand for what is left. Findings go to
 * stderr as they are made, their sums to stdout.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "args.h"
#include "check_print.h"
#include "confine.h"
#include "job.h"
#include "opt.h"

struct check_args {
    const char *format, *cache, *undo, *undo_apply;
    enum qimg_check_fix fix;
    bool image_opts, force_share, json, quiet, explain;
    enum progress_style progress_style;
};

static int set_repair(struct tool *tool, void *slot, const char *value)
{
    enum qimg_check_fix *fix = slot;
    if (strcmp(value, "leaks") == 0)
        *fix = QIMG_CHECK_FIX_LEAKS;
    else if (strcmp(value, "all") == 0)
        *fix = QIMG_CHECK_FIX_ALL;
    else
        return tool_fail_usage(tool, "--repair (-r) expects 'leaks' or 'all', not '%s'", value);
    return EXIT_DONE;
}

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct check_args),
    { OPT_TEXT, 'T', "cache", "CACHE", "cache mode to open FILE with (default: writeback)",
      offsetof(struct check_args, cache), NULL },
    { OPT_CALL, 'r', "repair", "leaks|all",
      "mend what is found: only space that nothing uses, or all that can be",
      offsetof(struct check_args, fix), set_repair },
    { OPT_TEXT, 0, "undo", "UNDO",
      "with --repair: keep in the new file UNDO what is overwritten, durable\n"
      "before it is",
      offsetof(struct check_args, undo), NULL },
    { OPT_TEXT, 0, "undo-apply", "UNDO",
      "do nothing but put FILE back as it was before that repair",
      offsetof(struct check_args, undo_apply), NULL },
    { OPT_FLAG, 0, "explain", NULL,
      "say for each finding where it lies and what of the guest's disk it\n"
      "endangers",
      offsetof(struct check_args, explain), NULL },
    OPT_SHARE_ROW(struct check_args),
    OPT_OUTPUT_ROW(struct check_args),
    OPT_PROGRESS_ROW(struct check_args),
    OPT_QUIET_ROW(struct check_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

struct check_run {
    struct job job; /* first: what the progress callback is called with */
    struct tool *tool;
    const struct check_args *args;
    struct qimg_image *image;
    struct check_findings findings; /* kept for JSON */
    bool lost;                      /* some could not be kept */
};

static void on_finding(void *user, const struct qimg_check_finding *finding)
{
    struct check_run *run = user;
    job_clear(&run->job);
    check_print_finding(run->tool, finding, run->args->explain);
    if (run->args->explain && run->args->json && check_findings_add(&run->findings, finding) < 0)
        run->lost = true;
}

static int check_once(struct check_run *run, enum qimg_check_fix fix,
                      struct qimg_check_result *result, struct qimg_error *err)
{
    const struct qimg_check_options options = {
        .fix = fix,
        .undo_name = run->args->undo,
        .explain = run->args->explain,
        .finding = on_finding,
        .progress = job_progress,
        .user = run,
    };
    return qimg_image_check(run->image, &options, result, err);
}

/* Once, and after a repair once more: what was mended by the first, what is left by the second. */
static int check_twice(struct check_run *run, struct qimg_check_result *result,
                       struct qimg_error *err)
{
    int rc = check_once(run, run->args->fix, result, err);
    if (rc < 0 || !(result->corruptions_fixed || result->leaks_fixed))
        return rc;
    const struct qimg_check_result first = *result;
    if (!run->args->json && !run->args->quiet)
        check_print_repaired(&first);
    rc = check_once(run, QIMG_CHECK_FIX_NONE, result, err);
    result->corruptions_fixed = first.corruptions_fixed;
    result->leaks_fixed = first.leaks_fixed;
    return rc;
}

static int exit_code(const struct qimg_check_result *result)
{
    if (result->corruptions)
        return EXIT_CHECK_CORRUPT;
    return result->leaks ? EXIT_CHECK_LEAKS : EXIT_DONE;
}

static int run_check(struct check_run *run, const char *name)
{
    struct qimg_check_result result;
    struct qimg_error err;
    qimg_error_clear(&err);
    int rc = check_twice(run, &result, &err);
    if (rc < 0) {
        job_fail(&run->job, &err, "'%s' is as it was before", name);
        return rc == -ENOTSUP ? EXIT_CHECK_UNSUPPORTED : EXIT_FAILED;
    }
    job_complete(&run->job);
    if (run->args->json && !run->args->quiet)
        check_print_json(&result, name, qimg_image_format(run->image),
                         run->args->explain ? &run->findings : NULL);
    else if (!run->args->quiet)
        check_print_human(&result);
    if (result.check_errors)
        return tool_fail(run->tool, "Check failed");
    if (run->lost)
        return tool_fail(run->tool, "out of memory");
    return exit_code(&result);
}

static int open_and_check(struct tool *tool, const struct check_args *args, const char *name,
                          struct qimg_context *context)
{
    struct check_run run = { .tool = tool, .args = args };
    struct qimg_open_options options = {
        .format = args->format,
        .writable = args->fix != QIMG_CHECK_FIX_NONE,
        .check = true,
        .no_backing = tool->options.gate.policy != QIMG_POLICY_QEMU,
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .image_opts = args->image_opts,
    };
    if (args->cache && args_cache(tool, "source cache option", args->cache, &options.cache))
        return EXIT_FAILED;
    int code = args_open(tool, context, name, &options, &run.image);
    if (code != EXIT_DONE)
        return code;
    job_begin(
        &run.job, tool,
        (struct progress_spec){
            .style = args->progress_style, .quiet = args->quiet, .in_steps = true, .step = 1 });
    job_start(&run.job);
    code = job_end(&run.job, run_check(&run, name));
    check_findings_release(&run.findings);
    qimg_image_close(run.image);
    return code;
}

static int undo(struct tool *tool, const struct check_args *args, const char *name,
                struct qimg_context *context)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_check_undo(context, args->undo_apply, name, &err) < 0)
        return tool_fail_error(tool, "", &err);
    return EXIT_DONE;
}

static void say_what_is_done(struct tool *tool, const struct check_args *args, const char *name)
{
    confine_reads(tool, name, args->image_opts);
    if (args->undo)
        confine_makes(tool, args->undo);
    if (args->undo_apply)
        confine_reads(tool, args->undo_apply, false);
    if (args->undo_apply || args->fix != QIMG_CHECK_FIX_NONE)
        confine_changes(tool, name, args->image_opts);
}

int cmd_check(struct tool *tool, int argc, char **argv)
{
    struct check_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    if (args.json && args.progress_style == PROGRESS_SHOWN)
        return tool_fail_usage(tool, "-p does not go with --output=json; --progress=json does");
    if (args.undo && args.fix == QIMG_CHECK_FIX_NONE)
        return tool_fail_usage(tool, "--undo goes with --repair (-r)");
    if (args.undo_apply && args.fix != QIMG_CHECK_FIX_NONE)
        return tool_fail_usage(tool, "--undo-apply does not go with --repair (-r)");
    struct qimg_context *context;
    say_what_is_done(tool, &args, argv[optind]);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args.undo_apply ? undo(tool, &args, argv[optind], context)
                               : open_and_check(tool, &args, argv[optind], context);
    qimg_context_free(context);
    return code;
}

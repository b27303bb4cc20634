/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot: list, make, apply and delete internal snapshots.
 */
#include <getopt.h>

#include "args.h"
#include "confine.h"
#include "info_print.h"
#include "job.h"
#include "opt.h"

struct action {
    char letter; /* 0 = none asked for */
    const char *name;
    bool mixed;
};

struct snapshot_args {
    const char *format;
    bool image_opts, force_share, quiet;
    struct action action;
};

static int set_action(struct action *action, char letter, const char *name)
{
    action->mixed = action->mixed || action->letter;
    action->letter = letter;
    action->name = name;
    return EXIT_DONE;
}

#define ACTION(verb, letter) \
    static int set_##verb(struct tool *tool, void *slot, const char *value) \
    { \
        (void)tool; \
        return set_action(slot, letter, value); \
    }

ACTION(list, 'l')
ACTION(create, 'c')
ACTION(apply, 'a')
ACTION(delete, 'd')

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct snapshot_args),
    OPT_SHARE_ROW(struct snapshot_args),
    { OPT_CALL, 'l', "list", NULL, "list all snapshots (the default)",
      offsetof(struct snapshot_args, action), set_list },
    { OPT_CALL, 'c', "create", "SNAPSHOT", "keep the state of the disk as SNAPSHOT",
      offsetof(struct snapshot_args, action), set_create },
    { OPT_CALL, 'a', "apply", "SNAPSHOT", "go back to SNAPSHOT (an id or a name)",
      offsetof(struct snapshot_args, action), set_apply },
    { OPT_CALL, 'd', "delete", "SNAPSHOT", "delete the first snapshot of that name",
      offsetof(struct snapshot_args, action), set_delete },
    OPT_QUIET_ROW(struct snapshot_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

static int list(struct tool *tool, struct qimg_image *image)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_info info;
    if (qimg_image_info(image, &info, &err) < 0)
        return tool_fail_error(tool, "", &err);
    if (info.snapshot_count > 0)
        info_print_snapshots(stdout, &info);
    qimg_info_release(&info);
    return EXIT_DONE;
}

static int change(struct tool *tool, const struct action *action, struct qimg_image *image,
                  const char *file)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct job job;
    const struct qimg_snapshot_options options = { .progress = job_progress, .user = &job };
    int code = EXIT_DONE, rc = 0;
    job_begin(&job, tool, (struct progress_spec){ 0 });
    if (action->letter == 'c')
        rc = qimg_snapshot_create(image, action->name, &options, &err);
    else if (action->letter == 'a')
        rc = qimg_snapshot_apply(image, action->name, &options, &err);
    else
        rc = qimg_snapshot_delete(image, action->name, &options, &err);
    if (rc < 0)
        code = job_fail(&job, &err, "'%s' is as it was before", file);
    return job_end(&job, code);
}

static int run(struct tool *tool, const struct snapshot_args *args, const char *file)
{
    struct qimg_context *context;
    struct qimg_image *image;
    const bool writes = args->action.letter != 'l';
    const struct qimg_open_options options = {
        .format = args->format,
        .writable = writes,
        .info_only = true,
        .no_backing = true,
        .image_opts = args->image_opts,
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
    };
    if (writes)
        confine_changes(tool, file, args->image_opts);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, file, &options, &image);
    if (code == EXIT_DONE) {
        code = writes ? change(tool, &args->action, image, file) : list(tool, image);
        qimg_image_close(image);
    }
    qimg_context_free(context);
    return code;
}

int cmd_snapshot(struct tool *tool, int argc, char **argv)
{
    struct snapshot_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (args.action.mixed)
        return tool_fail_usage(tool, "Cannot mix '-l', '-a', '-c', '-d'");
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    if (args.action.letter == 0)
        args.action.letter = 'l';
    return run(tool, &args, argv[optind]);
}

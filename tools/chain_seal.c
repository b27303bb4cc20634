/* SPDX-License-Identifier: Apache-2.0
 *
 * chain seal: make, renew or remove the fingerprints of backing files.
 */
#include <getopt.h>

#include "args.h"
#include "chain_verbs.h"
#include "confine.h"
#include "job.h"
#include "opt.h"
#include "text.h"

struct seal_args {
    const char *format;
    enum progress_style progress_style;
    bool content, remove, quiet;
};

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "format", "FMT", "format of IMAGE (default: found by its content)",
      offsetof(struct seal_args, format), NULL },
    { OPT_FLAG, 0, "content", NULL, "record a digest of all that is read from the backing file too",
      offsetof(struct seal_args, content), NULL },
    { OPT_FLAG, 0, "remove", NULL, "take the record away", offsetof(struct seal_args, remove),
      NULL },
    OPT_PROGRESS_ROW(struct seal_args),
    OPT_QUIET_ROW(struct seal_args),
    { OPT_OPERAND, 0, "IMAGE", NULL, "an image with a backing file", 0, NULL },
    OPT_ROWS_END,
};

static void tell(const struct seal_args *args, const char *name)
{
    if (args->quiet)
        return;
    text_show(stdout, name);
    printf(args->remove ? ": fingerprint removed\n" : ": fingerprint recorded\n");
}

static int seal(struct tool *tool, const struct seal_args *args, struct qimg_context *context,
                const char *name)
{
    const struct qimg_open_options how = {
        .format = args->format, .writable = true, .info_only = true, .no_backing = true
    };
    struct qimg_image *image;
    struct qimg_error err;
    struct job job;
    qimg_error_clear(&err);
    if (args_open(tool, context, name, &how, &image))
        return EXIT_FAILED;
    job_begin(
        &job, tool,
        (struct progress_spec){ .style = args->progress_style, .quiet = args->quiet, .step = 1 });
    job_start(&job);
    const struct qimg_seal_options options = { .content = args->content,
                                               .progress = job_progress,
                                               .user = &job };
    int code = EXIT_DONE;
    if ((args->remove ? qimg_image_unseal(image, &err) : qimg_image_seal(image, &options, &err)) <
        0)
        code = job_fail(&job, &err, "'%s' is as it was before", name);
    else
        job_complete(&job);
    qimg_image_close(image);
    if (code == EXIT_DONE)
        tell(args, name);
    return job_end(&job, code);
}

int chain_seal(struct tool *tool, int argc, char **argv)
{
    struct seal_args args = { 0 };
    struct qimg_context *context;
    const int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count < 1)
        return tool_fail_usage(tool, "Expecting image file names");
    for (int i = 0; i < count; i++)
        confine_changes(tool, argv[optind + i], false);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = EXIT_DONE;
    for (int i = 0; i < count && code == EXIT_DONE; i++)
        code = seal(tool, &args, context, argv[optind + i]);
    qimg_context_free(context);
    return code;
}

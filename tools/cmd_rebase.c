/* SPDX-License-Identifier: Apache-2.0
 *
 * rebase: change what an image names as its backing file. Only -u, which changes the name and
 * nothing else, is there; without it the guest's data would have to be compared and copied.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "job.h"
#include "opt.h"

struct rebase_args {
    const char *format, *cache, *backing, *backing_format, *backing_cache;
    bool image_opts, compress, unchecked, force_share, quiet;
    enum progress_style progress_style;
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
    { OPT_FLAG, 'c', "compress", NULL, NULL, offsetof(struct rebase_args, compress), NULL },
    OPT_SHARE_ROW(struct rebase_args),
    OPT_PROGRESS_ROW(struct rebase_args),
    OPT_QUIET_ROW(struct rebase_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

/* Where @backing lies if the overlay @file names it. NULL: no memory. */
static char *backing_path(const char *file, const char *backing)
{
    const char *slash = strrchr(file, '/'), *colon = strchr(backing, ':');
    bool protocol = colon && !memchr(backing, '/', (size_t)(colon - backing));
    char *path;
    int dir = slash && *backing != '/' && !protocol ? (int)(slash + 1 - file) : 0;
    return asprintf(&path, "%.*s%s", dir, file, backing) < 0 ? NULL : path;
}

/* What cannot be done yet is refused behind the complaints that qemu-img would have. */
static int refuse_safe(struct tool *tool, struct qimg_context *context,
                       const struct rebase_args *args, const char *file)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_image *image = NULL;
    struct qimg_open_options options = {
        .format = args->backing_format,
        .no_backing = true,
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
    };
    if (args->backing_format && !qimg_format_known(args->backing_format))
        return tool_fail(tool, "Invalid format name: '%s'", args->backing_format);
    char *path = backing_path(file, args->backing);
    if (!path)
        return tool_fail(tool, "out of memory");
    int rc = *args->backing ? qimg_image_open(context, path, &options, &image, &err) : 0;
    if (rc < 0)
        tool_fail(tool, "Could not open new backing file '%s': %s", args->backing,
                  args_reason(&err, path));
    else
        tool_fail(tool, "A rebase that compares and copies data is not available in this "
                        "version; -u changes the name alone");
    qimg_image_close(image);
    free(path);
    return EXIT_FAILED;
}

static int change_backing(struct tool *tool, const struct rebase_args *args,
                          struct qimg_image *image)
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

static int rebase(struct tool *tool, const struct rebase_args *args, const char *file)
{
    struct qimg_context *context;
    struct qimg_image *image;
    enum qimg_cache unused;
    struct qimg_open_options options = {
        .format = args->format,
        .writable = true,
        .info_only = args->unchecked,
        .no_backing = true,
        .image_opts = args->image_opts,
    };
    if (args->cache && args_cache(tool, "cache option", args->cache, &options.cache))
        return EXIT_FAILED;
    if (args->backing_cache &&
        args_cache(tool, "source cache option", args->backing_cache, &unused))
        return EXIT_FAILED;
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, file, &options, &image);
    if (code == EXIT_DONE) {
        code = args->unchecked ? change_backing(tool, args, image)
                               : refuse_safe(tool, context, args, file);
        qimg_image_close(image);
    }
    qimg_context_free(context);
    return code;
}

int cmd_rebase(struct tool *tool, int argc, char **argv)
{
    struct rebase_args args = { 0 };
    struct job job;
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    if (!args.unchecked && !args.backing)
        return tool_fail_usage(tool, "Must specify backing file (-b) or use unsafe mode (-u)");
    job_begin(
        &job, tool,
        (struct progress_spec){ .style = args.progress_style, .quiet = args.quiet, .step = 2 });
    job_start(&job);
    int code = rebase(tool, &args, argv[optind]);
    if (code == EXIT_DONE)
        job_complete(&job);
    return job_end(&job, code);
}

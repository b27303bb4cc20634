/* SPDX-License-Identifier: Apache-2.0
 *
 * resize: give the disk of an image another size.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "confine.h"
#include "job.h"
#include "opt.h"

struct resize_args {
    const char *file, *format, *preallocation;
    bool image_opts, shrink, quiet;
    enum progress_style progress_style;
};

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct resize_args),
    { OPT_FLAG, 0, "shrink", NULL,
      "allow FILE to get smaller: what lies behind the new end is lost",
      offsetof(struct resize_args, shrink), NULL },
    { OPT_TEXT, 0, "preallocation", "PREALLOC",
      "what to do with space that is added: off, metadata, falloc, full",
      offsetof(struct resize_args, preallocation), NULL },
    OPT_PROGRESS_ROW(struct resize_args),
    OPT_QUIET_ROW(struct resize_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    { OPT_OPERAND, 0, "[+-]SIZE", NULL,
      "the new size in bytes, or with a suffix k, M, G, T, P or E (powers of 1024);\n"
      "with a sign, relative to the present size",
      0, NULL },
    OPT_ROWS_END,
};

/* A size as on the command line: a sign makes it relative. */
struct change {
    int sign; /* 0 = absolute */
    uint64_t bytes;
};

static int parse_change(const struct tool *tool, const char *text, struct change *out)
{
    out->sign = *text == '+' ? 1 : *text == '-' ? -1 : 0;
    text += out->sign != 0;
    if (qimg_size_parse(text, &out->bytes) == 0)
        return EXIT_DONE;
    tool_fail(tool, "Parameter 'size' expects a non-negative number below 2^64");
    fputs("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
          "and exabytes, respectively.\n",
          stderr);
    return EXIT_FAILED;
}

static int new_size(const struct tool *tool, uint64_t now, struct change change, uint64_t *out)
{
    *out = change.bytes;
    if (change.sign > 0)
        *out = now + change.bytes;
    else if (change.sign < 0)
        *out = change.bytes < now ? now - change.bytes : 0;
    if (*out == 0 || *out > INT64_MAX || (change.sign > 0 && *out < now))
        return tool_fail(tool, "New image size must be positive");
    return EXIT_DONE;
}

/* qemu-img takes the right to resize when it opens the image, the library when it resizes. */
static void say_at_opening(struct qimg_error *err, const char *name)
{
    struct qimg_error bare = *err;
    (void)snprintf(err->text, sizeof(err->text), "Could not open '%s': %.*s", name,
                   QIMG_ERROR_TEXT / 2, bare.text);
}

static int resize_image(struct tool *tool, const struct resize_args *args, struct change change,
                        struct qimg_image *image, struct job *job)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_resize_options options = {
        .shrink = args->shrink,
        .progress = job_progress,
        .user = job,
    };
    if (new_size(tool, qimg_image_size(image), change, &options.size))
        return EXIT_FAILED;
    if (args->preallocation)
        (void)qimg_preallocation_parse(args->preallocation, &options.preallocation);
    const bool loses = options.size < qimg_image_size(image) && !args->shrink;
    job_start(job);
    if (qimg_image_resize(image, &options, &err) == 0) {
        job_complete(job);
        if (!args->quiet)
            puts("Image resized.");
        return EXIT_DONE;
    }
    if (err.code == EAGAIN)
        say_at_opening(&err, args->file);
    job_fail(job, &err, "the image is as it was before");
    if (loses && !options.preallocation)
        tool_warn(tool, "Shrinking an image will delete all data beyond the shrunken image's end. "
                        "Before performing such an operation, make sure there is no important "
                        "data there.");
    return EXIT_FAILED;
}

static int resize(struct tool *tool, const struct resize_args *args, struct change change)
{
    struct qimg_context *context;
    struct qimg_image *image;
    const struct qimg_open_options options = {
        .format = args->format,
        .writable = true,
        .next_only = tool->options.gate.policy != QIMG_POLICY_QEMU && !args->image_opts,
        .image_opts = args->image_opts,
    };
    confine_changes(tool, args->file, args->image_opts);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, args->file, &options, &image);
    if (code == EXIT_DONE) {
        struct job job;
        job_begin(&job, tool,
                  (struct progress_spec){
                      .style = args->progress_style, .quiet = args->quiet, .step = 1 });
        code = job_end(&job, resize_image(tool, args, change, image, &job));
        qimg_image_close(image);
    }
    qimg_context_free(context);
    return code;
}

/* "-SIZE" that follows FILE is no option. getopt is not shown it: the argument is taken out, and a
 * "--" keeps what is left in order. Returns the argument, or NULL. */
static char *take_negative(int *argc, char **argv)
{
    for (int i = 2; i < *argc; i++) {
        const char *c = argv[i];
        if (strcmp(c, "--") == 0)
            return NULL;
        if (c[0] != '-' || c[1] < '0' || c[1] > '9')
            continue;
        char *taken = argv[i];
        memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof(*argv));
        (*argc)--;
        return taken;
    }
    return NULL;
}

int cmd_resize(struct tool *tool, int argc, char **argv)
{
    struct resize_args args = { 0 };
    struct change change;
    enum qimg_preallocation unused;
    char *negative = take_negative(&argc, argv);
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (args.preallocation && qimg_preallocation_parse(args.preallocation, &unused) < 0)
        return tool_fail(tool, "Invalid preallocation mode '%s'", args.preallocation);
    if (count + (negative != NULL) != 2)
        return tool_fail_usage(tool, "Expecting image file name and size");
    if (parse_change(tool, negative ? negative : argv[optind + 1], &change))
        return EXIT_FAILED;
    args.file = argv[optind];
    return resize(tool, &args, change);
}

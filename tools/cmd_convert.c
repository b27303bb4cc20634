/* SPDX-License-Identifier: Apache-2.0
 *
 * convert: copy what one image reads as, or several after each other, into another one. The
 * checks of options stand in qemu-img's order.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "args.h"
#include "confine.h"
#include "convert_args.h"
#include "job.h"
#include "opt.h"

static struct qimg_open_options source_options(const struct convert_args *args)
{
    return (struct qimg_open_options){
        .format = args->format,
        .cache = args->source_cache_mode,
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_SOURCE,
        .image_opts = args->image_opts,
    };
}

/* Opens all sources; the snapshot is that of the first. */
static int open_sources(struct tool *tool, struct qimg_context *context,
                        const struct convert_args *args, char **names, struct qimg_image **sources)
{
    struct qimg_open_options options = source_options(args);
    const bool several = args->snapshot.either && args->source_count > 1;
    const bool snapshot = snapshot_arg_given(&args->snapshot) && !several;
    if (args->image_opts && args->format)
        return tool_fail(tool, "--image-opts and --format are mutually exclusive");
    for (size_t i = 0; i < args->source_count; i++) {
        int code = i == 0 && snapshot ? snapshot_arg_open(tool, context, names[i], &options,
                                                          &args->snapshot, &sources[i])
                                      : args_open(tool, context, names[i], &options, &sources[i]);
        if (code)
            return code;
    }
    if (several)
        return tool_fail(tool, "No support for concatenating multiple snapshot");
    return EXIT_DONE;
}

/* A conversion that was stopped also says what is left of its target. */
static int fail(struct job *job, const char *target, const struct qimg_error *err)
{
    struct stat st;
    if (stat(target, &st) < 0)
        return job_fail(job, err, "no '%s' is left behind", target);
    if (S_ISREG(st.st_mode) && st.st_size == 0)
        return job_fail(job, err, "'%s' is empty", target);
    return job_fail(job, err, "'%s' holds a part of what was to be copied", target);
}

/* QEMU complains of this combination and exits with 0 all the same. It is found before anything in
 * qimg_convert() can fail. */
static bool is_no_failure(const struct tool *tool, const struct convert_args *args)
{
    return tool->as_qemu && args->target_is_zero && args->backing;
}

static int convert(struct tool *tool, struct qimg_context *context, const struct convert_args *args,
                   char **names, struct job *job)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_image **sources = calloc(args->source_count, sizeof(*sources));
    if (!sources)
        return tool_fail(tool, "out of memory");
    int code = open_sources(tool, context, args, names, sources);
    struct qimg_convert_options options = {
        .sources = sources,
        .source_count = args->source_count,
        .target = names[args->source_count],
        .target_format = args->target_format,
        .options = args->options.list,
        .option_count = args->options.count,
        .backing_name = args->backing,
        .backing_format = args->backing_format,
        .compress = args->compress,
        .compression_level = (unsigned)args->compression_level,
        .bitmaps = args->bitmaps,
        .skip_broken_bitmaps = args->skip_broken_bitmaps,
        .no_create = args->no_create,
        .target_is_zero = args->target_is_zero,
        .target_image_opts = args->target_image_opts,
        .target_cache = args->target_cache_mode,
        .sync = args->sync,
        .sparse_size = args->sparse_size,
        .parallel = (unsigned)args->parallel,
        .out_of_order = args->out_of_order,
        .salvage = args->salvage,
        .copy_offload = args->copy_offload,
        .rate_limit = args->rate_limit,
        .progress = job_progress,
        .user = job,
    };
    if (code == EXIT_DONE && qimg_convert(context, &options, &err) < 0) {
        code = fail(job, options.target, &err);
        if (is_no_failure(tool, args))
            code = EXIT_DONE;
    }
    for (size_t i = 0; i < args->source_count; i++)
        qimg_image_close(sources[i]);
    free(sources);
    return code;
}

static void report_work(const struct tool *tool, const struct qimg_context *context)
{
    struct qimg_stats stats;
    if (!tool->verbose)
        return;
    qimg_context_stats(context, &stats);
    fprintf(stderr,
            "read %" PRIu64 " bytes in %" PRIu64 " requests, wrote %" PRIu64 " bytes in %" PRIu64
            "; %" PRIu64 " submissions, at most %" PRIu64 " under way\n",
            stats.bytes_read, stats.reads, stats.bytes_written, stats.writes, stats.submits,
            stats.max_in_flight);
}

static void say_what_is_done(struct tool *tool, const struct convert_args *args, char **names)
{
    const char *target = names[args->source_count];
    if (!args->backing) /* opened for its size, by the name that the target records */
        for (size_t i = 0; i < args->source_count; i++)
            confine_reads(tool, names[i], args->image_opts);
    if (args->no_create) {
        confine_changes(tool, target, args->target_image_opts);
        return;
    }
    confine_makes(tool, target);
    confine_makes_beside(tool, target, args_option(&args->options, "data_file"));
}

static int run(struct tool *tool, const struct convert_args *args, char **names)
{
    struct qimg_context *context;
    struct job job;
    say_what_is_done(tool, args, names);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    job_begin(
        &job, tool,
        (struct progress_spec){ .style = args->progress_style, .quiet = args->quiet, .step = 1 });
    job_start(&job);
    int code = convert(tool, context, args, names, &job);
    if (code == EXIT_DONE)
        job_complete(&job);
    job_end(&job, code);
    report_work(tool, context);
    qimg_context_free(context);
    return code;
}

int cmd_convert(struct tool *tool, int argc, char **argv)
{
    struct convert_args args = { .sparse_size = 4096, .parallel = 8, .target_cache = "unsafe" };
    int count = opt_parse(tool, convert_rows, &args, argc, argv);
    int code = count < 0 ? tool->exit_code : convert_check(tool, &args, count);
    if (count >= 0 && code == EXIT_DONE && !args.only_help)
        code = run(tool, &args, argv + optind);
    convert_args_release(&args);
    return code;
}

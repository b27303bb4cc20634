/* SPDX-License-Identifier: Apache-2.0
 *
 * bench: how long do requests to an image take? Either qemu-img's command, with its options, output
 * and refusals; or, where one of our own options asks for it, a report of several rounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "args.h"
#include "bench_against.h"
#include "bench_rounds.h"
#include "confine.h"
#include "job.h"

/* --- qemu-img's lines ------------------------------------------------------------------------- */

static void announce(const struct bench_load *load)
{
    printf("Sending %" PRIu64 " %s requests, %" PRIu32 " bytes each, %" PRIu32
           " in parallel (starting at offset %" PRIu64 ", step size %" PRIu32 ")\n",
           load->count, load->work.write_percent ? "write" : "read", load->work.len, load->depth,
           load->work.off, load->work.step);
    if (load->flush_interval)
        printf("Sending flush every %" PRIu32 " requests\n", load->flush_interval);
    fflush(stdout);
}

static int run_once(const struct tool *tool, struct qimg_image *image,
                    const struct bench_options *options)
{
    static struct bench_result result; /* histograms are large */
    struct qimg_error err;
    qimg_error_clear(&err);
    announce(&options->load);
    int code = bench_load_run(tool, image, &options->load, &result);
    if (code == EXIT_DONE)
        printf("Run completed in %.3f seconds.\n", (double)result.ns / 1e9);
    if (bench_options_write(options) && qimg_image_finish(image, &err) < 0)
        code = tool_fail_error(tool, "", &err);
    return code;
}

static int run_plain(struct tool *tool, const struct bench_options *options)
{
    const struct qimg_open_options how = bench_open_options(options);
    struct qimg_context *context;
    struct qimg_image *image;
    if (bench_options_write(options))
        confine_changes(tool, options->name, how.image_opts);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, options->name, &how, &image);
    if (code == EXIT_DONE) {
        code = run_once(tool, image, options);
        qimg_image_close(image);
    }
    qimg_context_free(context);
    return code;
}

/* --- the report ------------------------------------------------------------------------------- */

/* The files beside the report are opened before the work begins, so that a wrong name fails at
 * once. */
struct beside {
    struct bench_old *old; /* --against */
    FILE *plot;            /* --plot */
    bool plot_is_new, drawn;
};

/* An older file keeps its content until there is a plot to replace it. */
static FILE *open_plot(const char *name, bool *is_new)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    *is_new = fd >= 0;
    if (fd < 0 && errno == EEXIST)
        fd = open(name, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? NULL : fdopen(fd, "w");
}

static int beside_open(const struct tool *tool, const struct bench_options *options,
                       struct beside *beside)
{
    if (options->against && bench_old_read(tool, options->against, &beside->old))
        return EXIT_FAILED;
    if (!options->plot)
        return EXIT_DONE;
    beside->plot = open_plot(options->plot, &beside->plot_is_new);
    if (!beside->plot)
        return tool_fail(tool, "Could not open '%s': %s", options->plot, strerror(errno));
    return EXIT_DONE;
}

/* A pipe or a device has nothing to lose. */
static bool make_empty(FILE *plot)
{
    struct stat st;
    return fstat(fileno(plot), &st) == 0 &&
           (!S_ISREG(st.st_mode) || ftruncate(fileno(plot), 0) == 0);
}

static int draw(const struct tool *tool, const struct bench_report *report, struct beside *beside)
{
    FILE *plot = beside->plot;
    if (!plot)
        return EXIT_DONE;
    beside->plot = NULL;
    bool drawn = make_empty(plot);
    if (drawn)
        bench_print_plot(plot, report);
    drawn = fflush(plot) == 0 && drawn;
    const int why = errno;
    beside->drawn = fclose(plot) == 0 && drawn;
    if (beside->drawn)
        return EXIT_DONE;
    return tool_fail(tool, "Could not write '%s': %s", report->options->plot,
                     strerror(drawn ? errno : why));
}

/* Removes a file that was made here and got no plot. */
static void beside_close(const struct bench_options *options, struct beside *beside)
{
    bench_old_free(beside->old);
    if (beside->plot)
        (void)fclose(beside->plot);
    if (beside->plot_is_new && !beside->drawn)
        (void)unlink(options->plot);
}

static void print(const struct bench_report *report, const struct bench_comparison *comparison)
{
    const enum bench_output output = report->options->output;
    if (output == BENCH_JSON) {
        bench_print_json(stdout, report, comparison);
    } else if (output == BENCH_CSV) {
        bench_print_csv(stdout, report);
    } else {
        bench_print_text(stdout, report);
        if (comparison)
            bench_comparison_text(stdout, comparison, report);
    }
}

static int verdict(const struct tool *tool, const struct bench_comparison *comparison)
{
    if (comparison->compared == 0)
        return tool_fail(tool, "Nothing of '%s' could be compared",
                         bench_old_name(comparison->old));
    return comparison->regressions ? EXIT_BENCH_REGRESSION : EXIT_DONE;
}

static int tell(const struct tool *tool, const struct bench_report *report, struct beside *beside)
{
    struct bench_comparison comparison;
    int code = draw(tool, report, beside);
    if (!beside->old) {
        print(report, NULL);
        return code;
    }
    const int compared = bench_compare(tool, beside->old, report, &comparison);
    print(report, compared == EXIT_DONE ? &comparison : NULL);
    if (code == EXIT_DONE)
        code = compared == EXIT_DONE ? verdict(tool, &comparison) : compared;
    bench_comparison_release(&comparison);
    return code;
}

static int run_report(struct tool *tool, const struct bench_options *options)
{
    static const struct qimg_error stopped = { .code = ECANCELED };
    confine_anything(tool); /* it makes chains, and draws */
    struct bench_report report = { .options = options, .context = &tool->options };
    struct beside beside = { 0 };
    struct job job;
    job_begin(&job, tool, (struct progress_spec){ .style = PROGRESS_NONE });
    int code = beside_open(tool, options, &beside);
    if (code == EXIT_DONE)
        code = bench_rounds_run(tool, &report);
    if (code == EXIT_DONE)
        code = tell(tool, &report, &beside);
    else if (job_stopped())
        job_fail(&job, &stopped,
                 options->depths.count ? "the chains were taken away" : "there is no report");
    beside_close(options, &beside);
    bench_report_release(&report);
    return job_end(&job, code);
}

int cmd_bench(struct tool *tool, int argc, char **argv)
{
    struct bench_options options;
    if (bench_options_parse(tool, argc, argv, &options) < 0)
        return tool->exit_code;
    return options.output == BENCH_LINES ? run_plain(tool, &options) : run_report(tool, &options);
}

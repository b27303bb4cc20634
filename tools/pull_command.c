/* SPDX-License-Identifier: Apache-2.0 */
#include "pull_command.h"

#include <inttypes.h>

#include "args.h"
#include "confine.h"
#include "out.h"
#include "text.h"

/* --- the plan --------------------------------------------------------------------------------- */

static void print_json(const char *file, const struct qimg_pull_plan *plan)
{
    struct out out = out_json(stdout);

    out_object(&out, NULL);
    out_text(&out, "filename", file);
    out_text(&out, "backing-filename", plan->backing_name);
    out_text(&out, "backing-filename-format", plan->backing_format);
    out_number(&out, "own", plan->own);
    out_number(&out, "proved-equal", plan->proved);
    out_number(&out, "compare", plan->looked);
    out_number(&out, "read-old", plan->read_old);
    out_number(&out, "read-new", plan->read_new);
    out_number(&out, "copy-at-most", plan->copy_max);
    out_number(&out, "zero-at-most", plan->zero_max);
    out_number(&out, "file-length", plan->file_size);
    out_number(&out, "file-length-at-most", plan->file_max);
    out_close(&out);
    putchar('\n');
}

static void print_line(const char *what, uint64_t bytes, const char *more)
{
    char size[16];

    qimg_size_print(bytes, size, sizeof(size));
    printf("%-22s %s (%" PRIu64 " bytes)%s\n", what, size, bytes, more);
}

static void print_text(const char *file, const struct qimg_pull_plan *plan)
{
    fputs("image:                 ", stdout);
    text_show(stdout, file);
    fputs("\nnew backing file:      ", stdout);
    text_show(stdout, plan->backing_name ? plan->backing_name : "none");
    if (plan->backing_format) {
        fputs(" (", stdout);
        text_show(stdout, plan->backing_format);
        putchar(')');
    }
    putchar('\n');
    print_line("in the image already:", plan->own, "");
    print_line("proved equal by maps:", plan->proved, ", not read");
    print_line("to be looked at:", plan->looked, "");
    print_line("  read, old chain:", plan->read_old, "");
    print_line("  read, new chain:", plan->read_new, "");
    print_line("  copied, at most:", plan->copy_max, "");
    print_line("  marked zero, at most:", plan->zero_max, "");
    print_line("image file, now:", plan->file_size, "");
    print_line("image file, at most:", plan->file_max, "");
}

static int print_plan(const struct pull_command *command, struct qimg_image *image)
{
    struct qimg_pull_plan plan;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (command->make_plan(command, image, &plan, &err) < 0)
        return tool_fail_error(command->tool, "", &err);
    if (command->json)
        print_json(command->file, &plan);
    else
        print_text(command->file, &plan);
    qimg_pull_plan_release(&plan);
    return EXIT_DONE;
}

/* --- the work --------------------------------------------------------------------------------- */

int pull_command_fail(const struct pull_command *command, struct job *job,
                      const struct qimg_pull_result *result, const struct qimg_error *err)
{
    return job_fail(job, err,
                    "'%s' reads as before and still has its old backing file; %" PRIu64
                    " bytes that were copied into it stay there",
                    command->file, result->copied + result->zeroed);
}

static int open_and_work(const struct pull_command *command, struct job *job)
{
    struct tool *tool = command->tool;
    struct qimg_context *context;
    struct qimg_image *image;
    if (!command->plan)
        confine_changes(tool, command->file, command->open.image_opts);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, command->file, &command->open, &image);
    if (code == EXIT_DONE) {
        code = command->plan ? print_plan(command, image) : command->work(command, image, job);
        qimg_image_close(image);
    }
    qimg_context_free(context);
    return code;
}

int pull_command_run(struct pull_command *command)
{
    struct job job;
    command->open.writable = !command->plan;
    command->progress.quiet |= command->plan;
    job_begin(&job, command->tool, command->progress);
    job_start(&job);
    const int code = open_and_work(command, &job);
    if (code == EXIT_DONE)
        job_complete(&job);
    return job_end(&job, code);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * chain mv: move images, and have every image that names them go on doing so.
 */
#include <getopt.h>
#include <unistd.h>

#include "chain_verbs.h"
#include "confine.h"
#include "opt.h"
#include "qimg/move.h"
#include "text.h"

#define DIRECTORIES_MAX 64

struct mv_args {
    const char *dependants[DIRECTORIES_MAX + 1];
    bool dry_run, quiet;
};

static int add_directory(struct tool *tool, void *slot, const char *value)
{
    const char **list = slot;
    size_t count = 0;
    while (list[count])
        count++;
    if (count == DIRECTORIES_MAX)
        return tool_fail(tool, "At most %d times --dependants-in", DIRECTORIES_MAX);
    list[count] = value;
    return EXIT_DONE;
}

static const struct opt_row rows[] = {
    { OPT_CALL, 0, "dependants-in", "DIR",
      "images below DIR may name what is moved: rewrite them (may be repeated)",
      offsetof(struct mv_args, dependants), add_directory },
    { OPT_FLAG, 0, "dry-run", NULL, "tell what would be done, and do nothing",
      offsetof(struct mv_args, dry_run), NULL },
    OPT_QUIET_ROW(struct mv_args),
    { OPT_OPERAND, 0, "SRC", NULL, "an image file, or a directory", 0, NULL },
    { OPT_OPERAND, 0, "DST", NULL, "a directory that is there; or the new name of one SRC", 0,
      NULL },
    OPT_ROWS_END,
};

static void print_pair(const char *from, const char *to)
{
    putchar('\'');
    text_show(stdout, from);
    fputs("' -> '", stdout);
    text_show(stdout, to);
    puts("'");
}

static void print_plan(const struct qimg_move_plan *plan)
{
    for (size_t i = 0; i < plan->rename_count; i++) {
        fputs("move ", stdout);
        print_pair(plan->renames[i].from, plan->renames[i].to);
    }
    for (size_t i = 0; i < plan->change_count; i++) {
        fputs("image ", stdout);
        text_show(stdout, plan->changes[i].image);
        fputs(": backing file ", stdout);
        print_pair(plan->changes[i].old_name, plan->changes[i].new_name);
    }
}

static int move(struct tool *tool, const struct mv_args *args, struct qimg_context *context,
                const struct qimg_move_options *options)
{
    struct qimg_move_plan plan;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_move_plan(context, options, &plan, &err) < 0)
        return tool_fail_error(tool, "", &err);
    int code = args->dry_run ? EXIT_CHAIN_PROPOSED : EXIT_DONE;
    if (!args->dry_run && qimg_move_apply(context, &plan, &err) < 0)
        code = tool_fail_error(tool, "", &err);
    else if (!args->quiet)
        print_plan(&plan);
    if (!args->quiet && code != EXIT_FAILED && !options->dependants)
        puts("images elsewhere that name what moves were not looked for: --dependants-in=DIR");
    if (args->dry_run && !args->quiet)
        puts("dry run, nothing written");
    qimg_move_plan_release(&plan);
    return code;
}

/* Were the sources moved by the run that was interrupted? */
static bool all_gone(const struct qimg_move_options *options)
{
    for (size_t i = 0; i < options->source_count; i++)
        if (access(options->sources[i], F_OK) == 0)
            return false;
    return true;
}

static int run(struct tool *tool, const struct mv_args *args, const char *const *names,
               size_t count)
{
    const struct qimg_move_options options = {
        .sources = names,
        .source_count = count - 1,
        .destination = names[count - 1],
        .dependants = args->dependants[0] ? args->dependants : NULL,
    };
    struct qimg_context *context;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (!args->dry_run)
        confine_anything(tool);
    confine_inspects(tool); /* so that a lock's holder can be named */
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = EXIT_DONE;
    const int completed =
        args->dry_run ? 0 : qimg_move_complete(context, options.destination, &err);
    if (completed < 0)
        code = tool_fail_error(tool, "", &err);
    else if (completed && !args->quiet)
        puts("an interrupted move was completed");
    if (code == EXIT_DONE && !(completed && all_gone(&options)))
        code = move(tool, args, context, &options);
    qimg_context_free(context);
    return code;
}

int chain_mv(struct tool *tool, int argc, char **argv)
{
    struct mv_args args = { 0 };
    const int count = opt_parse_ungated(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count < 2)
        return tool_fail_usage(tool, "Expecting what to move, and where to");
    return run(tool, &args, (const char *const *)argv + optind, (size_t)count);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * chain fix: what would mend the names in a chain, and, with --apply, mending them.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "chain_print.h"
#include "confine.h"
#include "opt.h"
#include "qimg/fix.h"
#include "text.h"

#define CHOICES_MAX 64

struct choices {
    struct qimg_fix_choice list[CHOICES_MAX];
    size_t count;
    bool bare; /* the option was given without its value */
};

struct fix_args {
    const char *format;
    struct choices formats, picks;
    const char *relocate[CHOICES_MAX + 1];
    bool relative, absolute, apply, json;
};

/* "IDX@VALUE", where @ is the separator. */
static int add_choice(struct tool *tool, struct choices *choices, const char *text, char separator)
{
    char *end;
    errno = 0;
    const unsigned long index = strtoul(text, &end, 10);
    if (errno || end == text || *end != separator || !end[1] || *text == '-')
        return tool_fail_usage(tool, "Expecting INDEX%cVALUE, not '%s'", separator, text);
    if (choices->count == CHOICES_MAX)
        return tool_fail(tool, "At most %d times the same option", CHOICES_MAX);
    choices->list[choices->count++] = (struct qimg_fix_choice){ .index = index, .value = end + 1 };
    return EXIT_DONE;
}

static int set_format(struct tool *tool, void *slot, const char *value)
{
    struct choices *choices = slot;
    if (value)
        return add_choice(tool, choices, value, ':');
    choices->bare = true;
    return EXIT_DONE;
}

static int add_pick(struct tool *tool, void *slot, const char *value)
{
    return add_choice(tool, slot, value, '=');
}

static int add_directory(struct tool *tool, void *slot, const char *value)
{
    const char **list = slot;
    size_t count = 0;
    while (list[count])
        count++;
    if (count == CHOICES_MAX)
        return tool_fail(tool, "At most %d times the same option", CHOICES_MAX);
    list[count] = value;
    return EXIT_DONE;
}

static const struct opt_row rows[] = {
    { OPT_TEXT, 'f', "format", "FMT", "format of IMAGE (default: found by its content)",
      offsetof(struct fix_args, format), NULL },
    { OPT_MAYBE, 0, "set-format", "INDEX:FMT",
      "record formats that are missing, where they are certain; of image INDEX as said",
      offsetof(struct fix_args, formats), set_format },
    { OPT_CALL, 0, "relocate", "DIR",
      "look for missing files below DIR, by the last part of their names (may be repeated)",
      offsetof(struct fix_args, relocate), add_directory },
    { OPT_CALL, 0, "pick", "INDEX=PATH", "image INDEX is the file PATH (may be repeated)",
      offsetof(struct fix_args, picks), add_pick },
    { OPT_FLAG, 0, "relative", NULL, "record names relative to the image that names",
      offsetof(struct fix_args, relative), NULL },
    { OPT_FLAG, 0, "absolute", NULL, "record absolute names", offsetof(struct fix_args, absolute),
      NULL },
    { OPT_FLAG, 0, "apply", NULL, "make the changes (default: only tell them)",
      offsetof(struct fix_args, apply), NULL },
    OPT_OUTPUT_ROW(struct fix_args),
    { OPT_OPERAND, 0, "IMAGE", NULL, "the image at the top of the chain", 0, NULL },
    OPT_ROWS_END,
};

/* --- printing -------------------------------------------------------------------------------- */

static void print_reference(const char *name, const char *format)
{
    putchar('\'');
    text_show(stdout, name);
    fputs("' (", stdout);
    text_show(stdout, format ? format : "no format recorded");
    putchar(')');
}

static void print_step(const struct qimg_fix_step *step)
{
    printf("image %zu ", step->level);
    text_show(stdout, step->image);
    if (step->data_file) {
        fputs(": data file '", stdout);
        text_show(stdout, step->old_name);
        fputs("'\n", stdout);
    } else {
        fputs(": backing file ", stdout);
        print_reference(step->old_name, step->old_format);
        putchar('\n');
    }
    for (size_t i = 0; i < step->candidate_count; i++) {
        const struct qimg_fix_candidate *c = &step->candidates[i];
        fputs("  candidate ", stdout);
        text_show(stdout, c->path);
        fputs("  ", stdout);
        text_show(stdout, c->evidence);
        puts(c->taken ? "  [taken]" : c->fits ? "  [fits]" : "");
    }
    fputs(step->problem ? "  undecided: " : "  becomes ", stdout);
    if (step->problem)
        text_show(stdout, step->problem);
    else
        print_reference(step->new_name, step->new_format);
    putchar('\n');
}

static void print_human(const struct qimg_fix_plan *plan, bool applied)
{
    for (size_t i = 0; i < plan->count; i++)
        print_step(&plan->steps[i]);
    if (plan->undecided)
        printf("%zu undecided, nothing written\n", plan->undecided);
    else if (plan->changes == 0)
        puts("nothing to do");
    else if (applied)
        printf("%zu image%s changed\n", plan->changes, plan->changes == 1 ? "" : "s");
    else
        puts("dry run, nothing written; add --apply");
}

static void print_candidates(struct out *out, const struct qimg_fix_step *step)
{
    out_list(out, "candidates");
    for (size_t i = 0; i < step->candidate_count; i++) {
        const struct qimg_fix_candidate *c = &step->candidates[i];
        out_object(out, NULL);
        out_text(out, "path", c->path);
        out_flag(out, "fits", c->fits);
        out_flag(out, "taken", c->taken);
        out_flag(out, "proven", c->proven);
        out_number(out, "equal-sectors", c->equal);
        out_number(out, "compared-sectors", c->compared);
        out_text(out, "evidence", c->evidence);
        out_close(out);
    }
    out_close(out);
}

static void print_json(const struct qimg_fix_plan *plan, bool applied)
{
    struct out out = out_json(stdout);
    out_object(&out, NULL);
    out_flag(&out, "applied", applied);
    out_number(&out, "undecided", plan->undecided);
    out_list(&out, "steps");
    for (size_t i = 0; i < plan->count; i++) {
        const struct qimg_fix_step *step = &plan->steps[i];
        out_object(&out, NULL);
        out_number(&out, "level", step->level);
        out_text(&out, "image", step->image);
        out_flag(&out, "data-file", step->data_file);
        out_text(&out, "old-name", step->old_name);
        out_text(&out, "old-format", step->old_format);
        out_text(&out, "new-name", step->new_name);
        out_text(&out, "new-format", step->new_format);
        out_text(&out, "problem", step->problem);
        print_candidates(&out, step);
        out_close(&out);
    }
    out_close(&out);
    out_close(&out);
}

/* --- the work ------------------------------------------------------------------------------- */

static int finish(struct tool *tool, const struct fix_args *args, struct qimg_context *context,
                  const struct qimg_fix_plan *plan)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    const bool apply = args->apply && plan->changes && !plan->undecided;
    if (apply && qimg_fix_apply(context, plan, &err) < 0) {
        tool_fail_error(tool, "", &err);
        return tool_fail(tool, "nothing was changed");
    }
    if (args->json)
        print_json(plan, apply);
    else
        print_human(plan, apply);
    if (plan->undecided)
        return EXIT_CHAIN_BROKEN;
    return plan->changes && !apply ? EXIT_CHAIN_PROPOSED : EXIT_DONE;
}

static int fix(struct tool *tool, const struct fix_args *args, struct qimg_context *context,
               const char *name)
{
    const struct qimg_fix_options options = {
        .format = args->format,
        .set_formats = args->formats.bare,
        .formats = args->formats.list,
        .format_count = args->formats.count,
        .relocate = args->relocate[0] ? args->relocate : NULL,
        .picks = args->picks.list,
        .pick_count = args->picks.count,
        .names = args->relative   ? QIMG_FIX_NAMES_RELATIVE
                 : args->absolute ? QIMG_FIX_NAMES_ABSOLUTE
                                  : QIMG_FIX_NAMES_KEEP,
    };
    struct qimg_fix_plan plan;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_fix_plan(context, name, &options, &plan, &err) < 0)
        return tool_fail_error(tool, "", &err);
    const int code = finish(tool, args, context, &plan);
    qimg_fix_plan_release(&plan);
    return code;
}

int chain_fix(struct tool *tool, int argc, char **argv)
{
    struct fix_args args = { 0 };
    struct qimg_context *context;
    const int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    if (args.relative && args.absolute)
        return tool_fail_usage(tool, "--relative and --absolute exclude each other");
    if (args.apply)
        confine_changes_any(tool); /* any image of the chain */
    confine_inspects(tool);        /* so that a lock's holder can be named */
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    const int code = fix(tool, &args, context, argv[optind]);
    qimg_context_free(context);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * bitmap: add, remove, clear, enable, disable and merge persistent bitmaps. What several options
 * ask for is done in their order, all of it or nothing.
 */
#include <getopt.h>
#include <stdlib.h>

#include "args.h"
#include "confine.h"
#include "opt.h"
#include "qimg/bitmap.h"

struct bitmap_args {
    const char *format, *source, *source_format;
    const char *granularity_text;
    uint64_t granularity;
    struct actions {
        struct qimg_bitmap_action *list;
        size_t count;
    } actions;
    bool image_opts, quiet;
};

static int add_action(struct tool *tool, void *slot, struct qimg_bitmap_action action)
{
    struct actions *actions = slot;
    struct qimg_bitmap_action *list =
        reallocarray(actions->list, actions->count + 1, sizeof(*list));
    if (!list)
        return tool_fail(tool, "out of memory");
    actions->list = list;
    actions->list[actions->count++] = action;
    return EXIT_DONE;
}

#define ACTION(name, what) \
    static int name(struct tool *tool, void *slot, const char *value) \
    { \
        const struct qimg_bitmap_action action = { .verb = what, .source = value }; \
        return add_action(tool, slot, action); \
    }

ACTION(set_add, QIMG_BITMAP_ADD)
ACTION(set_remove, QIMG_BITMAP_REMOVE)
ACTION(set_clear, QIMG_BITMAP_CLEAR)
ACTION(set_enable, QIMG_BITMAP_ENABLE)
ACTION(set_disable, QIMG_BITMAP_DISABLE)
ACTION(set_merge, QIMG_BITMAP_MERGE)

#define AT(member) offsetof(struct bitmap_args, member)

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct bitmap_args),
    { OPT_CALL, 0, "add", NULL, "make BITMAP, enabled and with nothing set", AT(actions), set_add },
    { OPT_TEXT, 'g', "granularity", "SIZE",
      "with --add: what one bit stands for, a power of 2 from 512 to 2G\n"
      "(default: the cluster size, but from 4k to 64k)",
      AT(granularity_text), NULL },
    { OPT_CALL, 0, "remove", NULL, "remove BITMAP, also if it is inconsistent", AT(actions),
      set_remove },
    { OPT_CALL, 0, "clear", NULL, "clear all bits of BITMAP", AT(actions), set_clear },
    { OPT_CALL, 0, "enable", NULL, "record writes in BITMAP from now on", AT(actions), set_enable },
    { OPT_CALL, 0, "disable", NULL, "stop recording writes in BITMAP", AT(actions), set_disable },
    { OPT_CALL, 0, "merge", "SRC_BITMAP", "set in BITMAP what SRC_BITMAP has set", AT(actions),
      set_merge },
    { OPT_TEXT, 'b', "source-file", "SRC_FILE", "with --merge: the image that has SRC_BITMAP",
      AT(source), NULL },
    { OPT_TEXT, 'F', "source-format", "SRC_FMT", "format of SRC_FILE", AT(source_format), NULL },
    OPT_QUIET_ROW(struct bitmap_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    { OPT_OPERAND, 0, "BITMAP", NULL, "the bitmap's name", 0, NULL },
    OPT_ROWS_END,
};

static bool asks_for(const struct bitmap_args *args, enum qimg_bitmap_verb verb)
{
    for (size_t i = 0; i < args->actions.count; i++)
        if (args->actions.list[i].verb == verb)
            return true;
    return false;
}

static int check_args(struct tool *tool, struct bitmap_args *args, int operands)
{
    if (operands != 2)
        return tool_fail_usage(tool, "Expecting filename and bitmap name");
    if (args->granularity_text &&
        args_size(tool, "granularity", args->granularity_text, &args->granularity))
        return EXIT_FAILED;
    if (args->actions.count == 0)
        return tool_fail(tool, "Need at least one of --add, --remove, --clear, --enable, "
                               "--disable, or --merge");
    if (args->granularity && !asks_for(args, QIMG_BITMAP_ADD))
        return tool_fail(tool, "granularity only supported with --add");
    if (args->source_format && !args->source)
        return tool_fail(tool, "-F only supported with -b");
    if (args->source && !asks_for(args, QIMG_BITMAP_MERGE))
        return tool_fail(tool, "Merge bitmap source file only supported with --merge");
    return EXIT_DONE;
}

static int change(struct tool *tool, struct bitmap_args *args, const char *name,
                  struct qimg_image *image, struct qimg_image *source)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    for (size_t i = 0; i < args->actions.count; i++) {
        struct qimg_bitmap_action *action = &args->actions.list[i];
        action->name = name;
        action->granularity = args->granularity;
        action->source_image = source;
    }
    if (qimg_image_change_bitmaps(image, args->actions.list, args->actions.count, &err) < 0)
        return tool_fail_error(tool, "", &err);
    return EXIT_DONE;
}

/* Bitmaps belong to one image: what it names need not be there, and may be in use elsewhere, as
 * the destination is when bitmaps go from an overlay into its backing file. */
static int bitmap(struct tool *tool, struct bitmap_args *args, char **operands)
{
    struct qimg_open_options options = {
        .format = args->format, .writable = true, .no_backing = true, .image_opts = args->image_opts
    };
    const struct qimg_open_options source_options = { .format = args->source_format,
                                                      .no_backing = true };
    struct qimg_context *context;
    struct qimg_image *image = NULL, *source = NULL;
    confine_changes(tool, operands[0], args->image_opts);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, operands[0], &options, &image);
    if (code == EXIT_DONE && args->source)
        code = args_open(tool, context, args->source, &source_options, &source);
    if (code == EXIT_DONE)
        code = change(tool, args, operands[1], image, source);
    qimg_image_close(source);
    qimg_image_close(image);
    qimg_context_free(context);
    return code;
}

int cmd_bitmap(struct tool *tool, int argc, char **argv)
{
    struct bitmap_args args = { 0 };
    int operands = opt_parse(tool, rows, &args, argc, argv);
    int code = tool->exit_code;
    if (operands >= 0)
        code = check_args(tool, &args, operands);
    if (operands >= 0 && code == EXIT_DONE)
        code = bitmap(tool, &args, argv + optind);
    free(args.actions.list);
    return code;
}

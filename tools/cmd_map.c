/* SPDX-License-Identifier: Apache-2.0
 *
 * map: where the data of an image lies. Extents come in batches and entries are merged as they
 * come, so that memory does not grow with the image.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "confine.h"
#include "map_print.h"
#include "opt.h"

#define BATCH       4096
#define OUTPUT_ROOM (256 * 1024)

struct map_args {
    const char *format;
    bool image_opts, force_share, json, has_length;
    uint64_t start, length;
};

static int set_start(struct tool *tool, void *slot, const char *value)
{
    return args_size(tool, "start offset", value, &((struct map_args *)slot)->start);
}

static int set_length(struct tool *tool, void *slot, const char *value)
{
    struct map_args *args = slot;
    args->has_length = true;
    return args_size(tool, "max length", value, &args->length);
}

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct map_args),
    { OPT_CALL, 's', "start-offset", "OFFSET", "begin at OFFSET (default: 0)", 0, set_start },
    { OPT_CALL, 'l', "max-length", "LENGTH", "show LENGTH bytes at most", 0, set_length },
    OPT_OUTPUT_ROW(struct map_args),
    OPT_SHARE_ROW(struct map_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

struct map_run {
    struct tool *tool;
    struct qimg_image *image;
    const struct map_args *args;
    struct map_entry entry; /* the one that may still grow */
};

/* Prints the entry that is complete. The text for people lists data alone. */
static int print_entry(const struct map_run *run, bool more)
{
    const struct map_entry *entry = &run->entry;
    if (run->args->json) {
        map_entry_print_json(entry, more);
        return EXIT_DONE;
    }
    if (entry->data && !entry->has_offset) {
        tool_fail(run->tool, "File contains external, encrypted or compressed clusters.");
        tool_advise(run->tool, "map --output=json, which shows them");
        return EXIT_FAILED;
    }
    map_entry_print_human(entry, qimg_image_file(run->image, entry->depth));
    return EXIT_DONE;
}

static int add(struct map_run *run, const struct qimg_extent *extent)
{
    struct map_entry next = map_entry_of(extent);
    if (map_entry_continues(&run->entry, &next)) {
        run->entry.length += next.length;
        return EXIT_DONE;
    }
    if (run->entry.length > 0 && print_entry(run, true))
        return EXIT_FAILED;
    run->entry = next;
    return EXIT_DONE;
}

/* Maps @want, batch by batch. */
static int map_range(struct map_run *run, struct qimg_range want, struct qimg_extent *batch)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    while (want.len > 0) {
        int count = qimg_image_map(run->image, want, true, batch, BATCH, &err);
        if (count < 0)
            return tool_fail(run->tool, "Could not read file metadata: %s", strerror(-count));
        if (count == 0)
            break;
        for (int i = 0; i < count; i++)
            if (add(run, &batch[i]))
                return EXIT_FAILED;
        uint64_t end = batch[count - 1].guest_off + batch[count - 1].len;
        want.len -= end - want.off;
        want.off = end;
    }
    return EXIT_DONE;
}

static struct qimg_range range_of(const struct map_args *args, uint64_t size)
{
    uint64_t left = args->start < size ? size - args->start : 0;
    return (struct qimg_range){ args->start,
                                args->has_length && args->length < left ? args->length : left };
}

static int print_map(struct map_run *run)
{
    struct qimg_extent *batch = malloc(BATCH * sizeof(*batch));
    if (!batch)
        return tool_fail(run->tool, "out of memory");
    if (run->args->json)
        putchar('[');
    else
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    run->entry.start = run->args->start;
    int code = map_range(run, range_of(run->args, qimg_image_size(run->image)), batch);
    free(batch);
    if (code)
        return code;
    code = print_entry(run, false);
    if (run->args->json)
        puts("]");
    return code;
}

int cmd_map(struct tool *tool, int argc, char **argv)
{
    struct map_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    struct map_run run = { .tool = tool, .args = &args };
    struct qimg_open_options options = {
        .format = args.format,
        .share = args.force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .image_opts = args.image_opts,
    };
    struct qimg_context *context;
    confine_reads(tool, argv[optind], args.image_opts);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    setvbuf(stdout, NULL, _IOFBF, OUTPUT_ROOM);
    int code = args_open(tool, context, argv[optind], &options, &run.image);
    if (code == EXIT_DONE) {
        code = print_map(&run);
        qimg_image_close(run.image);
    }
    qimg_context_free(context);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * map: where the data of an image lies. A fragmented image has millions of entries, so that
 * extents come in batches, entries are merged as they come and numbers are written by hand.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "opt.h"
#include "text.h"

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

/* One entry of the output: what QEMU's flags make of extents. */
struct entry {
    uint64_t start, length, offset;
    unsigned depth;
    bool present, zero, data, compressed, has_offset;
};

static struct entry entry_of(const struct qimg_extent *extent)
{
    bool unallocated = extent->kind == QIMG_UNALLOCATED;
    bool packed = extent->kind == QIMG_COMPRESSED;
    return (struct entry){
        .start = extent->guest_off,
        .length = extent->len,
        .offset = extent->host_off,
        .depth = extent->layer,
        .present = !unallocated,
        .zero = unallocated || extent->kind == QIMG_ZERO || extent->hole,
        .data = packed || extent->kind == QIMG_DATA,
        .compressed = packed,
        .has_offset = !packed && !unallocated && extent->host_off != QIMG_NO_OFFSET,
    };
}

static bool continues(const struct entry *entry, const struct entry *next)
{
    return entry->length > 0 && entry->depth == next->depth && entry->present == next->present &&
           entry->zero == next->zero && entry->data == next->data &&
           entry->compressed == next->compressed && entry->has_offset == next->has_offset &&
           (!entry->has_offset || entry->offset + entry->length == next->offset);
}

static void put_text(const char *text)
{
    fputs_unlocked(text, stdout);
}

static void put_number(uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    fwrite_unlocked(digits + at, 1, sizeof(digits) - at, stdout);
}

static void put_flag(const char *key, bool value)
{
    put_text(key);
    put_text(value ? "true" : "false");
}

static void print_json(const struct entry *entry, bool more)
{
    put_text("{ \"start\": ");
    put_number(entry->start);
    put_text(", \"length\": ");
    put_number(entry->length);
    put_text(", \"depth\": ");
    put_number(entry->depth);
    put_flag(", \"present\": ", entry->present);
    put_flag(", \"zero\": ", entry->zero);
    put_flag(", \"data\": ", entry->data);
    put_flag(", \"compressed\": ", entry->compressed);
    if (entry->has_offset) {
        put_text(", \"offset\": ");
        put_number(entry->offset);
    }
    put_text(more ? "},\n" : "}");
}

struct map_run {
    struct tool *tool;
    struct qimg_image *image;
    const struct map_args *args;
    struct entry entry; /* the one that may still grow */
};

/* Prints the entry that is complete; a person is told data alone. */
static int print_entry(const struct map_run *run, bool more)
{
    const struct entry *entry = &run->entry;
    if (run->args->json) {
        print_json(entry, more);
        return EXIT_DONE;
    }
    if (entry->data && !entry->has_offset)
        return tool_fail(run->tool, "File contains external, encrypted or compressed clusters.");
    if (entry->data && !entry->zero) {
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64, entry->start, entry->length,
               entry->offset);
        text_show(stdout, qimg_image_file(run->image, entry->depth));
        putchar('\n');
    }
    return EXIT_DONE;
}

static int add(struct map_run *run, const struct qimg_extent *extent)
{
    struct entry next = entry_of(extent);
    if (continues(&run->entry, &next)) {
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

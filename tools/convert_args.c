/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsing and checking convert's options, with qemu-img's sentences in qemu-img's order.
 */
#include "convert_args.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR         512
#define SPARSE_MOST    (16 * 1024 * 1024)
#define MOST_AT_A_TIME 16
#define HARDEST_LEVEL  19

static int set_sparse(struct tool *tool, void *slot, const char *value)
{
    struct convert_args *args = slot;
    if (args_size(tool, "buffer size for sparse output", value, &args->sparse_size))
        return EXIT_FAILED;
    args->sparse_given = true;
    if (args->sparse_size % SECTOR == 0 && args->sparse_size <= SPARSE_MOST)
        return EXIT_DONE;
    return tool_fail(tool,
                     "Invalid buffer size for sparse output specified. Valid sizes are multiples "
                     "of %d up to %d. Select 0 to disable sparse detection (fully allocates "
                     "output).",
                     SECTOR, SPARSE_MOST);
}

static int set_parallel(struct tool *tool, void *slot, const char *value)
{
    return args_number(tool, "number of coroutines", value,
                       (struct args_bounds){ 1, MOST_AT_A_TIME },
                       &((struct convert_args *)slot)->parallel);
}

static int set_level(struct tool *tool, void *slot, const char *value)
{
    return args_number(tool, "compression level", value, (struct args_bounds){ 1, HARDEST_LEVEL },
                       &((struct convert_args *)slot)->compression_level);
}

static int set_rate(struct tool *tool, void *slot, const char *value)
{
    return args_size(tool, "rate limit", value, &((struct convert_args *)slot)->rate_limit);
}

#define AT(member) offsetof(struct convert_args, member)

const struct opt_row convert_rows[] = {
    { OPT_TEXT, 'f', "source-format", "SRC_FMT",
      "format of all sources (default: found by their content)", AT(format), NULL },
    { OPT_FLAG, 0, "image-opts", NULL,
      "each SRC_FILE is a list of options (key=value,...), not a name", AT(image_opts), NULL },
    { OPT_TEXT, 'T', "source-cache", "SRC_CACHE", "cache mode of sources (default: writeback)",
      AT(source_cache), NULL },
    { OPT_CALL, 'l', "snapshot", "SNAPSHOT",
      "read from an internal snapshot: its id or name, or\n"
      "snapshot.id=ID,snapshot.name=NAME",
      AT(snapshot), snapshot_arg_set },
    { OPT_FLAG, 0, "bitmaps", NULL, "copy persistent bitmaps too", AT(bitmaps), NULL },
    { OPT_FLAG, 0, "skip-broken-bitmaps", NULL, "but for those that are inconsistent",
      AT(skip_broken_bitmaps), NULL },
    { OPT_FLAG, 0, "salvage", NULL, "go on after read errors: what cannot be read becomes zeros",
      AT(salvage), NULL },
    { OPT_TEXT, 'O', "target-format", "TGT_FMT", "format of TGT_FILE (default: raw)",
      AT(target_format), NULL },
    { OPT_FLAG, 0, "target-image-opts", NULL,
      "TGT_FILE is a list of options (key=value,...), not a name", AT(target_image_opts), NULL },
    { OPT_CALL, 'o', "target-format-options", "TGT_FMT_OPTS",
      "options of the target format, key=value,... ('-o help' lists them)", AT(options),
      args_options_add },
    { OPT_TEXT, 't', "target-cache", "TGT_CACHE", "cache mode of the target (default: unsafe)",
      AT(target_cache), NULL },
    { OPT_TEXT, 'b', "backing", "BACKING_FILE",
      "make TGT_FILE an overlay of it, with what the top image of SRC_FILE\n"
      "holds (-B is the same)",
      AT(backing), NULL },
    { OPT_TEXT, 'B', NULL, "BACKING_FILE", NULL, AT(backing), NULL },
    { OPT_TEXT, 'F', "backing-format", "BACKING_FMT", "format of BACKING_FILE", AT(backing_format),
      NULL },
    { OPT_CALL, 'S', "sparse-size", "SPARSE_SIZE",
      "so many zero bytes in a row become a hole in the target (default: 4k;\n"
      "0: none does)",
      0, set_sparse },
    { OPT_FLAG, 'n', "no-create", NULL, "do not create TGT_FILE: it is there", AT(no_create),
      NULL },
    { OPT_FLAG, 0, "target-is-zero", NULL, "TGT_FILE reads as zeros already (needs -n)",
      AT(target_is_zero), NULL },
    { OPT_FLAG, 'c', "compress", NULL, "compress the clusters of TGT_FILE (qcow2)", AT(compress),
      NULL },
    { OPT_CALL, 0, "compression-level", "LEVEL",
      "with -c: how hard to try. zlib: 1 to 9, of which 1 to 3 are several times\n"
      "faster; zstd: 1 to 19 (default: as qemu-img). Not recorded in TGT_FILE",
      0, set_level },
    OPT_SHARE_ROW(struct convert_args),
    { OPT_CALL, 'r', "rate-limit", "RATE", "write at most RATE bytes per second", 0, set_rate },
    { OPT_CALL, 'm', "parallel", "NUM_PARALLEL",
      "keep NUM_PARALLEL requests under way (default: 8)", 0, set_parallel },
    { OPT_FLAG, 'W', "oob-writes", NULL, "write in any order", AT(out_of_order), NULL },
    { OPT_FLAG, 'C', "copy-range-offloading", NULL, "let the kernel copy where it can",
      AT(copy_offload), NULL },
    { OPT_FLAG, 0, "sync", NULL, "do not end before TGT_FILE is on stable storage", AT(sync),
      NULL },
    OPT_PROGRESS_ROW(struct convert_args),
    OPT_QUIET_ROW(struct convert_args),
    OPT_OBJECT_ROW,
    { OPT_OPERAND, 0, "SRC_FILE...", NULL, "one or more images, read after each other", 0, NULL },
    { OPT_OPERAND, 0, "TGT_FILE", NULL, "the image to write", 0, NULL },
    OPT_ROWS_END,
};

/* The first combination of options that makes no sense, in qemu-img's words; NULL = none. */
static const char *contradiction(const struct convert_args *args)
{
    if (args->skip_broken_bitmaps && !args->bitmaps)
        return "Use of --skip-broken-bitmaps requires --bitmaps";
    if (args->compress && args->copy_offload)
        return "Cannot enable copy offloading when -c is used";
    if (args->sparse_given && args->copy_offload)
        return "Cannot enable copy offloading when -S is used";
    if (args->copy_offload && args->salvage)
        return "Cannot use copy offloading in salvaging mode";
    if (args->target_image_opts && !args->no_create)
        return "--target-image-opts requires use of -n flag";
    if (args->no_create && args->options.text)
        return "-o has no effect when skipping image creation";
    if (args->target_is_zero && !args->no_create)
        return "--target-is-zero requires use of -n flag";
    return NULL;
}

static int option_help(struct tool *tool, struct convert_args *args, bool target)
{
    args->only_help = true;
    if (!args->target_format)
        return tool_fail(tool, "Option help requires a format be specified");
    return args_options_help(tool, args->target_format, target);
}

int convert_check(struct tool *tool, struct convert_args *args, int operands)
{
    if (!args->target_format && !args->target_image_opts)
        args->target_format = "raw";
    const char *wrong = contradiction(args);
    if (wrong)
        return tool_fail(tool, "%s", wrong);
    if (args_options_want_help(&args->options))
        return option_help(tool, args, operands > 1);
    if (operands < 2)
        return tool_fail(tool, "Must specify image file name");
    args->source_count = (size_t)operands - 1;
    if (args->source_cache &&
        args_cache(tool, "source cache option", args->source_cache, &args->source_cache_mode))
        return EXIT_FAILED;
    if (args_cache(tool, "cache option", args->target_cache, &args->target_cache_mode))
        return EXIT_FAILED;
    return args_options_split(tool, &args->options);
}

void convert_args_release(struct convert_args *args)
{
    args_options_release(&args->options);
    snapshot_arg_release(&args->snapshot);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * info: what an image says about itself. Nothing but the named file is opened; with
 * --backing-chain, each image of the chain in its turn.
 */
#include <getopt.h>

#include "args.h"
#include "confine.h"
#include "info_print.h"
#include "opt.h"

struct info_args {
    const char *format, *cache;
    bool image_opts, chain, force_share, json, limits;
};

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct info_args),
    { OPT_FLAG, 0, "backing-chain", NULL, "describe each image of the backing chain",
      offsetof(struct info_args, chain), NULL },
    OPT_SHARE_ROW(struct info_args),
    { OPT_TEXT, 't', "cache", "CACHE", "cache mode to open FILE with (default: writeback)",
      offsetof(struct info_args, cache), NULL },
    { OPT_FLAG, 0, "limits", NULL, "print also what sizes and alignments of requests it takes",
      offsetof(struct info_args, limits), NULL },
    OPT_OUTPUT_ROW(struct info_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

struct visit {
    struct out out; /* of JSON */
    const struct info_args *args;
    bool first;
};

static int visit(void *user, const struct qimg_info *info)
{
    struct visit *v = user;
    if (v->args->json) {
        if (v->first && v->args->chain)
            out_list(&v->out, NULL);
        v->first = false;
        info_print_json(&v->out, NULL, info, v->args->limits);
        return 0;
    }
    if (!v->first)
        putchar('\n');
    v->first = false;
    info_print_human(stdout, info, v->args->limits);
    return 0;
}

static int run(struct tool *tool, const struct info_args *args, const char *file)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct qimg_context *context;
    struct visit v = { .out = out_json(stdout), .args = args, .first = true };
    struct qimg_open_options options = {
        .format = args->format,
        .info_only = true,
        .no_backing = true,
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .image_opts = args->image_opts,
    };
    if (args->cache && args_cache(tool, "cache option", args->cache, &options.cache))
        return EXIT_FAILED;
    if (args->image_opts && args->format)
        return tool_fail(tool, "--image-opts and --format are mutually exclusive");
    confine_reads(tool, file, args->image_opts);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = EXIT_DONE;
    if (qimg_chain_info(context, file, &options, args->chain, visit, &v, &err) < 0)
        code = tool_fail_error(tool, "", &err);
    else if (args->json && args->chain)
        out_close(&v.out);
    qimg_context_free(context);
    return code;
}

int cmd_info(struct tool *tool, int argc, char **argv)
{
    struct info_args args = { 0 };
    int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    return run(tool, &args, argv[optind]);
}

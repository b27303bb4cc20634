/* SPDX-License-Identifier: Apache-2.0
 *
 * bench: how long do requests to an image take? Options, output and refusals are qemu-img's.
 */
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "args.h"
#include "bench_report.h"
#include "opt.h"

struct bench_args {
    const char *format;
    bool image_opts, force_share, native, quiet, json;
    enum qimg_cache cache;
    struct bench_load load;
};

/* --- arguments ----------------------------------------------------------------------------- */

static int set_number(struct tool *tool, uint32_t *slot, const char *what, const char *value,
                      struct args_bounds bounds)
{
    uint64_t number;
    if (args_number(tool, what, value, bounds, &number))
        return EXIT_FAILED;
    *slot = (uint32_t)number;
    return EXIT_DONE;
}

static int set_size(struct tool *tool, uint32_t *slot, const char *what, const char *value,
                    struct args_bounds bounds)
{
    uint64_t size;
    if (args_size_within(tool, what, value, bounds, &size))
        return EXIT_FAILED;
    *slot = (uint32_t)size;
    return EXIT_DONE;
}

static int set_count(struct tool *tool, void *slot, const char *value)
{
    return set_number(tool, slot, "request count", value, (struct args_bounds){ 1, INT_MAX });
}

static int set_depth(struct tool *tool, void *slot, const char *value)
{
    return set_number(tool, slot, "queue depth", value, (struct args_bounds){ 1, INT_MAX });
}

static int set_flush_interval(struct tool *tool, void *slot, const char *value)
{
    return set_number(tool, slot, "flush interval", value, (struct args_bounds){ 0, INT_MAX });
}

static int set_pattern(struct tool *tool, void *slot, const char *value)
{
    uint32_t pattern;
    if (set_number(tool, &pattern, "pattern byte", value, (struct args_bounds){ 0, UINT8_MAX }))
        return EXIT_FAILED;
    *(uint8_t *)slot = (uint8_t)pattern;
    return EXIT_DONE;
}

static int set_len(struct tool *tool, void *slot, const char *value)
{
    return set_size(tool, slot, "buffer size", value, (struct args_bounds){ 1, INT_MAX });
}

static int set_step(struct tool *tool, void *slot, const char *value)
{
    return set_size(tool, slot, "step size", value, (struct args_bounds){ 0, INT_MAX });
}

static int set_offset(struct tool *tool, void *slot, const char *value)
{
    return args_size(tool, "offset", value, slot);
}

static int set_cache(struct tool *tool, void *slot, const char *value)
{
    if (qimg_cache_parse(value, slot) < 0)
        return tool_fail(tool, "Invalid cache mode");
    return EXIT_DONE;
}

/* "native" has no engine of its own: what it asks of the cache mode is all that is left of it, and
 * stays, as in QEMU, whatever else is said. */
static int set_aio(struct tool *tool, void *slot, const char *value)
{
    if (strcmp(value, "native") == 0)
        *(bool *)slot = true;
    else if (strcmp(value, "threads") == 0)
        tool->options.engine = QIMG_ENGINE_THREADS;
    else if (strcmp(value, "io_uring") == 0)
        tool->options.engine = QIMG_ENGINE_IO_URING;
    else
        return tool_fail(tool, "Invalid aio option: %s", value);
    return EXIT_DONE;
}

#define AT(member) offsetof(struct bench_args, member)

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct bench_args),
    { OPT_CALL, 't', "cache", "CACHE", "cache mode of FILE (default: writeback)", AT(cache),
      set_cache },
    { OPT_CALL, 'c', "count", "COUNT", "how many requests (default: 75000)", AT(load.count),
      set_count },
    { OPT_CALL, 'd', "depth", "DEPTH", "how many of them at a time (default: 64)", AT(load.depth),
      set_depth },
    { OPT_CALL, 'o', "offset", "OFFSET", "where the first one starts (default: 0)", AT(load.off),
      set_offset },
    { OPT_CALL, 's', "buffer-size", "SIZE", "bytes of a request (default: 4k)", AT(load.len),
      set_len },
    { OPT_CALL, 'S', "step-size", "SIZE",
      "bytes from the start of one to that of the next (default: those of a request)",
      AT(load.step), set_step },
    { OPT_FLAG, 'w', "write", NULL, "write (default: read)", AT(load.write), NULL },
    { OPT_CALL, 0, "pattern", "BYTE", "the byte to write (default: 0)", AT(load.pattern),
      set_pattern },
    { OPT_CALL, 0, "flush-interval", "COUNT", "flush after each COUNT writes (default: never)",
      AT(load.flush_interval), set_flush_interval },
    { OPT_FLAG, 0, "no-drain", NULL, "flush while writes are under way", AT(load.no_drain), NULL },
    { OPT_CALL, 'i', "aio", "MODE", "threads, native or io_uring (default: see --engine)",
      AT(native), set_aio },
    { OPT_FLAG, 'n', "native", NULL, "short for -i native", AT(native), NULL },
    OPT_SHARE_ROW(struct bench_args),
    OPT_OUTPUT_ROW(struct bench_args),
    OPT_QUIET_ROW(struct bench_args),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

/* What QEMU refuses before it looks at the image; NULL = nothing. */
static const char *contradiction(const struct bench_args *args)
{
    if (args->force_share && args->load.write)
        return "force-share=on can only be used with read-only images";
    if (args->native && args->cache != QIMG_CACHE_NONE && args->cache != QIMG_CACHE_DIRECTSYNC)
        return "aio=native was specified, but it requires cache.direct=on, which was not "
               "specified.";
    return NULL;
}

static int check(const struct tool *tool, const struct bench_args *args, const char *name)
{
    const struct bench_load *load = &args->load;
    if (load->flush_interval && !load->write)
        return tool_fail(tool, "--flush-interval is only available in write tests");
    if (load->flush_interval && load->flush_interval < load->depth)
        return tool_fail(tool, "Flush interval can't be smaller than depth");
    const char *why = contradiction(args);
    return why ? tool_fail(tool, "Could not open '%s': %s", name, why) : EXIT_DONE;
}

/* --- the run ------------------------------------------------------------------------------- */

static void announce(const struct bench_load *load)
{
    printf("Sending %" PRIu32 " %s requests, %" PRIu32 " bytes each, %" PRIu32
           " in parallel (starting at offset %" PRIu64 ", step size %" PRIu32 ")\n",
           load->count, load->write ? "write" : "read", load->len, load->depth, load->off,
           load->step);
    if (load->flush_interval)
        printf("Sending flush every %" PRIu32 " requests\n", load->flush_interval);
    fflush(stdout);
}

static int measure(const struct tool *tool, const struct qimg_context *context,
                   struct qimg_image *image, const struct bench_args *args)
{
    struct bench_result result = { 0 };
    struct qimg_error err;
    qimg_error_clear(&err);
    if (!args->json)
        announce(&args->load);
    int code = bench_load_run(tool, image, &args->load, &result);
    if (code == EXIT_DONE && args->json)
        bench_report_json(context, &args->load, &result);
    else if (code == EXIT_DONE)
        printf("Run completed in %.3f seconds.\n", result.seconds);
    if (args->load.write && qimg_image_finish(image, &err) < 0)
        code = tool_fail_error(tool, "", &err);
    return code;
}

static int run(struct tool *tool, const struct bench_args *args, const char *name)
{
    struct qimg_context *context;
    struct qimg_image *image;
    const struct qimg_open_options options = {
        .format = args->format,
        .writable = args->load.write,
        .cache = args->cache,
        .share = args->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .image_opts = args->image_opts,
    };
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = args_open(tool, context, name, &options, &image);
    if (code == EXIT_DONE) {
        code = measure(tool, context, image, args);
        qimg_image_close(image);
    }
    qimg_context_free(context);
    return code;
}

int cmd_bench(struct tool *tool, int argc, char **argv)
{
    struct bench_args args = { .load = { .count = 75000, .depth = 64, .len = 4096 } };
    const int count = opt_parse(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    if (args.load.step == 0)
        args.load.step = args.load.len;
    args.load.latencies = args.json;
    if (args.image_opts && args.format)
        return tool_fail(tool, "--image-opts and --format are mutually exclusive");
    if (check(tool, &args, argv[optind]))
        return EXIT_FAILED;
    return run(tool, &args, argv[optind]);
}

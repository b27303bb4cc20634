/* SPDX-License-Identifier: Apache-2.0
 *
 * Which options exclude each other, and the defaults of those that were not given.
 */
#include "bench_options.h"

#define CHAIN_SIZE ((uint64_t)256 << 20)
#define ROUNDS     3

/* What QEMU refuses before it looks at the image; NULL = nothing. */
static const char *contradiction(const struct bench_options *options)
{
    if (options->force_share && bench_options_write(options))
        return "force-share=on can only be used with read-only images";
    if (options->native && options->cache != QIMG_CACHE_NONE &&
        options->cache != QIMG_CACHE_DIRECTSYNC)
        return "aio=native was specified, but it requires cache.direct=on, which was not "
               "specified.";
    return NULL;
}

static int check_qemu(const struct tool *tool, const struct bench_options *options)
{
    const struct bench_load *load = &options->load;
    if (load->flush_interval && !bench_options_write(options))
        return tool_fail(tool, "--flush-interval is only available in write tests");
    if (load->flush_interval && load->flush_interval < load->depth)
        return tool_fail(tool, "Flush interval can't be smaller than depth");
    const char *why = contradiction(options);
    if (!why)
        return EXIT_DONE;
    if (!options->name)
        return tool_fail(tool, "%s", why);
    return tool_fail(tool, "Could not open '%s': %s", options->name, why);
}

/* Of options as they were typed; NULL = nothing. */
static const char *clash_of_requests(const struct bench_options *options)
{
    const struct bench_load *load = &options->load;
    const enum bench_access access = load->work.access;
    if (load->count && load->runtime_ns)
        return "--count and --runtime both tell how long a round is: give one of them";
    if (options->write && load->work.write_percent != BENCH_NO_MIX)
        return "--write asks for writes alone, and --mix for a share of them: give one of them";
    if (access == BENCH_STRIDE && load->work.step == 0)
        return "--pattern-access=stride needs a step (--step-size)";
    if (access != BENCH_STRIDE && access != BENCH_NO_ACCESS && load->work.step)
        return "--step-size goes with --pattern-access=stride alone";
    if ((access == BENCH_RANDOM || access == BENCH_ZIPF) && load->work.off)
        return "--offset has no meaning where places are random";
    if (options->cold && options->warm_up_ns)
        return "--cold empties the page cache, and --warm-up fills it: give one of them";
    return NULL;
}

static const char *clash_of_reports(const struct bench_options *options)
{
    const bool chains = options->depths.count > 0;
    if (chains && (options->format || options->image_opts || options->force_share))
        return "--chain-depth makes its own images: --format, --image-opts and --force-share "
               "say nothing about them";
    if (!chains && (options->chain_size || options->scratch))
        return "--chain-size and --scratch are about the chains of --chain-depth";
    if (options->plot && options->depths.count < 2)
        return "--plot draws figures against depth: it needs --chain-depth with two depths or more";
    if (options->regression >= 0 && !options->against)
        return "--regression is a limit for the comparison with --against";
    if (options->against && options->output == BENCH_CSV)
        return "--against goes with --output human or json: CSV has no place for a comparison";
    return NULL;
}

static int check_operands(const struct tool *tool, const struct bench_options *options, int count,
                          char *const *operands)
{
    if (options->depths.count && count > 0)
        return tool_fail(tool, "--chain-depth makes its own images: '%s' is not measured",
                         operands[0]);
    if (!options->depths.count && count != 1)
        return tool_fail_usage(tool, "Expecting one image file name");
    return EXIT_DONE;
}

static bool wants_report(const struct bench_options *options)
{
    const struct bench_load *load = &options->load;
    return options->output != BENCH_LINES || options->depths.count || options->rounds ||
           options->warm_up_ns || options->cold || options->plot || options->against ||
           load->runtime_ns || load->work.access != BENCH_NO_ACCESS || load->work.seed ||
           load->work.write_percent != BENCH_NO_MIX;
}

/* Defaults for what was not said. */
static void fill_in(struct bench_options *options)
{
    struct bench_load *load = &options->load;
    const bool report = wants_report(options);
    if (report && options->output == BENCH_LINES)
        options->output = BENCH_TABLE;
    if (load->work.access == BENCH_NO_ACCESS)
        load->work.access = load->work.step ? BENCH_STRIDE : BENCH_SEQ;
    if (load->work.step == 0)
        load->work.step = load->work.len;
    if (load->work.write_percent == BENCH_NO_MIX)
        load->work.write_percent = options->write ? 100 : 0;
    if (load->count == 0)
        load->count = 75000;
    if (options->rounds == 0)
        options->rounds = ROUNDS;
    if (options->chain_size == 0)
        options->chain_size = CHAIN_SIZE;
    load->latencies = report;
}

int bench_options_settle(const struct tool *tool, struct bench_options *options, int count,
                         char *const *operands)
{
    const char *clash = clash_of_requests(options);
    if (!clash)
        clash = clash_of_reports(options);
    if (clash)
        return tool_fail(tool, "%s", clash);
    if (check_operands(tool, options, count, operands))
        return EXIT_FAILED;
    options->name = count ? operands[0] : NULL;
    fill_in(options);
    if (options->image_opts && options->format)
        return tool_fail(tool, "--image-opts and --format are mutually exclusive");
    return check_qemu(tool, options);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of `bench`, and how their values are read.
 */
#include "bench_options.h"

#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "bench_chain.h"
#include "opt.h"

#define MAX_DEPTH 4096 /* images of a chain: that many are opened unless told otherwise */

const char *const bench_access_names[] = { "seq", "stride", "random", "zipf", NULL };

const char *bench_cache_name(enum qimg_cache cache)
{
    static const char *const names[] = { "writeback", "writethrough", "none", "directsync",
                                         "unsafe" };
    return names[cache];
}

/* --- values, as qemu-img takes them --------------------------------------------------------- */

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
    return args_number(tool, "request count", value, (struct args_bounds){ 1, INT_MAX }, slot);
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
    tool->confine.direct = true; /* a benchmark chooses as the engine would */
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

/* --- values beyond qemu-img ----------------------------------------------------------------- */

/* @names ends with NULL; @expected lists them for people. */
static int set_word(const struct tool *tool, const char *const *names, const char *expected,
                    const char *value, unsigned *out)
{
    for (unsigned i = 0; names[i]; i++) {
        if (strcmp(value, names[i]) == 0) {
            *out = i;
            return EXIT_DONE;
        }
    }
    return tool_fail_usage(tool, "%s, not '%s'", expected, value);
}

static int set_output(struct tool *tool, void *slot, const char *value)
{
    static const char *const names[] = { "human", "json", "csv", NULL };
    unsigned which = 0;
    if (set_word(tool, names, "--output expects 'human', 'json' or 'csv'", value, &which))
        return EXIT_FAILED;
    *(enum bench_output *)slot = BENCH_TABLE + which;
    return EXIT_DONE;
}

static int set_access(struct tool *tool, void *slot, const char *value)
{
    unsigned which = 0;
    if (set_word(tool, bench_access_names,
                 "--pattern-access expects 'seq', 'stride', 'random' or 'zipf'", value, &which))
        return EXIT_FAILED;
    *(enum bench_access *)slot = which;
    return EXIT_DONE;
}

/* A share, "30" or "30%". */
static int set_percent(const struct tool *tool, const char *what, const char *value, double most,
                       double *out)
{
    char *end;
    const double percent = strtod(value, &end);
    const bool number = end != value && (*end == '\0' || strcmp(end, "%") == 0);
    if (!number || !(percent >= 0 && percent <= most))
        return tool_fail(tool, "%s is not a share from 0%% to %.0f%%: '%s'", what, most, value);
    *out = percent;
    return EXIT_DONE;
}

static int set_mix(struct tool *tool, void *slot, const char *value)
{
    double percent = 0;
    if (set_percent(tool, "--mix", value, 100, &percent))
        return EXIT_FAILED;
    *(unsigned *)slot = (unsigned)percent;
    return percent == (unsigned)percent
               ? EXIT_DONE
               : tool_fail(tool, "--mix is not a whole number: '%s'", value);
}

static int set_regression(struct tool *tool, void *slot, const char *value)
{
    return set_percent(tool, "--regression", value, 10000, slot);
}

static int set_seed(struct tool *tool, void *slot, const char *value)
{
    return args_number(tool, "seed", value, (struct args_bounds){ 0, UINT64_MAX }, slot);
}

static int set_rounds(struct tool *tool, void *slot, const char *value)
{
    return set_number(tool, slot, "number of rounds", value, (struct args_bounds){ 1, 1000 });
}

/* "10", "0.5", with or without an "s". */
static int set_seconds(struct tool *tool, void *slot, const char *value)
{
    char *end;
    const double seconds = strtod(value, &end);
    const bool number = end != value && (*end == '\0' || strcmp(end, "s") == 0);
    if (!number || !(seconds >= 0.001 && seconds <= 86400))
        return tool_fail(tool, "Not a number of seconds from 0.001 to 86400: '%s'", value);
    *(uint64_t *)slot = (uint64_t)(seconds * 1e9);
    return EXIT_DONE;
}

static int set_chain_size(struct tool *tool, void *slot, const char *value)
{
    uint64_t *size = slot;
    if (args_size_within(tool, "chain size", value,
                         (struct args_bounds){ BENCH_CHAIN_CLUSTER, (uint64_t)1 << 40 }, size))
        return EXIT_FAILED;
    if (*size % BENCH_CHAIN_CLUSTER != 0)
        return tool_fail(tool, "The chain size is not a multiple of 64k: '%s'", value);
    return EXIT_DONE;
}

static int add_depth(const struct tool *tool, struct bench_depths *depths, const char *text)
{
    uint64_t depth;
    unsigned at = depths->count;
    if (args_number(tool, "chain depth", text, (struct args_bounds){ 1, MAX_DEPTH }, &depth))
        return EXIT_FAILED;
    if (depths->count == BENCH_DEPTHS_MAX)
        return tool_fail(tool, "--chain-depth takes at most %d depths", BENCH_DEPTHS_MAX);
    while (at > 0 && depths->list[at - 1] >= depth)
        at--;
    if (at < depths->count && depths->list[at] == depth)
        return tool_fail(tool, "--chain-depth has depth %s twice", text);
    memmove(&depths->list[at + 1], &depths->list[at], (depths->count - at) * sizeof(unsigned));
    depths->list[at] = (unsigned)depth;
    depths->count++;
    return EXIT_DONE;
}

static int set_depths(struct tool *tool, void *slot, const char *value)
{
    struct bench_depths *depths = slot;
    char *copy = strdup(value), *rest = copy;
    int code = copy ? EXIT_DONE : tool_fail(tool, "out of memory");
    while (code == EXIT_DONE && rest)
        code = add_depth(tool, depths, strsep(&rest, ","));
    free(copy);
    return code;
}

/* --- rows ------------------------------------------------------------------------------------ */

#define AT(member) offsetof(struct bench_options, member)

static const struct opt_row rows[] = {
    OPT_IMAGE_ROWS(struct bench_options),
    { OPT_CALL, 't', "cache", "CACHE", "cache mode of FILE (default: writeback)", AT(cache),
      set_cache },
    { OPT_CALL, 'c', "count", "COUNT", "how many requests (default: 75000)", AT(load.count),
      set_count },
    { OPT_CALL, 'd', "depth", "DEPTH", "how many of them at a time (default: 64)", AT(load.depth),
      set_depth },
    { OPT_CALL, 'o', "offset", "OFFSET", "where the first one starts (default: 0)",
      AT(load.work.off), set_offset },
    { OPT_CALL, 's', "buffer-size", "SIZE", "bytes of a request (default: 4k)", AT(load.work.len),
      set_len },
    { OPT_CALL, 'S', "step-size", "SIZE",
      "bytes from the start of one to that of the next (default: those of a request)",
      AT(load.work.step), set_step },
    { OPT_FLAG, 'w', "write", NULL, "write (default: read)", AT(write), NULL },
    { OPT_CALL, 0, "pattern", "BYTE", "the byte to write (default: 0)", AT(load.pattern),
      set_pattern },
    { OPT_CALL, 0, "flush-interval", "COUNT", "flush after each COUNT writes (default: never)",
      AT(load.flush_interval), set_flush_interval },
    { OPT_FLAG, 0, "no-drain", NULL, "flush while writes are under way", AT(load.no_drain), NULL },
    { OPT_CALL, 'i', "aio", "MODE", "threads, native or io_uring (default: see --engine)",
      AT(native), set_aio },
    { OPT_FLAG, 'n', "native", NULL, "short for -i native", AT(native), NULL },
    OPT_SHARE_ROW(struct bench_options),
    OPT_QUIET_ROW(struct bench_options),
    OPT_OBJECT_ROW,
    OPT_FILE_ROW,
    OPT_ROWS_END,
};

/* Each of these asks for a report. */
static const struct opt_row ours[] = {
    { OPT_CALL, 0, "chain-depth", "N,...",
      "make chains of so many images, all with the same content, and measure each; there\n"
      "is no FILE then",
      AT(depths), set_depths },
    { OPT_CALL, 0, "chain-size", "SIZE", "size of the disks of these chains (default: 256M)",
      AT(chain_size), set_chain_size },
    { OPT_TEXT, 0, "scratch", "DIR",
      "make them in a directory below DIR (default: TMPDIR, or /var/tmp)", AT(scratch), NULL },
    { OPT_CALL, 0, "pattern-access", "ORDER",
      "where requests go: seq, stride (by -S), random or zipf (default: seq)", AT(load.work.access),
      set_access },
    { OPT_CALL, 0, "mix", "PERCENT", "share of writes, the rest are reads",
      AT(load.work.write_percent), set_mix },
    { OPT_CALL, 0, "seed", "N", "of what is random (default: 0); one seed, the same requests",
      AT(load.work.seed), set_seed },
    { OPT_CALL, 0, "runtime", "SECONDS", "start requests for SECONDS, however many",
      AT(load.runtime_ns), set_seconds },
    { OPT_CALL, 0, "warm-up", "SECONDS", "run for SECONDS before each measurement", AT(warm_up_ns),
      set_seconds },
    { OPT_FLAG, 0, "cold", NULL, "drop the images from the page cache before each measurement",
      AT(cold), NULL },
    { OPT_CALL, 0, "rounds", "N", "measure N times, and print medians and spread (default: 3)",
      AT(rounds), set_rounds },
    { OPT_CALL, 0, "output", "human|json|csv", "how to print the report (default: human)",
      AT(output), set_output },
    { OPT_TEXT, 0, "plot", "FILE", "draw latency and throughput against depth, as SVG", AT(plot),
      NULL },
    { OPT_TEXT, 0, "against", "FILE", "compare with an older report (--output=json)", AT(against),
      NULL },
    { OPT_CALL, 0, "regression", "PERCENT",
      "exit with 2 where --against finds something worse by more than that", AT(regression),
      set_regression },
    OPT_ROWS_END,
};

int bench_options_parse(struct tool *tool, int argc, char **argv, struct bench_options *out)
{
    *out = (struct bench_options){ .load = { .depth = 64,
                                             .work = { .access = BENCH_NO_ACCESS,
                                                       .write_percent = BENCH_NO_MIX,
                                                       .len = 4096 } },
                                   .regression = -1 };
    const int count = opt_parse_beyond(tool, rows, ours, out, argc, argv);
    if (count < 0)
        return -1;
    tool->exit_code = bench_options_settle(tool, out, count, argv + optind);
    return tool->exit_code ? -1 : EXIT_DONE;
}

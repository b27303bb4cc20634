/* SPDX-License-Identifier: Apache-2.0
 *
 * chain graph: who depends on whom in whole directories, and may this file go?
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain_verbs.h"
#include "confine.h"
#include "graph_print.h"
#include "opt.h"
#include "out.h"
#include "text.h"

enum graph_output { GRAPH_TEXT, GRAPH_JSON, GRAPH_DOT, GRAPH_SVG };

struct graph_args {
    const char *dependants;
    enum graph_output output;
};

static int set_output(struct tool *tool, void *slot, const char *value)
{
    static const char *const names[] = { "human", "json", "dot", "svg" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], value) == 0) {
            *(enum graph_output *)slot = (enum graph_output)i;
            return EXIT_DONE;
        }
    return tool_fail_usage(tool, "--output expects 'human', 'json', 'dot' or 'svg', not '%s'",
                           value);
}

static const struct opt_row rows[] = {
    { OPT_TEXT, 0, "dependants", "FILE",
      "tell only what depends on FILE, directly or through others: exit code 0 if\n"
      "nothing does",
      offsetof(struct graph_args, dependants), NULL },
    { OPT_CALL, 0, "output", "human|json|dot|svg", "how to print the result (default: human)",
      offsetof(struct graph_args, output), set_output },
    { OPT_OPERAND, 0, "DIR", NULL, "a directory to look through, or an image (may be repeated)", 0,
      NULL },
    OPT_ROWS_END,
};

/* --- the whole ------------------------------------------------------------------------------ */

static int judge(const struct qimg_graph *graph)
{
    bool *in_loop = calloc(graph->count + 1, sizeof(*in_loop));
    if (!in_loop)
        return EXIT_FAILED;
    const struct graph_counts counts = graph_count(graph, in_loop);
    free(in_loop);
    if (counts.broken > 0)
        return EXIT_CHAIN_BROKEN;
    return graph->unreadable > 0 || counts.remote > 0 ? EXIT_CHAIN_UNVISITED : EXIT_DONE;
}

static int tell_dot(const struct tool *tool, int rc)
{
    if (rc == 0)
        return EXIT_DONE;
    if (rc > 0)
        return tool_fail(tool, "Could not run Graphviz's dot: %s (--output=dot prints its input)",
                         strerror(rc));
    return tool_fail(tool, "Graphviz's dot failed");
}

static int print(const struct graph_args *args, const struct qimg_graph *graph)
{
    switch (args->output) {
    case GRAPH_TEXT:
        graph_print_text(stdout, graph);
        break;
    case GRAPH_JSON:
        graph_print_json(stdout, graph);
        break;
    case GRAPH_DOT:
        graph_print_dot(stdout, graph);
        break;
    case GRAPH_SVG: /* dot's business */
        break;
    }
    return judge(graph);
}

/* --- one file ------------------------------------------------------------------------------- */

static void print_dependants(const struct graph_args *args, const struct qimg_graph *graph,
                             const size_t *list, size_t count)
{
    if (args->output == GRAPH_JSON) {
        struct out out = out_json(stdout);
        out_object(&out, NULL);
        out_text(&out, "file", args->dependants);
        out_list(&out, "dependants");
        for (size_t i = 0; i < count; i++)
            out_text(&out, NULL, graph->images[list[i]].path);
        out_close(&out);
        out_number(&out, "unreadable", graph->unreadable);
        out_close(&out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        text_show(stdout, graph->images[list[i]].path);
        putchar('\n');
    }
}

static int tell_dependants(const struct tool *tool, const struct graph_args *args,
                           const struct qimg_graph *graph)
{
    const size_t index = qimg_graph_find(graph, args->dependants);
    size_t *list = NULL, count = 0;
    if (index == QIMG_GRAPH_NONE && access(args->dependants, F_OK) < 0)
        return tool_fail(tool, "Could not find '%s': %s", args->dependants, strerror(errno));
    if (index != QIMG_GRAPH_NONE && qimg_graph_dependants(graph, index, &list, &count) < 0)
        return tool_fail(tool, "out of memory");
    print_dependants(args, graph, list, count);
    free(list);
    if (count > 0)
        return EXIT_CHAIN_BROKEN;
    if (graph->unreadable == 0)
        return EXIT_DONE;
    tool_warn(tool, "%llu files or directories could not be read: they may depend on '%s'",
              (unsigned long long)graph->unreadable, args->dependants);
    return EXIT_CHAIN_UNVISITED;
}

/* --- the verb ------------------------------------------------------------------------------- */

static int read_and_print(struct tool *tool, const struct graph_args *args,
                          struct qimg_context *context, const char *const *paths, size_t count)
{
    struct graph_svg svg = { 0 };
    struct qimg_graph graph = { 0 };
    struct qimg_error err;
    const bool draws = args->output == GRAPH_SVG;
    qimg_error_clear(&err);
    if (draws && tell_dot(tool, graph_svg_start(stdout, &svg)))
        return EXIT_FAILED;
    if (draws)
        confine_no_more_programs(tool);
    const bool read = qimg_graph_read(context, paths, count, &graph, &err) == 0;
    int code = read ? EXIT_DONE : tool_fail_error(tool, "", &err);
    if (draws && tell_dot(tool, graph_svg_finish(&svg, read ? &graph : NULL)))
        code = EXIT_FAILED;
    if (code == EXIT_DONE)
        code = args->dependants ? tell_dependants(tool, args, &graph) : print(args, &graph);
    if (read)
        qimg_graph_release(&graph);
    return code;
}

static int run(struct tool *tool, const struct graph_args *args, const char *const *paths,
               size_t count)
{
    struct qimg_context *context;
    if (args->output == GRAPH_SVG)
        confine_programs(tool);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    const int code = read_and_print(tool, args, context, paths, count);
    qimg_context_free(context);
    return code;
}

int chain_graph(struct tool *tool, int argc, char **argv)
{
    struct graph_args args = { 0 };
    const int count = opt_parse_ungated(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (count == 0)
        return tool_fail_usage(tool, "Expecting directories");
    if (args.dependants && args.output > GRAPH_JSON)
        return tool_fail_usage(tool, "--dependants prints as 'human' or 'json'");
    return run(tool, &args, (const char *const *)(argv + optind), (size_t)count);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The graph is a forest but for data files and loops: what has a base that is there and not its own
 * overlay stands below it, each image once.
 */
#include "graph_print.h"

#include <stdlib.h>
#include <string.h>

#include "chain_dot.h"
#include "out.h"
#include "text.h"

#define INDENT_LEVELS 12

/* --- what is what --------------------------------------------------------------------------- */

static bool is_there(const struct qimg_graph_image *image)
{
    return image->kind == QIMG_GRAPH_FOUND || image->kind == QIMG_GRAPH_OUTSIDE;
}

static bool leads_nowhere(const struct qimg_graph_image *image)
{
    return image->kind == QIMG_GRAPH_MISSING || image->kind == QIMG_GRAPH_NOWHERE;
}

static bool is_orphan(const struct qimg_graph_image *image)
{
    return image->kind == QIMG_GRAPH_FOUND && image->dependants == 0 && !image->problem &&
           !image->backing_name && !image->data_file_name;
}

/* Follows the backing files of @start; what it comes to twice is a loop. @walk: on which walk an
 * image was visited, 0 = on none. */
static void mark_loop(const struct qimg_graph *graph, size_t start, size_t *walk, bool *in_loop)
{
    const struct qimg_graph_image *images = graph->images;
    size_t at = start;
    for (; at != QIMG_GRAPH_NONE && walk[at] == 0; at = images[at].backing)
        walk[at] = start + 1;
    if (at == QIMG_GRAPH_NONE || walk[at] != start + 1)
        return;
    for (; !in_loop[at]; at = images[at].backing)
        in_loop[at] = true;
}

static void find_loops(const struct qimg_graph *graph, bool *in_loop)
{
    size_t *walk = calloc(graph->count + 1, sizeof(*walk));
    for (size_t i = 0; walk && i < graph->count; i++)
        mark_loop(graph, i, walk, in_loop);
    free(walk);
}

struct graph_counts graph_count(const struct qimg_graph *graph, bool *in_loop)
{
    struct graph_counts counts = { 0 };
    find_loops(graph, in_loop);
    for (size_t i = 0; i < graph->count; i++) {
        const struct qimg_graph_image *image = &graph->images[i];
        counts.bases += is_there(image) && image->dependants > 0;
        counts.tops += image->backing_name && image->dependants == 0;
        counts.orphans += is_orphan(image);
        counts.loops += in_loop[i];
        counts.broken += (leads_nowhere(image) ? image->dependants : 0) + (image->problem != NULL);
        counts.remote += image->kind == QIMG_GRAPH_REMOTE;
    }
    counts.broken += counts.loops;
    return counts;
}

/* --- text ----------------------------------------------------------------------------------- */

/* The first of @index and those behind it in its list that is not in a loop. */
static size_t outside_loops(const struct qimg_graph *graph, size_t index, const bool *in_loop)
{
    while (index != QIMG_GRAPH_NONE && in_loop[index])
        index = graph->images[index].next_overlay;
    return index;
}

/* Does another overlay of the same image come below @index? */
static bool has_next(const struct qimg_graph *graph, size_t index, const bool *in_loop)
{
    return outside_loops(graph, graph->images[index].next_overlay, in_loop) != QIMG_GRAPH_NONE;
}

/* The lines that go on past @index, which stands @levels above the last that is drawn. */
static void print_bars(FILE *file, const struct qimg_graph *graph, size_t index, unsigned levels,
                       const bool *in_loop)
{
    if (levels == 0)
        return;
    print_bars(file, graph, graph->images[index].backing, levels - 1, in_loop);
    fputs(has_next(graph, index, in_loop) ? "│  " : "   ", file);
}

static void print_line(FILE *file, const struct qimg_graph *graph, size_t index)
{
    const struct qimg_graph_image *image = &graph->images[index];
    char size[TEXT_SIZE_ROOM];
    text_show(file, image->path);
    if (image->format)
        fprintf(file, "  %s", image->format);
    if (image->virtual_size)
        fprintf(file, "  %s", text_size(image->virtual_size, size));
    if (image->kind != QIMG_GRAPH_FOUND)
        fprintf(file, "  [%s]", qimg_graph_kind_name(image->kind));
    if (image->problem) {
        fputs("  [unreadable: ", file);
        text_show(file, image->problem);
        putc(']', file);
    }
    if (image->data_file != QIMG_GRAPH_NONE) {
        const struct qimg_graph_image *data = &graph->images[image->data_file];
        fputs("  data in ", file);
        text_show(file, data->path);
        if (!is_there(data))
            fprintf(file, " [%s]", qimg_graph_kind_name(data->kind));
    }
    putc('\n', file);
}

/* All that stands above @root, depth first, but for what is in a loop. */
static void print_overlays(FILE *file, const struct qimg_graph *graph, size_t root,
                           const bool *in_loop)
{
    const struct qimg_graph_image *images = graph->images;
    unsigned level = 0;
    for (size_t at = root;;) {
        size_t next = outside_loops(graph, images[at].first_overlay, in_loop);
        if (next != QIMG_GRAPH_NONE)
            level++;
        while (next == QIMG_GRAPH_NONE && at != root) {
            next = outside_loops(graph, images[at].next_overlay, in_loop);
            if (next == QIMG_GRAPH_NONE) {
                at = images[at].backing;
                level--;
            }
        }
        if (next == QIMG_GRAPH_NONE)
            return;
        const unsigned drawn = level < INDENT_LEVELS ? level : INDENT_LEVELS;
        print_bars(file, graph, images[next].backing, drawn - 1, in_loop);
        fputs(has_next(graph, next, in_loop) ? "├─ " : "└─ ", file);
        print_line(file, graph, next);
        at = next;
    }
}

static void print_loops(FILE *file, const struct qimg_graph *graph, const bool *in_loop)
{
    for (size_t i = 0; i < graph->count; i++) {
        if (!in_loop[i])
            continue;
        text_show(file, graph->images[i].path);
        fputs("  [in a loop, through ", file);
        text_show(file, graph->images[i].backing_name);
        fputs("]\n", file);
        print_overlays(file, graph, i, in_loop);
    }
}

static void print_orphans(FILE *file, const struct qimg_graph *graph)
{
    bool first = true;
    for (size_t i = 0; i < graph->found; i++) {
        if (!is_orphan(&graph->images[i]))
            continue;
        if (first)
            fputs("\norphans (they name no image, and none names them):\n", file);
        first = false;
        print_line(file, graph, i);
    }
}

static bool is_root(const struct qimg_graph_image *image)
{
    if (image->backing != QIMG_GRAPH_NONE)
        return false;
    return image->first_overlay != QIMG_GRAPH_NONE || image->problem || image->data_file_name ||
           image->backing_name;
}

void graph_print_text(FILE *file, const struct qimg_graph *graph)
{
    bool *in_loop = calloc(graph->count + 1, sizeof(*in_loop));
    if (!in_loop)
        return;
    const struct graph_counts counts = graph_count(graph, in_loop);
    for (size_t i = 0; i < graph->count; i++)
        if (is_root(&graph->images[i])) {
            print_line(file, graph, i);
            print_overlays(file, graph, i, in_loop);
        }
    print_loops(file, graph, in_loop);
    print_orphans(file, graph);
    fprintf(file,
            "\n%zu images in %llu files: %zu bases in use, %zu tops, %zu orphans, %zu broken links",
            graph->found, (unsigned long long)graph->files, counts.bases, counts.tops,
            counts.orphans, counts.broken);
    if (graph->unreadable)
        fprintf(file, ", %llu not readable", (unsigned long long)graph->unreadable);
    putc('\n', file);
    free(in_loop);
}

/* --- JSON ----------------------------------------------------------------------------------- */

static void json_reference(struct out *out, const struct qimg_graph *graph, const char *key,
                           const char *name, size_t to)
{
    if (!name)
        return;
    out_object(out, key);
    out_text(out, "name", name);
    if (to != QIMG_GRAPH_NONE) {
        out_text(out, "path", graph->images[to].path);
        out_text(out, "state", qimg_graph_kind_name(graph->images[to].kind));
    }
    out_close(out);
}

static void json_image(struct out *out, const struct qimg_graph *graph, size_t index, bool in_loop)
{
    const struct qimg_graph_image *image = &graph->images[index];
    out_object(out, NULL);
    out_text(out, "path", image->path);
    out_text(out, "state", qimg_graph_kind_name(image->kind));
    out_text(out, "format", image->format);
    out_text(out, "problem", image->problem);
    if (image->virtual_size)
        out_number(out, "virtual-size", image->virtual_size);
    if (is_there(image))
        out_number(out, "actual-size", image->allocated);
    out_number(out, "dependants", image->dependants);
    if (is_orphan(image))
        out_flag(out, "orphan", true);
    if (in_loop)
        out_flag(out, "loop", true);
    out_text(out, "backing-format", image->backing_format);
    json_reference(out, graph, "backing", image->backing_name, image->backing);
    json_reference(out, graph, "data-file", image->data_file_name, image->data_file);
    out_close(out);
}

static void json_summary(struct out *out, const struct qimg_graph *graph,
                         const struct graph_counts *counts)
{
    out_object(out, "summary");
    out_number(out, "files", graph->files);
    out_number(out, "images", graph->found);
    out_number(out, "bases", counts->bases);
    out_number(out, "tops", counts->tops);
    out_number(out, "orphans", counts->orphans);
    out_number(out, "broken", counts->broken);
    out_number(out, "remote", counts->remote);
    out_number(out, "unreadable", graph->unreadable);
    out_close(out);
}

void graph_print_json(FILE *file, const struct qimg_graph *graph)
{
    bool *in_loop = calloc(graph->count + 1, sizeof(*in_loop));
    if (!in_loop)
        return;
    const struct graph_counts counts = graph_count(graph, in_loop);
    struct out out = out_json(file);
    out_object(&out, NULL);
    out_list(&out, "images");
    for (size_t i = 0; i < graph->count; i++)
        json_image(&out, graph, i, in_loop[i]);
    out_close(&out);
    json_summary(&out, graph, &counts);
    out_close(&out);
    free(in_loop);
}

/* --- Graphviz ------------------------------------------------------------------------------- */

void graph_print_dot(FILE *file, const struct qimg_graph *graph)
{
    dot_begin(file);
    for (size_t i = 0; i < graph->count; i++) {
        const struct qimg_graph_image *image = &graph->images[i];
        const bool found = image->kind == QIMG_GRAPH_FOUND;
        dot_node(file, &(struct dot_node){ .id = i,
                                           .title = image->path,
                                           .detail = found ? image->format
                                                           : qimg_graph_kind_name(image->kind),
                                           .wrong = leads_nowhere(image) || image->problem,
                                           .pale = !found });
    }
    for (size_t i = 0; i < graph->count; i++) {
        const struct qimg_graph_image *image = &graph->images[i];
        if (image->backing != QIMG_GRAPH_NONE)
            dot_edge(file, i, image->backing, NULL, leads_nowhere(&graph->images[image->backing]));
        if (image->data_file != QIMG_GRAPH_NONE)
            dot_edge(file, i, image->data_file, "data file",
                     leads_nowhere(&graph->images[image->data_file]));
    }
    dot_end(file);
}

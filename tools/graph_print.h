/* SPDX-License-Identifier: Apache-2.0
 *
 * Printing who depends on whom.
 */
#ifndef TOOLS_GRAPH_PRINT_H
#define TOOLS_GRAPH_PRINT_H

#include <stdio.h>
#include <sys/types.h>

#include "qimg/graph.h"

struct graph_counts {
    size_t bases;   /* images that others depend on, and that are there */
    size_t tops;    /* overlays on which nothing depends */
    size_t orphans; /* images that name none and that none names */
    size_t broken;  /* names that lead to nothing, loops, headers that cannot be read */
    size_t remote;  /* places on the network */
    size_t loops;   /* images in a loop */
};

/* @in_loop: a flag for each image, filled in here. */
struct graph_counts graph_count(const struct qimg_graph *graph, bool *in_loop);

/* Bases, each with what depends on it below; then loops, orphans, and a line of counts. */
void graph_print_text(FILE *file, const struct qimg_graph *graph);

void graph_print_json(FILE *file, const struct qimg_graph *graph);

void graph_print_dot(FILE *file, const struct qimg_graph *graph);

/* The same as SVG, made by Graphviz's dot. It is started before images are read, so that the
 * program need not be able to start another one by then. */
struct graph_svg {
    FILE *graph; /* what dot reads */
    pid_t pid;
};

/* dot will print on @file. 0 or a positive errno: ENOENT where there is no dot. */
int graph_svg_start(FILE *file, struct graph_svg *svg);

/* @graph NULL: there is nothing to draw after all. 0, a positive errno, or -1 where dot failed. */
int graph_svg_finish(struct graph_svg *svg, const struct qimg_graph *graph);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Graphviz's language: nodes are numbered, labels and names escaped.
 */
#ifndef TOOLS_CHAIN_DOT_H
#define TOOLS_CHAIN_DOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* "digraph chain {" and what all graphs here look like. */
void dot_begin(FILE *file);
void dot_end(FILE *file);

struct dot_node {
    size_t id;
    const char *title;  /* may hold anything */
    const char *detail; /* a second line; NULL = none */
    bool wrong, pale;
};

void dot_node(FILE *file, const struct dot_node *node);

/* An arrow from overlay to base; @label may be NULL. */
void dot_edge(FILE *file, size_t from, size_t to, const char *label, bool wrong);

#endif

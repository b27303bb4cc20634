/* SPDX-License-Identifier: Apache-2.0
 *
 * A name goes through text_show() first, and then through the quoting of Graphviz, where '"' and
 * '\' mean something.
 */
#include "chain_dot.h"

#include <stdlib.h>

#include "text.h"

void dot_begin(FILE *file)
{
    fputs("digraph chain {\n"
          "    rankdir=BT;\n"
          "    node [shape=box, fontname=\"sans-serif\", fontsize=10];\n"
          "    edge [fontname=\"sans-serif\", fontsize=9];\n",
          file);
}

void dot_end(FILE *file)
{
    fputs("}\n", file);
}

static void put_quoted(FILE *file, const char *text)
{
    char *shown = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&shown, &len);
    if (!to)
        return;
    text_show(to, text);
    (void)fclose(to);
    for (const char *p = shown; p && *p; p++) {
        if (*p == '"' || *p == '\\')
            putc('\\', file);
        putc(*p, file);
    }
    free(shown);
}

void dot_node(FILE *file, const struct dot_node *node)
{
    fprintf(file, "    n%zu [label=\"", node->id);
    put_quoted(file, node->title);
    if (node->detail) {
        fputs("\\n", file);
        put_quoted(file, node->detail);
    }
    fprintf(file, "\"%s%s];\n", node->wrong ? ", color=red, fontcolor=red" : "",
            node->pale ? ", style=dashed" : "");
}

void dot_edge(FILE *file, size_t from, size_t to, const char *label, bool wrong)
{
    fprintf(file, "    n%zu -> n%zu", from, to);
    if (label || wrong)
        fputs(" [", file);
    if (label) {
        fputs("label=\"", file);
        put_quoted(file, label);
        putc('"', file);
    }
    if (wrong)
        fprintf(file, "%scolor=red", label ? ", " : "");
    fputs(label || wrong ? "];\n" : ";\n", file);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Chains and findings on their way out. Names pass text.h; sentences, remedies and advice come
 * from the library, fit to be shown.
 */
#include "chain_print.h"

#include <stdlib.h>
#include <string.h>

#include "chain_dot.h"
#include "text.h"

#define INDENT_LEVELS 8 /* deeper images are not moved further right */

int chain_exit_code(enum qimg_severity worst)
{
    switch (worst) {
    case QIMG_SEVERITY_ERROR:
        return EXIT_CHAIN_BROKEN;
    case QIMG_SEVERITY_UNVISITED:
        return EXIT_CHAIN_UNVISITED;
    case QIMG_SEVERITY_WARNING:
        return EXIT_CHAIN_WARNINGS;
    case QIMG_SEVERITY_NOTE:
        break;
    }
    return EXIT_DONE;
}

/* --- the tree -------------------------------------------------------------------------------- */

static const struct qimg_chain_reference *reference_to(const struct qimg_chain *chain, size_t level)
{
    return level > 0 ? &chain->images[level - 1]->backing : NULL;
}

static int indent_of(size_t level)
{
    return level == 0 ? 0 : 3 * (int)(level < INDENT_LEVELS ? level - 1 : INDENT_LEVELS - 1);
}

/* What is shown first: the name as recorded, of the top as given. */
static const char *label_of(const struct qimg_chain *chain, size_t level)
{
    const struct qimg_chain_reference *reference = reference_to(chain, level);
    return reference && reference->recorded ? reference->recorded : chain->images[level]->name;
}

/* Columns up to where formats stand: as the longest line wants it, up to a limit. */
static int width_of(const struct qimg_chain *chain)
{
    size_t width = 20;
    for (size_t i = 0; i < chain->count; i++) {
        const size_t len = strlen(label_of(chain, i)) + (size_t)indent_of(i) + (i ? 3 : 0);
        if (len > width && len <= 60)
            width = len;
    }
    return (int)width;
}

static void print_state(FILE *file, const struct qimg_chain_image *image)
{
    if (image->state == QIMG_CHAIN_READ || !image->problem)
        return;
    fprintf(file, "  [%s: ", qimg_chain_state_name(image->state));
    text_show(file, image->problem);
    putc(']', file);
}

static void print_origin(FILE *file, const struct qimg_chain_reference *reference,
                         const struct qimg_chain_image *image)
{
    if (!reference || !reference->recorded)
        return;
    fprintf(file, "  (%s%s", reference->recorded_format ? "format recorded" : "no format recorded",
            reference->by_user ? ", given by you" : "");
    if (reference->relative && image->path) {
        fputs(", leads to ", file);
        text_show(file, image->path);
    }
    putc(')', file);
}

static void print_image(FILE *file, const struct qimg_chain *chain, size_t level, int width)
{
    const struct qimg_chain_image *image = chain->images[level];
    char size[TEXT_SIZE_ROOM], disk[TEXT_SIZE_ROOM];
    const int indent = indent_of(level);
    fprintf(file, "[%zu] %*s%s", level, indent, "", level ? "└─ " : "");
    text_show_padded(file, label_of(chain, level), width - indent - (level ? 3 : 0));
    fprintf(file, "  %-6s", image->format ? image->format : "?");
    if (image->state == QIMG_CHAIN_READ)
        fprintf(file, "  %8s", text_size(image->info.virtual_size, size));
    if (image->file.there)
        fprintf(file, "  %s on disk", text_size(image->file.allocated, disk));
    print_origin(file, reference_to(chain, level), image);
    print_state(file, image);
    putc('\n', file);
}

static void print_data_file(FILE *file, const struct qimg_chain_image *image, size_t level)
{
    const struct qimg_chain_reference *data = &image->data_file;
    char disk[TEXT_SIZE_ROOM];
    if (!data->recorded)
        return;
    fprintf(file, "    %*s data in ", indent_of(level + 1), "");
    text_show(file, *data->recorded ? data->recorded : "(no name recorded)");
    if (data->image && data->image->file.there)
        fprintf(file, "  %s on disk", text_size(data->image->file.allocated, disk));
    if (data->image)
        print_state(file, data->image);
    putc('\n', file);
}

static void print_end(FILE *file, const struct qimg_chain *chain)
{
    fprintf(file, "    %*s ", indent_of(chain->count), "");
    switch (chain->end) {
    case QIMG_CHAIN_COMPLETE:
        fputs("end of chain\n", file);
        break;
    case QIMG_CHAIN_LOOP:
        fprintf(file, "leads back to [%zu]\n", chain->loop_to);
        break;
    case QIMG_CHAIN_TOO_DEEP:
        fputs("goes on, deeper than --max-depth\n", file);
        break;
    case QIMG_CHAIN_BROKEN:
        fputs("the chain is broken here\n", file);
        break;
    case QIMG_CHAIN_NOT_VISITED:
        fputs("not visited from here on\n", file);
        break;
    }
}

void chain_print_tree(FILE *file, const struct qimg_chain *chain)
{
    const int width = width_of(chain);
    for (size_t i = 0; i < chain->count; i++) {
        print_image(file, chain, i, width);
        print_data_file(file, chain->images[i], i);
    }
    print_end(file, chain);
}

/* --- Graphviz -------------------------------------------------------------------------------- */

static void dot_image(FILE *file, const struct qimg_chain_image *image, size_t id)
{
    char detail[128], size[TEXT_SIZE_ROOM];
    if (image->state == QIMG_CHAIN_READ)
        (void)snprintf(
            detail, sizeof(detail), "%s, %s", image->format ? image->format : "data",
            text_size(image->format ? image->info.virtual_size : image->file.size, size));
    else
        (void)snprintf(detail, sizeof(detail), "%s, %s", image->format ? image->format : "?",
                       qimg_chain_state_name(image->state));
    dot_node(file, &(struct dot_node){ .id = id,
                                       .title = image->absolute ? image->absolute : image->name,
                                       .detail = detail,
                                       .wrong = image->state != QIMG_CHAIN_READ &&
                                                image->state != QIMG_CHAIN_REMOTE,
                                       .pale = image->state == QIMG_CHAIN_REMOTE });
}

void chain_print_dot(FILE *file, const struct qimg_chain *chain)
{
    dot_begin(file);
    for (size_t i = 0; i < chain->count; i++) {
        const struct qimg_chain_image *data = chain->images[i]->data_file.image;
        dot_image(file, chain->images[i], i);
        if (data) {
            dot_image(file, data, chain->count + i);
            dot_edge(file, i, chain->count + i, "data file", data->state != QIMG_CHAIN_READ);
        }
        if (i > 0)
            dot_edge(file, i - 1, i, label_of(chain, i),
                     chain->images[i]->state != QIMG_CHAIN_READ);
    }
    if (chain->end == QIMG_CHAIN_LOOP)
        dot_edge(file, chain->count - 1, chain->loop_to,
                 chain->images[chain->count - 1]->backing.recorded, true);
    dot_end(file);
}

/* --- findings -------------------------------------------------------------------------------- */

/* Each line of @text behind "  WORD: ". */
static void print_lines(FILE *file, const char *word, const char *text)
{
    while (text && *text) {
        const size_t len = strcspn(text, "\n");
        char *line = strndup(text, len);
        fprintf(file, "  %s: ", word);
        text_show(file, line ? line : "out of memory");
        putc('\n', file);
        free(line);
        text += len + (text[len] == '\n');
    }
}

void chain_print_findings(FILE *file, const struct qimg_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct qimg_finding *f = &findings->items[i];
        fprintf(file, "%s[%s]: ", qimg_severity_name(f->severity), f->id);
        text_show(file, f->sentence);
        putc('\n', file);
        print_lines(file, "try", f->remedy);
        print_lines(file, "note", f->advice);
    }
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void json_reference(struct out *out, const struct qimg_chain_reference *reference)
{
    out_text(out, "recorded-name", reference->recorded);
    out_text(out, "recorded-format", reference->recorded_format);
    out_flag(out, "relative", reference->relative);
    if (reference->by_user)
        out_flag(out, "by-user", true);
}

static void json_file(struct out *out, const struct qimg_chain_image *image)
{
    out_text(out, "state", qimg_chain_state_name(image->state));
    out_text(out, "problem", image->problem);
    out_text(out, "filename", image->name);
    out_text(out, "path", image->absolute);
    if (!image->file.there)
        return;
    out_flag(out, "device", image->file.is_device);
    out_number(out, "file-size", image->file.size);
    out_number(out, "actual-size", image->file.allocated);
}

static void json_image(struct out *out, const struct qimg_chain *chain, size_t level)
{
    const struct qimg_chain_image *image = chain->images[level];
    const struct qimg_chain_reference *reference = reference_to(chain, level);
    out_object(out, NULL);
    out_number(out, "level", level);
    if (reference)
        json_reference(out, reference);
    json_file(out, image);
    out_text(out, "format", image->format);
    out_text(out, "content", image->content);
    if (image->state == QIMG_CHAIN_READ)
        out_number(out, "virtual-size", image->info.virtual_size);
    if (image->data_file.recorded) {
        out_object(out, "data-file");
        json_reference(out, &image->data_file);
        if (image->data_file.image)
            json_file(out, image->data_file.image);
        out_close(out);
    }
    out_close(out);
}

void chain_print_json(struct out *out, const struct qimg_chain *chain)
{
    out_text(out, "end", qimg_chain_end_name(chain->end));
    out_list(out, "images");
    for (size_t i = 0; i < chain->count; i++)
        json_image(out, chain, i);
    out_close(out);
}

void chain_print_findings_json(struct out *out, const char *key,
                               const struct qimg_findings *findings)
{
    out_list(out, key);
    for (size_t i = 0; i < findings->count; i++) {
        const struct qimg_finding *f = &findings->items[i];
        out_object(out, NULL);
        out_text(out, "id", f->id);
        out_text(out, "severity", qimg_severity_name(f->severity));
        out_number(out, "level", f->level);
        out_text(out, "image", f->image);
        out_text(out, "field", f->field);
        out_text(out, "value", f->value);
        out_text(out, "sentence", f->sentence);
        out_text(out, "remedy", f->remedy);
        out_text(out, "advice", f->advice);
        out_close(out);
    }
    out_close(out);
}

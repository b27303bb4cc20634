/* SPDX-License-Identifier: Apache-2.0
 *
 * The two printers behind out.h. Only begin() and out_close() know where commas, line ends and
 * indentation go.
 */
#include "out.h"

#include <assert.h>
#include <inttypes.h>

#include "text.h"

struct out out_json(FILE *file)
{
    return (struct out){ .file = file, .json = true };
}

struct out out_human(FILE *file, unsigned indent)
{
    return (struct out){ .file = file, .indent = indent };
}

static void indent(struct out *out)
{
    fprintf(out->file, "%*s", (int)(4 * (out->indent + out->depth)), "");
}

/* "write-zeroes-alignment" -> "write zeroes alignment" */
static void human_key(struct out *out, const char *key)
{
    for (; *key; key++)
        putc(*key == '-' ? ' ' : *key, out->file);
}

/* Everything in front of a value: comma and line end of the member before, indentation, key. */
static void begin(struct out *out, const char *key, bool container)
{
    if (out->depth == 0)
        return;
    size_t index = out->level[out->depth - 1].count++;
    if (out->json) {
        fputs(index ? ",\n" : "\n", out->file);
        indent(out);
        if (key)
            fprintf(out->file, "\"%s\": ", key);
        return;
    }
    /* the outermost container has no line of its own: its members are not moved right */
    out->depth--;
    indent(out);
    out->depth++;
    if (out->level[out->depth - 1].list)
        fprintf(out->file, "[%zu]", index);
    else
        human_key(out, key);
    fputs(container ? ":\n" : ": ", out->file);
}

static void end(struct out *out)
{
    if (!out->json || out->depth == 0)
        putc('\n', out->file);
}

static void open_container(struct out *out, const char *key, bool list)
{
    assert(out->depth < OUT_DEPTH);
    begin(out, key, true);
    if (out->json)
        putc(list ? '[' : '{', out->file);
    out->level[out->depth].list = list;
    out->level[out->depth].count = 0;
    out->depth++;
}

void out_object(struct out *out, const char *key)
{
    open_container(out, key, false);
}

void out_list(struct out *out, const char *key)
{
    open_container(out, key, true);
}

void out_close(struct out *out)
{
    assert(out->depth > 0);
    out->depth--;
    if (!out->json)
        return;
    putc('\n', out->file);
    indent(out);
    putc(out->level[out->depth].list ? ']' : '}', out->file);
    end(out);
}

void out_text(struct out *out, const char *key, const char *value)
{
    if (!value)
        return;
    begin(out, key, false);
    if (out->json)
        text_json(out->file, value);
    else
        text_show(out->file, value);
    end(out);
}

void out_number(struct out *out, const char *key, uint64_t value)
{
    begin(out, key, false);
    fprintf(out->file, "%" PRIu64, value);
    end(out);
}

void out_signed(struct out *out, const char *key, int64_t value)
{
    begin(out, key, false);
    fprintf(out->file, "%" PRId64, value);
    end(out);
}

void out_real(struct out *out, const char *key, double value)
{
    begin(out, key, false);
    fprintf(out->file, "%.4g", value);
    end(out);
}

void out_flag(struct out *out, const char *key, bool value)
{
    begin(out, key, false);
    fputs(value ? "true" : "false", out->file);
    end(out);
}

size_t out_fields(struct out *out, const struct out_field *fields, const void *from)
{
    size_t there = 0;
    for (; fields->key; fields++) {
        uint32_t value = *(const uint32_t *)((const char *)from + fields->at);
        if (!value)
            continue;
        there++;
        if (out)
            out_number(out, fields->key, value);
    }
    return there;
}

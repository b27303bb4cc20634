/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers, cache modes, -o lists.
 */
#include "args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int args_size_within(const struct tool *tool, const char *what, const char *text,
                     struct args_bounds bounds, uint64_t *out)
{
    const int rc = qimg_size_parse(text, out);
    if (rc < 0 && rc != -ERANGE)
        return tool_fail(tool, "Invalid %s specified: '%s'", what, text);
    if (rc < 0 || *out < bounds.least || *out > bounds.most)
        return tool_fail(tool, "Invalid %s specified. Must be between %" PRIu64 " and %" PRIu64 ".",
                         what, bounds.least, bounds.most);
    return EXIT_DONE;
}

int args_size(const struct tool *tool, const char *what, const char *text, uint64_t *out)
{
    return args_size_within(tool, what, text, (struct args_bounds){ 0, INT64_MAX }, out);
}

int args_number(const struct tool *tool, const char *what, const char *text,
                struct args_bounds bounds, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 0);
    if (end == text || *end)
        return tool_fail(tool, "Invalid %s specified: '%s'", what, text);
    if (errno || *out < bounds.least || *out > bounds.most)
        return tool_fail(tool, "Invalid %s specified. Must be between %" PRIu64 " and %" PRIu64 ".",
                         what, bounds.least, bounds.most);
    return EXIT_DONE;
}

int args_cache(struct tool *tool, const char *what, const char *text, enum qimg_cache *out)
{
    if (qimg_cache_parse(text, out) < 0)
        return tool_fail(tool, "Invalid %s: %s", what, text);
    if (*out == QIMG_CACHE_NONE || *out == QIMG_CACHE_DIRECTSYNC)
        tool->confine.direct = true;
    return EXIT_DONE;
}

/* Several lists can be joined by commas only if none begins with a comma, is empty or ends in
 * an odd number of them: the joining comma would become part of a doubled one. */
static bool can_be_joined(const char *list)
{
    size_t len = strlen(list), commas = 0;
    while (commas < len && list[len - 1 - commas] == ',')
        commas++;
    return list[0] && list[0] != ',' && commas % 2 == 0;
}

int args_options_add(struct tool *tool, void *slot, const char *value)
{
    struct args_options *options = slot;
    char *joined;
    if (!can_be_joined(value))
        return tool_fail(tool, "Invalid option list: %s", value);
    if (asprintf(&joined, "%s%s%s", options->text ? options->text : "", options->text ? "," : "",
                 value) < 0)
        return tool_fail(tool, "out of memory");
    free(options->text);
    options->text = joined;
    return EXIT_DONE;
}

/* Cuts one member off @rest in place, turning ",," of a value into ",". NULL at the end. */
static char *next_member(char **rest)
{
    char *member = *rest, *to = member;
    bool has_value = false;
    if (!member)
        return NULL;
    for (char *from = member; *from; from++) {
        has_value |= *from == '=';
        if (*from == ',' && (!has_value || from[1] != ',')) {
            *rest = from + 1;
            *to = '\0';
            return member;
        }
        if (*from == ',')
            from++;
        *to++ = *from;
    }
    *to = '\0';
    *rest = NULL;
    return member;
}

bool args_options_want_help(const struct args_options *options)
{
    if (!options->text)
        return false;
    char *copy = strdup(options->text), *rest = copy, *member;
    bool found = false;
    while (!found && (member = next_member(&rest)))
        found = strcmp(member, "help") == 0 || strcmp(member, "?") == 0;
    free(copy);
    return found;
}

/* "key=value", "key" (on) or "nokey" (off). */
static struct qimg_option option_of(char *member)
{
    char *equals = strchr(member, '=');
    if (equals) {
        *equals = '\0';
        return (struct qimg_option){ member, equals + 1 };
    }
    if (strncmp(member, "no", 2) == 0)
        return (struct qimg_option){ member + 2, "off" };
    return (struct qimg_option){ member, "on" };
}

int args_options_split(const struct tool *tool, struct args_options *options)
{
    if (!options->text || options->list)
        return EXIT_DONE;
    options->list = calloc(strlen(options->text) + 1, sizeof(*options->list));
    if (!options->list)
        return tool_fail(tool, "out of memory");
    char *rest = options->text, *member;
    while ((member = next_member(&rest)))
        options->list[options->count++] = option_of(member);
    return EXIT_DONE;
}

int args_options_check(const struct tool *tool, const struct args_options *options,
                       const char *format)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_create_check(format, options->list, options->count, &err) == 0)
        return EXIT_DONE;
    tool_fail_error(tool, "", &err);
    return tool_fail(tool, "Invalid options for file format '%s'", format);
}

void args_options_release(struct args_options *options)
{
    free(options->list);
    free(options->text);
    *options = (struct args_options){ 0 };
}

const char *args_option(const struct args_options *options, const char *key)
{
    const char *value = NULL;
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->list[i].key, key) == 0)
            value = options->list[i].value;
    return value;
}

static void print_help_row(const struct qimg_option_help *row)
{
    int width = printf("  %s=<%s>", row->name, row->type);
    printf("%*s - %s\n", width < 24 ? 24 - width : 0, "", row->help);
}

/* Merges two tables that are sorted by name; of a name in both, the row of @rows is printed. */
static void print_help_rows(const struct qimg_option_help *rows,
                            const struct qimg_option_help *more)
{
    while (rows->name || more->name) {
        int order = !rows->name ? 1 : !more->name ? -1 : strcmp(rows->name, more->name);
        print_help_row(order > 0 ? more : rows);
        rows += order <= 0;
        more += order >= 0;
    }
}

int args_options_help(const struct tool *tool, const char *format, bool file)
{
    static const struct qimg_option_help none[] = { { NULL, NULL, NULL } };
    const struct qimg_option_help *rows = qimg_create_help(format);
    const struct qimg_option_help *more = file ? qimg_create_help("file") : NULL;
    if (!rows && qimg_format_known(format))
        return tool_fail(tool, "Format driver '%s' does not support image creation", format);
    if (!rows)
        return tool_fail(tool, "Unknown file format '%s'", format);
    if (file)
        printf("Supported options:\n");
    else
        printf("Supported %s options:\n", format);
    print_help_rows(rows, more ? more : none);
    if (!file)
        printf("\nThe protocol level may support further options.\n"
               "Specify the target filename to include those options.\n");
    return EXIT_DONE;
}

int args_open(const struct tool *tool, struct qimg_context *context, const char *name,
              const struct qimg_open_options *options, struct qimg_image **out)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    if (options->image_opts && options->format)
        return tool_fail(tool, "--image-opts and --format are mutually exclusive");
    if (qimg_image_open(context, name, options, out, &err) < 0)
        return tool_fail_error(tool, "", &err);
    return EXIT_DONE;
}

const char *args_reason(const struct qimg_error *err, const char *name)
{
    static const char open[] = "Could not open '", close[] = "': ";
    const size_t open_len = sizeof(open) - 1, name_len = strlen(name);
    const char *text = err->text;
    if (strncmp(text, open, open_len) != 0 || strncmp(text + open_len, name, name_len) != 0 ||
        strncmp(text + open_len + name_len, close, sizeof(close) - 1) != 0)
        return text;
    return text + open_len + name_len + sizeof(close) - 1;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading block options. JSON as QEMU takes it (strings may be in single quotes) is rewritten to
 * strict JSON and given to jansson; nesting is bounded before anything recurses.
 */
#include "resolve_options.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "size.h"
#include "str.h"

void block_options_release(struct block_option_vec *options)
{
    for (size_t i = 0; i < options->count; i++) {
        free(options->items[i].key);
        free(options->items[i].value);
    }
    block_option_vec_release(options);
}

enum value_kind { VALUE_NULL, VALUE_TEXT, VALUE_OTHER };

/* Takes over @key and @value. */
static int add_option(struct block_option_vec *out, char *key, char *value, enum value_kind kind)
{
    const struct block_option option = { .key = key, .value = value, .text = kind == VALUE_TEXT };
    if (!key || (!value && kind != VALUE_NULL) || block_option_vec_push(out, option) < 0) {
        free(key);
        free(value);
        return -ENOMEM;
    }
    return 0;
}

/* --- JSON ------------------------------------------------------------------------------- */

/* Copies one string literal, which begins at @p, as strict JSON; returns what follows it. */
static const char *copy_string(const char *p, struct str *out)
{
    const char quote = *p++;
    str_append(out, "\"", 1);
    for (; *p && *p != quote; p++) {
        if (*p == '\\' && p[1] == '\'') {
            str_append(out, ++p, 1);
        } else if (*p == '\\' && p[1]) {
            str_append(out, p++, 2);
        } else if (*p == '"') {
            str_append(out, "\\\"", 2);
        } else {
            str_append(out, p, 1);
        }
    }
    str_append(out, "\"", 1);
    return *p ? p + 1 : p;
}

/* Copies one bare word; JSON knows three. Returns what follows it, NULL (and why) on others. */
static const char *copy_word(const char *p, struct str *out, struct qimg_error *err)
{
    static const char *const words[] = { "true", "false", "null" };
    const size_t len = strspn(p, "abcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (strlen(words[i]) == len && strncmp(words[i], p, len) == 0) {
            str_append(out, p, len);
            return p + len;
        }
    (void)qimg_fail(err, EINVAL,
                    "Could not parse the JSON options: JSON parse error, invalid "
                    "keyword '%.*s'",
                    (int)len, p);
    return NULL;
}

/* Does a bare word begin at @p? (An 'e' may stand inside a number.) */
static bool begins_word(const char *text, const char *p)
{
    return *p >= 'a' && *p <= 'z' && (p == text || p[-1] < '0' || p[-1] > '9');
}

static int strict_json(const char *text, char **out, struct qimg_error *err)
{
    struct str strict = { 0 };
    unsigned depth = 0;
    for (const char *p = text; *p;) {
        if (*p == '\'' || *p == '"') {
            p = copy_string(p, &strict);
            continue;
        }
        if (begins_word(text, p)) {
            p = copy_word(p, &strict, err);
            if (p)
                continue;
            str_release(&strict);
            return -EINVAL;
        }
        if (*p == '{' || *p == '[')
            depth++;
        if ((*p == '}' || *p == ']') && depth > 0)
            depth--;
        if (depth > LIMIT_JSON_NESTING) {
            str_release(&strict);
            return qimg_fail(err, EINVAL,
                             "Could not parse the JSON options: JSON nested deeper "
                             "than %d levels",
                             LIMIT_JSON_NESTING);
        }
        str_append(&strict, p++, 1);
    }
    *out = str_take(&strict);
    return *out ? 0 : qimg_fail_memory(err);
}

static int flatten(const char *prefix, const json_t *value, struct block_option_vec *out);

static int flatten_member(const char *prefix, const char *key, const json_t *value,
                          struct block_option_vec *out)
{
    AUTO_FREE char *path = *prefix ? str_format("%s.%s", prefix, key) : strdup(key);
    return path ? flatten(path, value, out) : -ENOMEM;
}

static int flatten_children(const char *prefix, const json_t *value, struct block_option_vec *out)
{
    if (json_is_object(value)) {
        const char *key;
        json_t *member;
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
            TRY(flatten_member(prefix, key, member, out));
        return 0;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        char key[24];
        snprintf(key, sizeof(key), "%zu", i);
        TRY(flatten_member(prefix, key, json_array_get(value, i), out));
    }
    return 0;
}

static enum value_kind kind_of(const json_t *value)
{
    if (json_is_null(value))
        return VALUE_NULL;
    return json_is_string(value) ? VALUE_TEXT : VALUE_OTHER;
}

/* Nesting is at most LIMIT_JSON_NESTING here. */
static int flatten(const char *prefix, const json_t *value, struct block_option_vec *out)
{
    char *text = NULL;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return flatten_children(prefix, value, out);
    case JSON_STRING:
        text = strdup(json_string_value(value));
        break;
    case JSON_INTEGER:
        text = str_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        text = str_format("%g", json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        text = strdup(json_is_true(value) ? "on" : "off");
        break;
    case JSON_NULL:
        break;
    }
    return add_option(out, strdup(prefix), text, kind_of(value));
}

int block_options_from_json(const char *text, struct block_option_vec *out, struct qimg_error *err)
{
    AUTO_FREE char *strict = NULL;
    TRY(strict_json(text, &strict, err));
    json_error_t why;
    json_t *root = json_loads(strict, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!root)
        return qimg_fail(err, EINVAL, "Could not parse the JSON options: JSON parse error, %s",
                         why.text);
    int rc = json_is_object(root) ? flatten("", root, out) : -EINVAL;
    json_decref(root);
    if (rc == -EINVAL)
        return qimg_fail(err, EINVAL, "Invalid JSON object given");
    return rc < 0 ? qimg_fail_memory(err) : 0;
}

/* --- key=value,... ---------------------------------------------------------------------- */

/* One item up to a single comma; ",," is a comma of the value. */
static char *next_item(const char **at)
{
    struct str item = { 0 };
    const char *p = *at;
    for (; *p; p++) {
        if (*p == ',' && p[1] != ',')
            break;
        if (*p == ',')
            p++;
        str_append(&item, p, 1);
    }
    *at = *p == ',' ? p + 1 : p;
    return str_take(&item);
}

int block_options_from_keyval(const char *text, struct block_option_vec *out,
                              struct qimg_error *err)
{
    bool first = true;
    for (const char *p = text; *p; first = false) {
        AUTO_FREE char *item = next_item(&p);
        if (!item)
            return qimg_fail_memory(err);
        char *equals = strchr(item, '=');
        int rc;
        if (equals)
            rc = add_option(out, strndup(item, (size_t)(equals - item)), strdup(equals + 1),
                            VALUE_TEXT);
        else if (first)
            rc = add_option(out, strdup("file"), strdup(item), VALUE_TEXT);
        else
            rc = add_option(out, strdup(item), strdup("on"), VALUE_TEXT);
        if (rc < 0)
            return qimg_fail_memory(err);
    }
    return 0;
}

int block_option_size(const char *key, const char *value, uint64_t *out, struct qimg_error *err)
{
    if (size_parse(value, out) == 0)
        return 0;
    (void)qimg_fail(err, EINVAL, "Parameter '%s' expects a non-negative number below 2^64", key);
    return qimg_hint(err, "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                          "peta-\nand exabytes, respectively.");
}

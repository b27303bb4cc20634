/* SPDX-License-Identifier: Apache-2.0
 *
 * What a flat list of block options means: which file, which format, which way of opening. Only
 * local drivers are spoken. Options that merely tune QEMU's caches are accepted and have no
 * meaning here; options that would change what is read and that are not spoken are refused.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "resolve_options.h"
#include "resolve_tuning.h"
#include "str.h"

static struct block_option *find(struct block_option_vec *options, const char *key)
{
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->items[i].key, key) == 0) {
            options->items[i].used = true;
            return &options->items[i];
        }
    return NULL;
}

static const char *value_of(struct block_option_vec *options, const char *key)
{
    const struct block_option *option = find(options, key);
    return option ? option->value : NULL;
}

/* Of names: what is not a string names nothing. */
static const char *text_of(struct block_option_vec *options, const char *key)
{
    const struct block_option *option = find(options, key);
    return option && option->text ? option->value : NULL;
}

/* --- options without a meaning here -------------------------------------------------------- */

static const char *const node_options[] = { "read-only",      "auto-read-only", "force-share",
                                            "discard",        "detect-zeroes",  "cache.direct",
                                            "cache.no-flush", "node-name",      NULL };
static const char *const file_options[] = {
    "locking", "aio", "aio-max-batch", "drop-cache", "x-check-cache-dropped", "pr-manager", NULL
};
static bool listed(const char *key, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(key, *list) == 0)
            return true;
    return false;
}

static bool has_prefix(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

/* The option of @key below one of a file's prefixes; NULL where it has none. */
static const char *below_file(const char *key)
{
    static const char *const prefixes[] = { "backing.file.", "file.", "data-file.", NULL };
    for (const char *const *p = prefixes; *p; p++)
        if (has_prefix(key, *p))
            return key + strlen(*p);
    return NULL;
}

static int refuse_rest(const struct block_option_vec *options, const struct location *place,
                       struct qimg_error *err)
{
    const char *format = place->format ? place->format : "qcow2";
    const bool may_be_qcow2 = strcmp(format, "qcow2") == 0 && !place->protocol_only;
    for (size_t i = 0; i < options->count; i++) {
        const char *key = options->items[i].key;
        if (options->items[i].used || listed(key, node_options))
            continue;
        if (has_prefix(key, "backing.") && listed(key + strlen("backing."), node_options))
            continue;
        const char *of_file = place->protocol_only ? key : below_file(key);
        if (of_file && (listed(of_file, file_options) || listed(of_file, node_options)))
            continue;
        if (may_be_qcow2 && tuning_is_qcow2s(key))
            continue;
        if (of_file)
            return qimg_fail(err, EINVAL, "Block protocol '%s' doesn't support the option '%s'",
                             place->driver ? place->driver : "file", of_file);
        return qimg_fail(err, EINVAL, "Block format '%s' does not support the option '%s'", format,
                         key);
    }
    return 0;
}

/* --- meanings ------------------------------------------------------------------------------ */

static bool is_protocol(const char *driver)
{
    static const char *const protocols[] = { "file", "host_device", "host_cdrom", NULL };
    return listed(driver, protocols);
}

static int copy_text(const char *text, char **out, struct qimg_error *err)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? qimg_fail_memory(err) : 0;
}

static int read_flag(struct block_option_vec *options, const char *key, bool *out,
                     struct qimg_error *err)
{
    const char *text = value_of(options, key);
    if (!text)
        return 0;
    const bool on = strcmp(text, "on") == 0;
    if (!on && strcmp(text, "off") != 0)
        return qimg_fail(err, EINVAL, "Parameter '%s' expects 'on' or 'off'", key);
    *out = on;
    return 0;
}

static int read_size(struct block_option_vec *options, const char *key, uint64_t *out, bool *given,
                     struct qimg_error *err)
{
    const char *text = value_of(options, key);
    if (!text)
        return 0;
    *given = true;
    return block_option_size(key, text, out, err);
}

static int read_window(struct block_option_vec *options, struct location *out,
                       struct qimg_error *err)
{
    bool has_offset = false;
    TRY(read_size(options, "offset", &out->raw_offset, &has_offset, err));
    TRY(read_size(options, "size", &out->raw_size, &out->has_raw_size, err));
    out->offset_as_text = text_of(options, "offset") != NULL;
    out->size_as_text = text_of(options, "size") != NULL;
    if (out->has_raw_size && out->raw_size % 512 != 0)
        return qimg_fail(err, EINVAL, "Specified size is not multiple of 512");
    return 0;
}

/* The file below: @driver_key and @name_key are where its options stand. */
static int read_file(struct block_option_vec *options, const char *driver_key, const char *name_key,
                     struct location *out, struct qimg_error *err)
{
    const char *driver = text_of(options, driver_key);
    const char *name = text_of(options, name_key);
    if (driver && format_find(driver))
        return qimg_fail(err, ENOTSUP, "format '%s' is not read out of another one", driver);
    if (driver && !is_protocol(driver))
        return qimg_fail(err, EINVAL, "Unknown driver '%s'", driver);
    if (!name || *name == '\0')
        return qimg_fail(err, EINVAL, "The '%s' block driver requires a file name",
                         driver ? driver : "file");
    TRY(copy_text(driver, &out->driver, err));
    return copy_text(name, &out->path, err);
}

static int read_backing(struct block_option_vec *options, struct location *out,
                        struct qimg_error *err)
{
    const struct block_option *node = find(options, "backing");
    if (node && node->value && *node->value)
        return qimg_fail(err, ENOENT,
                         "Could not open backing file: Cannot find device='%s' nor "
                         "node-name='%s'",
                         node->value, node->value);
    out->no_backing = node != NULL;
    TRY(copy_text(text_of(options, "backing.driver"), &out->backing_format, err));
    const char *name = text_of(options, "backing.file.filename");
    (void)find(options, "backing.file.driver");
    return copy_text(name ? name : text_of(options, "backing.filename"), &out->backing, err);
}

/* As a protocol's node, or as a raw one over it. */
static int read_data_file(struct block_option_vec *options, struct location *out,
                          struct qimg_error *err)
{
    const char *node = text_of(options, "data-file");
    if (node)
        return qimg_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", node, node);
    const char *driver = text_of(options, "data-file.driver");
    const bool raw = driver && strcmp(driver, "raw") == 0;
    if (driver && !raw && !is_protocol(driver))
        return qimg_fail(err, EINVAL, "Unknown driver '%s'", driver);
    if (raw)
        (void)find(options, "data-file.file.driver");
    return copy_text(text_of(options, raw ? "data-file.file.filename" : "data-file.filename"),
                     &out->data_file, err);
}

/* Of a key only the name is kept: info needs none, data is refused for want of a cipher. */
static int read_qcow2(struct block_option_vec *options, struct location *out,
                      struct qimg_error *err)
{
    (void)find(options, "encrypt.format");
    TRY(copy_text(text_of(options, "encrypt.key-secret"), &out->key_secret, err));
    return read_data_file(options, out, err);
}

static int read_format(struct block_option_vec *options, const char *driver, struct location *out,
                       struct qimg_error *err)
{
    const char *node = text_of(options, "file");
    if (node)
        return qimg_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", node, node);
    const char *nested = text_of(options, "file.filename");
    const bool has_file = nested || find(options, "file.driver");
    if (!has_file && driver)
        return qimg_fail(err, EINVAL, "A block device must be specified for \"file\"");
    if (!has_file && !find(options, "filename"))
        return qimg_fail(err, EINVAL, "Must specify either driver or file");
    TRY(copy_text(driver, &out->format, err));
    TRY(read_backing(options, out, err));
    if (!driver || strcmp(driver, "qcow2") == 0) {
        TRY(read_qcow2(options, out, err));
        TRY(tuning_check_qcow2(options, &out->tuning, err));
    }
    if (!driver || strcmp(driver, "raw") == 0)
        TRY(read_window(options, out, err));
    return read_file(options, "file.driver", has_file ? "file.filename" : "filename", out, err);
}

static void put_json_char(struct str *text, char c)
{
    static const char shorts[][2] = {
        { '"', '"' },  { '\\', '\\' }, { '\b', 'b' }, { '\f', 'f' },
        { '\n', 'n' }, { '\r', 'r' },  { '\t', 't' },
    };
    for (size_t i = 0; i < sizeof(shorts) / sizeof(shorts[0]); i++)
        if (c == shorts[i][0]) {
            str_printf(text, "\\%c", shorts[i][1]);
            return;
        }
    if ((unsigned char)c < 0x20 || c == 0x7f)
        str_printf(text, "\\u%04X", (unsigned)(unsigned char)c);
    else
        str_append(text, &c, 1);
}

static void put_json(struct str *text, const char *value)
{
    str_puts(text, "\"");
    for (; *value; value++)
        put_json_char(text, *value);
    str_puts(text, "\"");
}

static void put_json_number(struct str *text, const char *key, uint64_t value, bool as_text)
{
    const char *quote = as_text ? "\"" : "";
    str_printf(text, "\"%s\": %s%" PRIu64 "%s, ", key, quote, value, quote);
}

/* As QEMU shows it: just the file's name, unless options say more that matters. */
static char *display_of(const struct location *place)
{
    if (place->raw_offset == 0 && !place->has_raw_size && !place->no_backing && !place->backing &&
        !place->key_secret)
        return strdup(place->path);
    struct str text = { 0 };
    str_puts(&text, "json:{");
    if (place->key_secret) {
        str_puts(&text, "\"encrypt.key-secret\": ");
        put_json(&text, place->key_secret);
        str_puts(&text, ", ");
    }
    if (place->no_backing)
        str_puts(&text, "\"backing\": null, ");
    if (place->raw_offset)
        put_json_number(&text, "offset", place->raw_offset, place->offset_as_text);
    if (place->format)
        str_printf(&text, "\"driver\": \"%s\", ", place->format);
    if (place->has_raw_size)
        put_json_number(&text, "size", place->raw_size, place->size_as_text);
    str_printf(&text, "\"file\": {\"driver\": \"%s\", \"filename\": ",
               place->driver ? place->driver : "file");
    put_json(&text, place->path);
    str_puts(&text, "}}");
    return str_take(&text);
}

int location_from_options(struct block_option_vec *options, struct location *out,
                          struct qimg_error *err)
{
    const char *driver = text_of(options, "driver");
    if (driver && is_protocol(driver)) {
        out->protocol_only = true;
        TRY(read_file(options, "driver", "filename", out, err));
    } else {
        if (driver && !format_find(driver))
            return qimg_fail(err, EINVAL, "Unknown driver '%s'", driver);
        TRY(read_format(options, driver, out, err));
    }
    TRY(tuning_check_node(options, err));
    TRY(read_flag(options, "read-only", &out->read_only, err));
    TRY(read_flag(options, "force-share", &out->force_share, err));
    TRY(read_flag(options, "cache.direct", &out->direct, err));
    TRY(refuse_rest(options, out, err));
    out->embedded = true;
    out->display = display_of(out);
    return out->display ? 0 : qimg_fail_memory(err);
}

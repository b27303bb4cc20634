/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables, and what is read from and printed by them. create_spec.c gives them meaning.
 */
#include "create_options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "create_rows.h"
#include "size.h"
#include "str.h"

/* --- rows ---------------------------------------------------------------------------------
 *
 * ROW(name, type, default, rank, help), sorted by name as the help prints them. The rank is the
 * place in QEMU's "Formatting" line; a row without help is known only to be refused. */

#define FILE_ONLY_ROWS(ROW) \
    ROW("extent_size_hint", SIZE, NULL, 32, "Extent size hint for the image file, 0 to disable") \
    ROW("nocow", BOOL, NULL, 30, "Turn off copy-on-write (valid only on btrfs)")

#define RAW_ROWS(ROW) ROW("size", SIZE, NULL, 10, "Virtual disk size")

#define FILE_ROWS(ROW) \
    FILE_ONLY_ROWS(ROW) \
    ROW("preallocation", TEXT, NULL, 31, "Preallocation mode (allowed values: off, falloc, full)") \
    RAW_ROWS(ROW)

#define QCOW2_ROWS(ROW) \
    ROW("backing_file", TEXT, NULL, 12, "File name of a base image") \
    ROW("backing_fmt", TEXT, NULL, 13, "Image format of the base image") \
    ROW("cluster_size", SIZE, "65536", 6, "qcow2 cluster size") \
    ROW("compat", TEXT, NULL, 11, "Compatibility level (v2 [0.10] or v3 [1.1])") \
    ROW("compression_type", TEXT, "zlib", 9, \
        "Compression method used for image cluster compression") \
    ROW("data_file", TEXT, NULL, 14, "File name of an external data file") \
    ROW("data_file_raw", BOOL, NULL, 15, "The external data file must stay valid as a raw image") \
    ROW("extended_l2", BOOL, "off", 7, "Extended L2 tables") \
    ROW("lazy_refcounts", BOOL, "off", 16, "Postpone refcount updates") \
    ROW("preallocation", TEXT, NULL, 8, \
        "Preallocation mode (allowed values: off, metadata, falloc, full)") \
    ROW("refcount_bits", NUMBER, "16", 17, "Width of a reference count entry in bits") \
    ROW("size", SIZE, NULL, 10, "Virtual disk size")

#define QCOW2_REFUSED_ROWS(ROW) \
    ROW("encrypt.cipher-alg", TEXT, NULL, 3, NULL) \
    ROW("encrypt.cipher-mode", TEXT, NULL, 3, NULL) \
    ROW("encrypt.format", TEXT, NULL, 1, NULL) \
    ROW("encrypt.hash-alg", TEXT, NULL, 5, NULL) \
    ROW("encrypt.iter-time", NUMBER, NULL, 5, NULL) \
    ROW("encrypt.ivgen-alg", TEXT, NULL, 4, NULL) \
    ROW("encrypt.ivgen-hash-alg", TEXT, NULL, 4, NULL) \
    ROW("encrypt.key-secret", TEXT, NULL, 2, NULL) \
    ROW("encryption", BOOL, NULL, 0, NULL)

#define AS_ROW(name, type, def, rank, help)  { name, CREATE_##type, def, rank },
#define AS_HELP(name, type, def, rank, help) { name, TYPE_##type, help },
#define TYPE_TEXT                            "str"
#define TYPE_SIZE                            "size"
#define TYPE_NUMBER                          "num"
#define TYPE_BOOL                            "bool (on/off)"

static const struct create_row qcow2_rows[] = { QCOW2_ROWS(AS_ROW) FILE_ONLY_ROWS(AS_ROW)
                                                    QCOW2_REFUSED_ROWS(AS_ROW) };
static const struct create_row raw_rows[] = { FILE_ROWS(AS_ROW) };

static const struct qimg_option_help qcow2_help[] = { QCOW2_ROWS(AS_HELP){ 0 } };
static const struct qimg_option_help raw_help[] = { RAW_ROWS(AS_HELP){ 0 } };
static const struct qimg_option_help file_help[] = { FILE_ROWS(AS_HELP){ 0 } };

_Static_assert(ARRAY_COUNT(qcow2_rows) <= CREATE_OPTIONS_MAX, "values[] holds every row");

const struct qimg_option_help *qimg_create_help(const char *format)
{
    if (strcmp(format, "qcow2") == 0)
        return qcow2_help;
    if (strcmp(format, "raw") == 0)
        return raw_help;
    return strcmp(format, "file") == 0 ? file_help : NULL;
}

/* --- parsing ------------------------------------------------------------------------------ */

static size_t find_row(const struct create_options *options, const char *name)
{
    size_t i = 0;

    while (i < options->row_count && strcmp(options->rows[i].name, name) != 0)
        i++;
    return i;
}

static int parse_size(const char *name, const char *text, uint64_t *out, struct qimg_error *err)
{
    const int rc = size_parse(text, out);

    if (rc == -ERANGE)
        return qimg_fail(err, ERANGE, "Value '%s' is out of range for parameter '%s'", text, name);
    if (rc == 0)
        return 0;
    (void)qimg_fail(err, EINVAL, "Parameter '%s' expects a non-negative number below 2^64", name);
    (void)qimg_hint(err, "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                         "peta-");
    return qimg_hint(err, "and exabytes, respectively.");
}

/* C's syntax, a sign and all, as QEMU takes it. */
static int parse_number(const char *name, const char *text, uint64_t *out, struct qimg_error *err)
{
    char *end;

    errno = 0;
    const unsigned long long number = strtoull(text, &end, 0);
    if (end == text || *end != '\0')
        return qimg_fail(err, EINVAL, "Parameter '%s' expects a number", name);
    if (errno)
        return qimg_fail(err, ERANGE, "Value '%s' is too large for parameter '%s'", text, name);
    *out = number;
    return 0;
}

static int parse_bool(const char *name, const char *text, uint64_t *out, struct qimg_error *err)
{
    static const char *const words[][4] = { { "off", "no", "false", "n" },
                                            { "on", "yes", "true", "y" } };

    for (uint64_t value = 0; value < 2; value++) {
        for (size_t i = 0; i < ARRAY_COUNT(words[value]); i++) {
            if (strcmp(words[value][i], text) == 0) {
                *out = value;
                return 0;
            }
        }
    }
    return qimg_fail(err, EINVAL, "Parameter '%s' expects 'on' or 'off'", name);
}

static int parse_value(const struct create_row *row, const char *text, struct create_value *out,
                       struct qimg_error *err)
{
    out->text = text;
    switch (row->type) {
    case CREATE_SIZE:
        return parse_size(row->name, text, &out->number, err);
    case CREATE_NUMBER:
        return parse_number(row->name, text, &out->number, err);
    case CREATE_BOOL:
        return parse_bool(row->name, text, &out->number, err);
    case CREATE_TEXT:
        break;
    }
    return 0;
}

int create_refuse_format(const char *format, struct qimg_error *err)
{
    if (qimg_format_known(format))
        return qimg_fail(err, ENOTSUP, "Format driver '%s' does not support image creation",
                         format);
    return qimg_fail(err, ENOENT, "Unknown file format '%s'", format);
}

int create_options_init(struct create_options *options, const char *format, struct qimg_error *err)
{
    *options = (struct create_options){ .format = format ? format : "raw" };
    if (strcmp(options->format, "qcow2") == 0) {
        options->rows = qcow2_rows;
        options->row_count = ARRAY_COUNT(qcow2_rows);
        return 0;
    }
    if (strcmp(options->format, "raw") == 0 || strcmp(options->format, "file") == 0) {
        options->rows = raw_rows;
        options->row_count = ARRAY_COUNT(raw_rows);
        return 0;
    }
    return create_refuse_format(options->format, err);
}

int create_options_parse(struct create_options *options, const struct qimg_option *given,
                         size_t count, struct qimg_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const size_t at = find_row(options, given[i].key);
        if (at == options->row_count)
            return qimg_fail(err, EINVAL, "Invalid parameter '%s'", given[i].key);
        TRY(parse_value(&options->rows[at], given[i].value, &options->values[at], err));
    }
    return 0;
}

const char *create_options_get(const struct create_options *options, const char *name)
{
    const size_t at = find_row(options, name);

    return at < options->row_count ? options->values[at].text : NULL;
}

uint64_t create_options_number(const struct create_options *options, const char *name,
                               uint64_t otherwise)
{
    const size_t at = find_row(options, name);

    return at < options->row_count && options->values[at].text ? options->values[at].number
                                                               : otherwise;
}

bool create_options_set(struct create_options *options, const char *name, const char *text,
                        uint64_t number)
{
    const size_t at = find_row(options, name);

    if (at == options->row_count)
        return false;
    options->values[at] = (struct create_value){ .text = text, .number = number };
    return true;
}

bool create_options_size(const struct create_options *options, uint64_t *out)
{
    if (!create_options_get(options, "size"))
        return false;
    *out = create_options_number(options, "size", 0);
    return true;
}

/* --- the line ------------------------------------------------------------------------------ */

static void add_text(struct str *s, const char *text)
{
    for (; *text; text++)
        str_append(s, *text == ',' ? ",," : text, *text == ',' ? 2 : 1);
}

static void add_value(struct str *s, const struct create_row *row, const struct create_value *v)
{
    if (!v->text && !row->otherwise)
        return;
    str_printf(s, " %s=", row->name);
    if (!v->text)
        str_puts(s, row->otherwise);
    else if (row->type == CREATE_SIZE || row->type == CREATE_NUMBER)
        str_printf(s, "%" PRId64, (int64_t)v->number);
    else
        add_text(s, v->text);
}

char *create_options_announce(const struct create_options *options, const char *file)
{
    struct str line = { 0 };

    str_printf(&line, "Formatting '%s', fmt=%s", file, options->format);
    for (unsigned rank = 0; rank < CREATE_RANKS; rank++) {
        for (size_t i = 0; i < options->row_count; i++) {
            if (options->rows[i].rank == rank)
                add_value(&line, &options->rows[i], &options->values[i]);
        }
    }
    return str_take(&line);
}

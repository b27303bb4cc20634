/* SPDX-License-Identifier: Apache-2.0
 *
 * The options that create takes with -o: one table of rows a format, from which parsing, the
 * "Formatting ..." line and the help all follow; and their way into a create_spec, with every
 * combination checked before a file is touched.
 */
#ifndef CHAIN_CREATE_OPTIONS_H
#define CHAIN_CREATE_OPTIONS_H

#include "format.h"
#include "qimg/image.h"

#define CREATE_OPTIONS_MAX 32

struct create_row;

struct create_value {
    const char *text; /* as given, borrowed; NULL = not given */
    uint64_t number;  /* of sizes and numbers */
};

/* What was asked for; values[i] belongs to rows[i]. */
struct create_options {
    const char *format;
    const struct create_row *rows;
    size_t row_count;
    struct create_value values[CREATE_OPTIONS_MAX];
};

/* An empty set for @format (NULL = raw). -ENOENT: no such format. */
MUST_CHECK int create_options_init(struct create_options *options, const char *format,
                                   struct qimg_error *err);

/* Why no image of @format can be made. */
int create_refuse_format(const char *format, struct qimg_error *err);

/* Reads -o. Errors are QEMU's, without the file's name. */
MUST_CHECK int create_options_parse(struct create_options *options, const struct qimg_option *given,
                                    size_t count, struct qimg_error *err);

/* NULL: not given. */
const char *create_options_get(const struct create_options *options, const char *name);

/* Adds what has a parameter of its own (-b, -F, SIZE). Returns false where the format has no
 * such option. @text is borrowed. */
bool create_options_set(struct create_options *options, const char *name, const char *text,
                        uint64_t number);

bool create_options_size(const struct create_options *options, uint64_t *out);

/* "Formatting 'a', fmt=qcow2 cluster_size=65536 ..."; NULL: no memory. */
char *create_options_announce(const struct create_options *options, const char *file);

/* All values into a spec (strings stay borrowed), defaults filled in, combinations checked. */
MUST_CHECK int create_options_resolve(const struct create_options *options, struct create_spec *out,
                                      struct qimg_error *err);

/* The part of it that decides how large the file gets, checked only as far as QEMU's measure
 * does: combinations that create refuses pass. */
MUST_CHECK int create_options_for_measure(const struct create_options *options,
                                          struct create_spec *out, struct qimg_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what stands on the command line, with QEMU's complaints about it.
 */
#ifndef TOOLS_ARGS_H
#define TOOLS_ARGS_H

#include "tool.h"

/* "10G". @what is named in the complaint. EXIT_DONE or EXIT_FAILED. */
int args_size(const struct tool *tool, const char *what, const char *text, uint64_t *out);

struct args_bounds {
    uint64_t least, most;
};

/* The same for a size that has other bounds than 0 and INT64_MAX. */
int args_size_within(const struct tool *tool, const char *what, const char *text,
                     struct args_bounds bounds, uint64_t *out);

/* A plain number, without suffix. */
int args_number(const struct tool *tool, const char *what, const char *text,
                struct args_bounds bounds, uint64_t *out);

/* @what "cache option" or "source cache option". */
int args_cache(struct tool *tool, const char *what, const char *text, enum qimg_cache *out);

/* What one or several -o say. Owns its text. */
struct args_options {
    char *text; /* all -o joined; NULL = none given */
    struct qimg_option *list;
    size_t count;
};

/* For OPT_CALL: joins one more -o. @slot is a struct args_options. */
int args_options_add(struct tool *tool, void *slot, const char *value);

/* Does the list ask for help ("help" or "?" among its members)? */
bool args_options_want_help(const struct args_options *options);

/* Splits the joined text into list and count, once. */
int args_options_split(const struct tool *tool, struct args_options *options);

/* Says what in the list (which was split) @format does not take. EXIT_DONE or EXIT_FAILED. */
int args_options_check(const struct tool *tool, const struct args_options *options,
                       const char *format);

void args_options_release(struct args_options *options);

/* The value of the last option named @key; NULL = not there. */
const char *args_option(const struct args_options *options, const char *key);

/* Prints what -o takes. @file: was a file named too? EXIT_DONE or EXIT_FAILED. */
int args_options_help(const struct tool *tool, const char *format, bool file);

/* Opens @name as the options say. @options->format may be NULL. EXIT_DONE or EXIT_FAILED. */
int args_open(const struct tool *tool, struct qimg_context *context, const char *name,
              const struct qimg_open_options *options, struct qimg_image **out);

/* The library says "Could not open 'NAME': REASON", as qemu-img does for what is named on its
 * command line: the reason alone, for where that is not the beginning. */
const char *args_reason(const struct qimg_error *err, const char *name);

#endif

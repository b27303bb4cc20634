/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate: every reference that an image makes (backing file, data file) passes here before it
 * is opened. Policies are the table in docs/ARCHITECTURE.md; strict is the default.
 */
#ifndef CHAIN_GATE_H
#define CHAIN_GATE_H

#include "context.h"

enum gate_role { GATE_BACKING, GATE_DATA_FILE };

struct gate_request {
    enum gate_role role;
    const char *holder;          /* image that names it, as opened */
    const char *recorded;        /* the name in the image */
    const char *recorded_format; /* NULL = none */
    const char *path;            /* resolved */
    unsigned depth;              /* of the image to open; the top is 0 */
    bool json;                   /* the recorded name is json: or names a protocol */
};

/* 0, or -EPERM with a sentence that names image and reference and a hint with the command that
 * mends it. May answer 0 with *probe set: no format is recorded, the content may tell. */
MUST_CHECK int gate_ask(const struct qimg_context *context, const struct gate_request *request,
                        bool *probe, struct qimg_error *err);

/* Adds the command that writes the missing format down, for the user to complete where @format is
 * none. Returns -err->code. */
int gate_hint_format(const struct gate_request *request, const char *format,
                     struct qimg_error *err);

/* Beneath what a file must lie that an image names; NULL: anywhere. For io_open_options. */
const struct io_bounds *gate_bounds(const struct qimg_context *context);

/* Whether @rc, with which io_file_open() refused what @request names, is about those bounds:
 * then -EPERM with a sentence as gate_ask()'s, else 0. */
MUST_CHECK int gate_explain_bounds(const struct gate_request *request, int rc,
                                   struct qimg_error *err);

/* What probing found may be used only where it leads nowhere further (strict with
 * allow_probe); @leads_on: the probed image names a backing or data file. */
MUST_CHECK int gate_check_probed(const struct qimg_context *context,
                                 const struct gate_request *request, const char *format,
                                 bool leads_on, struct qimg_error *err);

/* A name fit for a terminal: control characters as \xNN. NULL: no memory. */
char *gate_printable(const char *name);

/* A name fit for a shell's command line. NULL: no memory. */
char *gate_shell_quoted(const char *name);

/* The same for a file's name where options could stand too. NULL: no memory. */
char *gate_shell_operand(const char *name);

/* @err says why what @request names could not be opened. Under the strict policy adds which image
 * names it, and the command that mends that. */
void gate_hint_broken(const struct qimg_context *context, const struct gate_request *request,
                      struct qimg_error *err);

#endif

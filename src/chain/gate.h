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

#endif

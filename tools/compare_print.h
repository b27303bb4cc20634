/* SPDX-License-Identifier: Apache-2.0
 *
 * What compare has to say: qemu-img's sentences, rows of differences, or JSON.
 */
#ifndef TOOLS_COMPARE_PRINT_H
#define TOOLS_COMPARE_PRINT_H

#include "out.h"
#include "qimg/qimg.h"

struct compare_print {
    bool json, quiet, strict;
    bool all; /* differences will be told */
    struct qimg_image *images[2];
    const char *names[2];
    struct out out; /* JSON */
    bool has_rows;
};

/* Before the first difference. */
void compare_print_begin(struct compare_print *print);

void compare_print_difference(struct compare_print *print,
                              const struct qimg_compare_difference *difference);

/* @err: why comparing failed; NULL = it did not. Of a failure only JSON tells: the sentence goes
 * to stderr. */
void compare_print_end(struct compare_print *print, const struct qimg_compare_result *result,
                       const struct qimg_error *err);

#endif

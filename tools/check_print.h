/* SPDX-License-Identifier: Apache-2.0
 *
 * Printing what check found, as qemu-img does, and what we know beyond that.
 */
#ifndef TOOLS_CHECK_PRINT_H
#define TOOLS_CHECK_PRINT_H

#include "qimg/check.h"
#include "tool.h"

/* Findings that are printed at the end. Owns their texts. */
struct check_findings {
    struct qimg_check_finding *list;
    size_t count, room;
};

/* 0, or -1 without memory. */
int check_findings_add(struct check_findings *findings, const struct qimg_check_finding *finding);
void check_findings_release(struct check_findings *findings);

/* On stderr; with @explain a second line. */
void check_print_finding(const struct tool *tool, const struct qimg_check_finding *finding,
                         bool explain);

/* What was repaired, before the second check. */
void check_print_repaired(const struct qimg_check_result *result);

void check_print_human(const struct qimg_check_result *result);

/* @findings may be NULL. */
void check_print_json(const struct qimg_check_result *result, const char *name, const char *format,
                      const struct check_findings *findings);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Printing struct qimg_info as qemu-img and qemu-io do.
 */
#ifndef TOOLS_INFO_PRINT_H
#define TOOLS_INFO_PRINT_H

#include "out.h"
#include "qimg/info.h"

void info_print_json(struct out *out, const char *key, const struct qimg_info *info, bool limits);

void info_print_human(FILE *file, const struct qimg_info *info, bool limits);

/* "Format specific information:" and what is below, where there is any. */
void info_print_specific(FILE *file, const struct qimg_info *info, unsigned indent);

/* The list alone; nothing where there is none. */
void info_print_snapshots(FILE *file, const struct qimg_info *info);

#endif

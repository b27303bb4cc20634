/* SPDX-License-Identifier: Apache-2.0
 *
 * One entry of `map`: what QEMU's flags make of an extent.
 */
#ifndef TOOLS_MAP_PRINT_H
#define TOOLS_MAP_PRINT_H

#include "qimg/image.h"

struct map_entry {
    uint64_t start, length, offset;
    unsigned depth;
    bool present, zero, data, compressed, has_offset;
};

struct map_entry map_entry_of(const struct qimg_extent *extent);

/* Is @next more of the same? An empty @entry has no more. */
bool map_entry_continues(const struct map_entry *entry, const struct map_entry *next);

/* On stdout; @more entries follow. */
void map_entry_print_json(const struct map_entry *entry, bool more);

/* A line for people: data alone. @file is where it lies. */
void map_entry_print_human(const struct map_entry *entry, const char *file);

#endif

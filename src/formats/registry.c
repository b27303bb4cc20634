/* SPDX-License-Identifier: Apache-2.0
 *
 * The formats of this build, and which of them a file's first bytes speak for. A new format is
 * one row.
 */
#include <string.h>

#include "format.h"
#include "qcow2/qcow2.h"
#include "raw.h"

const struct format_ops *const format_registry[] = { &qcow2_ops, &raw_ops, NULL };

const struct format_ops *format_find(const char *name)
{
    for (size_t i = 0; format_registry[i]; i++) {
        if (strcmp(format_registry[i]->name, name) == 0)
            return format_registry[i];
    }
    return NULL;
}

const struct format_ops *format_probe(const uint8_t *head, size_t len)
{
    const struct format_ops *best = &raw_ops;
    int best_score = 0;

    if (len == 0)
        return &raw_ops;
    for (size_t i = 0; format_registry[i]; i++) {
        const int score = format_registry[i]->probe(head, len);
        if (score > best_score) {
            best = format_registry[i];
            best_score = score;
        }
    }
    return best;
}

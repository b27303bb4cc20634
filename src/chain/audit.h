/* SPDX-License-Identifier: Apache-2.0
 *
 * Audits: the policy, and what is shared between reading one and following one.
 */
#ifndef CHAIN_AUDIT_H
#define CHAIN_AUDIT_H

#include "finding.h"
#include "qimg/audit.h"

struct qimg_audit_policy {
    uint8_t actions[FINDING_COUNT]; /* enum qimg_audit_action; ALLOW of what no audit tells */
    char *expect;                   /* NULL = not claimed */
    char *formats;                  /* "raw,qcow2" */
    char *directories;              /* "DIR:DIR"; NULL = anywhere */
    uint64_t max_size, max_file_size, max_tables, max_read, max_expansion; /* 0 = none */
};

/* The finding with that id that audits tell, or -EINVAL. */
int audit_finding(const char *id);

/* Is @word among those of @list, which @separator parts? */
bool audit_lists(const char *list, char separator, const char *word);

#endif

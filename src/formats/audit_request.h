/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at a stranger's image: every fact that a policy may have an opinion on, found in the
 * image's own metadata, without following a reference and without decoding guest data. What a
 * format finds it tells by the ids of chain/findings.def; what that means is the policy's business.
 *
 * Time and memory are bounded by the request whatever the file says.
 */
#ifndef FORMATS_AUDIT_REQUEST_H
#define FORMATS_AUDIT_REQUEST_H

#include "fail.h"
#include "qimg/types.h"

struct io_file;

struct audit_request {
    uint64_t max_table_bytes; /* metadata that may be read; more is "cost-tables" */
    uint64_t max_tables;      /* tables that may be remembered, 24 bytes each; the same */
    uint64_t max_map_bytes;   /* memory for one bit a cluster; the same */
    /* One fact. @value: what stands there, or NULL; both may hold any bytes. */
    void (*found)(void *user, const char *id, const char *value, const char *sentence);
    void *user;
};

/* What the metadata adds up to. */
struct audit_facts {
    bool mapped; /* all tables were walked: what follows is all of it */
    uint64_t virtual_size;
    uint64_t table_bytes;    /* that reading the whole disk would read */
    uint64_t data_bytes;     /* guest bytes that lie unpacked in the file */
    uint64_t packed_bytes;   /* bytes of packed clusters, as far as they lie in the file ... */
    uint64_t unpacked_bytes; /* ... and the guest bytes that they become */
    uint64_t end;            /* the last byte that metadata speaks of, and one */
};

/* Tells a fact with words made by printf. */
void audit_tell(const struct audit_request *request, const char *id, const char *value,
                const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif

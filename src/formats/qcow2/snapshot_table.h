/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot table as a whole (layout in disk.h): read, changed by entries, written anew. Extra
 * data that we do not know is kept; entries that lack fields get them, as QEMU writes them.
 */
#ifndef QCOW2_SNAPSHOT_TABLE_H
#define QCOW2_SNAPSHOT_TABLE_H

#include "qcow2.h"

struct snapshot_table {
    uint8_t *raw;      /* owned: the table as it stands on disk */
    uint64_t *offsets; /* owned: of each entry in raw */
    size_t count;
    uint64_t len; /* bytes on disk */
};

/* The image's, whose entries qcow2_snapshots_load() has checked. */
MUST_CHECK int snapshot_table_load(const struct qcow2 *q, struct snapshot_table *out);
void snapshot_table_release(struct snapshot_table *table);

/* What the new table is made of. */
struct snapshot_edit {
    size_t without;                   /* entry to leave out; SIZE_MAX = none */
    const struct qcow2_snapshot *add; /* NULL = none */
    const uint64_t *l1_offs;          /* new places of their L1 tables, one an entry; NULL = old */
};

/* malloc'ed; *len 0 where no entry is left. -EFBIG past the limits. */
MUST_CHECK int snapshot_table_encode(const struct qcow2 *q, const struct snapshot_table *table,
                                     const struct snapshot_edit *edit, uint8_t **out, size_t *len);

#endif

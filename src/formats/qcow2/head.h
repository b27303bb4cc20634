/* SPDX-License-Identifier: Apache-2.0
 *
 * A rewrite of the head of a file (header, extensions, backing name), decided in memory before
 * anything is written, so that one write of sector 0 makes it true wherever that can be:
 *
 *     struct qcow2_head head = { .q = q, .header = q->header, .set_backing = true, ... };
 *     TRY(qcow2_head_plan(&head));         what will stand where?
 *     TRY(qcow2_head_stage(&head));        (1) a name that needs another place is put there; sync
 *     qcow2_head_sector(&head, sector);    (2) if head.flips: to be written as sector 0; sync
 *     qcow2_head_adopt(&head, q);          the open image knows it too
 *
 * "Sector 0" is bytes 0..511, which a disk writes whole or not at all.
 */
#ifndef QCOW2_HEAD_H
#define QCOW2_HEAD_H

#include "qcow2.h"

struct qcow2_head {
    /* Filled by the caller. */
    const struct qcow2 *q;
    struct qcow2_header header; /* as it shall be; the plan sets the name's place, and clears
                                 * autoclear bits that we do not know */
    bool set_backing;           /* else the recorded name stays, perhaps elsewhere */
    const char *name, *format;  /* of set_backing; NULL = none */
    bool set_bitmaps;
    struct qcow2_bitmaps_ext bitmaps; /* of set_bitmaps; count 0 = no extension */
    bool set_fingerprint;
    const uint8_t *fingerprint; /* of set_fingerprint; NULL = none */
    uint32_t fingerprint_len;
    bool set_data_file;
    const char *data_file; /* of set_data_file: the recorded name; NULL = none */

    /* The plan. */
    bool flips;  /* sector 0 says it all; else all of it must be written */
    bool staged; /* the name gets a new place behind sector 0's content */
    bool kept;   /* the name stays where it is */
    size_t name_len;
    uint64_t name_off; /* 0 = no name */
    struct qcow2_extension_vec list;
    uint8_t *bytes; /* header, extensions, end marker; at least a sector */
    size_t len;     /* up to the end marker's end */
    uint8_t bitmaps_data[QCOW2_EXT_BITMAPS_BYTES];
    struct qcow2_extensions after; /* what the image will know */
    char *after_name, *after_format;
};

/* -ENOSPC: no room in the first cluster; -ENOMEM, or a failed read. */
MUST_CHECK int qcow2_head_plan(struct qcow2_head *head);

/* (1). Durable on return. */
MUST_CHECK int qcow2_head_stage(const struct qcow2_head *head);

/* (2) */
void qcow2_head_sector(const struct qcow2_head *head, uint8_t sector[QCOW2_SECTOR]);

/* (1), then (2), or all bytes at once where it does not flip. Durable on return. */
MUST_CHECK int qcow2_head_write(const struct qcow2_head *head);

/* q->header, its extensions and names become the plan's. Cannot fail. */
void qcow2_head_adopt(struct qcow2_head *head, struct qcow2 *q);

void qcow2_head_release(struct qcow2_head *head);

/* The 24 bytes of the bitmaps extension. */
void qcow2_bitmaps_ext_encode(const struct qcow2_bitmaps_ext *ext,
                              uint8_t out[QCOW2_EXT_BITMAPS_BYTES]);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A log of bytes as they were before they were overwritten. Records are durable before the
 * bytes that they save may be touched; put back in reverse order they restore the file.
 *
 *   OFFSET SIZE FIELD
 *        0    8 magic                    "QIMGUNDO"
 *        8    4 version                  1
 *       12    8 size                     length of the file before
 *       20    4 crc                      of bytes 0..19
 *   then records:
 *        0    8 off                      UNDO_END: no more records, nothing follows
 *        8    4 len                      of the bytes that follow
 *       12    4 new_crc                  of the bytes that replaced them
 *       16    4 crc                      of this record's bytes 0..15 and its bytes
 *       20  len bytes                    may be shorter than at off: the file ended there
 *
 * All numbers are big-endian; crc is CRC-32 (IEEE). A log without its end record was cut while
 * it grew: whatever is not whole in it guards bytes that were not overwritten yet.
 */
#ifndef FORMATS_UNDO_H
#define FORMATS_UNDO_H

#include "io.h"

struct undo_log {
    struct io_file *file; /* borrowed; empty */
    uint64_t used;        /* bytes written; 0 = nothing saved yet */
};

struct undo_range {
    uint64_t off;
    const void *bytes; /* that will be written there */
    uint32_t len;
};

/* Saves what @image holds at each of @ranges; durable on return. */
MUST_CHECK int undo_save(struct undo_log *log, struct io_file *image,
                         const struct undo_range *ranges, size_t count);

/* Ends the log, if anything was saved. */
MUST_CHECK int undo_finish(struct undo_log *log);

/* Restores @image from @log; durable on return. Checks all of the log, and that @image is as the
 * repair left it, before anything is written. */
MUST_CHECK int undo_apply(struct io_file *log, struct io_file *image, struct qimg_error *err);

#endif

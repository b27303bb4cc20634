/* SPDX-License-Identifier: Apache-2.0
 *
 * An io_file over bytes in memory, for tests and fuzzers of formats. Its extents are as told:
 * all data, unless holes[] says otherwise.
 */
#ifndef SUPPORT_MEM_FILE_H
#define SUPPORT_MEM_FILE_H

#include "io.h"

struct mem_file {
    struct io_file base;
    uint8_t *bytes; /* owned */
    uint64_t size;
    uint64_t allocated;             /* what stat reports; starts as size */
    const struct qimg_range *holes; /* sorted, borrowed */
    size_t hole_count;
    uint64_t fail_read_at;         /* a read that touches this byte is -EIO; starts as none */
    unsigned reads, writes, syncs; /* so far */
};

/* A file with a copy of @bytes. Aborts where there is no memory. io_file_close() frees it. */
struct mem_file *mem_file_new(const void *bytes, size_t len, bool writable);

#endif

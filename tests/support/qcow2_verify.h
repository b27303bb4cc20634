/* SPDX-License-Identifier: Apache-2.0
 *
 * A second opinion on the consistency of a qcow2 file, written without src/formats/qcow2: counts
 * every reference (header, tables, blocks, active state, snapshots, bitmaps) and
 * compares with what the file says.
 */
#ifndef SUPPORT_QCOW2_VERIFY_H
#define SUPPORT_QCOW2_VERIFY_H

#include "io_sim.h"

struct verdict {
    unsigned corruptions; /* count too low, bad entry, COPIED that lies, reference past the end */
    unsigned leaks;       /* clusters counted too high */
    char first[160];      /* the first corruption, else the first leak */
};

struct verdict qcow2_verify(const uint8_t *bytes, size_t len);

/* A hash of the file's length and of all that a check looks at: files that differ in what their
 * guests wrote, and nothing else, have the same. */
uint64_t qcow2_structure_hash(const uint8_t *bytes, size_t len);

/* qcow2_verify() of a file of the simulator, as a reader sees it. */
struct verdict qcow2_verify_file(struct io_engine *engine, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Mapping words and what they mean: pure functions between the 8 or 16 bytes of an L1 or L2
 * entry (disk.h) and a struct. No I/O, no failure: a wrong word decodes to a fault, which is
 * the business of whoever reads that cluster.
 */
#ifndef QCOW2_ENTRY_H
#define QCOW2_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"
#include "qimg/types.h"

/* What mapping needs to know of the header. */
struct qcow2_geometry {
    unsigned cluster_bits;
    unsigned entry_bits;      /* log2 of an L2 entry: 3, or 4 with subclusters */
    unsigned l2_bits;         /* log2 of the entries of an L2 table */
    unsigned subcluster_bits; /* log2 of map_unit */
    bool extended_l2;
    bool v2;
    bool data_file;     /* guest offset == host offset, COPIED tells 0 from none */
    uint8_t codec;      /* enum codec of packed clusters */
    uint64_t file_size; /* packed clusters end there */
};

/* Guest bytes for which one L2 table answers. */
static inline unsigned qcow2_l2_coverage_bits(const struct qcow2_geometry *g)
{
    return g->l2_bits + g->cluster_bits;
}

/* --- L1 ------------------------------------------------------------------------------------- */

enum qcow2_l1_kind { QCOW2_L1_ABSENT, QCOW2_L1_TABLE, QCOW2_L1_UNALIGNED, QCOW2_L1_PAST_END };

/* *l2_off is set for all but ABSENT. */
enum qcow2_l1_kind qcow2_l1_decode(uint64_t word, const struct qcow2_geometry *g, uint64_t *l2_off);

/* --- L2 ------------------------------------------------------------------------------------- */

enum qcow2_kind {
    QCOW2_KIND_ABSENT,
    QCOW2_KIND_ZERO, /* host_off: space reserved for it, or QIMG_NO_OFFSET */
    QCOW2_KIND_DATA,
    QCOW2_KIND_COMPRESSED, /* host_off, packed_len */
    QCOW2_KIND_MIXED,      /* by subcluster: alloc, zero; host_off or QIMG_NO_OFFSET */
    QCOW2_KIND_BAD,        /* fault says why */
};

enum qcow2_fault {
    QCOW2_FAULT_NONE,
    QCOW2_FAULT_UNALIGNED,
    QCOW2_FAULT_ZERO_IN_V2,
    QCOW2_FAULT_SUBCLUSTERS, /* both bits of one, or allocated in no cluster */
    QCOW2_FAULT_PACKED_IN_DATA_FILE,
    QCOW2_FAULT_PACKED_PAST_END,
    QCOW2_FAULT_NOT_IDENTITY, /* data file, and host offset is not guest offset */
};

struct qcow2_cluster {
    enum qcow2_kind kind;
    enum qcow2_fault fault;
    uint64_t host_off;
    uint32_t packed_len;
    uint32_t alloc, zero; /* MIXED: a bit for each subcluster */
};

/* The second word is that of an extended entry, else 0. */
struct qcow2_l2_entry {
    uint64_t word, bitmap;
};

/* Bits of a packed cluster's word that are its offset: x in disk.h. */
static inline unsigned qcow2_packed_off_bits(unsigned cluster_bits)
{
    return 62 - (cluster_bits - 8);
}

/* The bytes that a packed cluster's word claims, to the end of their last sector, also where that
 * lies past the end of the file. */
struct qimg_range qcow2_packed_range(uint64_t word, unsigned cluster_bits);

struct qcow2_cluster qcow2_l2_decode(struct qcow2_l2_entry e, uint64_t guest_off,
                                     const struct qcow2_geometry *g);

/* @c is valid (not BAD). Packed clusters never get COPIED. */
struct qcow2_l2_entry qcow2_l2_encode(const struct qcow2_cluster *c, bool copied,
                                      const struct qcow2_geometry *g);

/* The bits of a word that mean something to a reader. Two words without COMPRESSED that are equal
 * under it decode to the same thing. */
uint64_t qcow2_l2_word_mask(const struct qcow2_geometry *g);

#endif

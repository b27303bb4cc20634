/* SPDX-License-Identifier: Apache-2.0
 *
 * The words for a guest offset that cannot be read: looks its entry up again and says which
 * structure, where, holds which value. QEMU's sentence for the condition where it has one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "qcow2.h"

struct place {
    uint64_t guest_off, l1_index, l2_index, l2_off;
};

/* Not a failure of the disk. */
static int corrupt(int explained)
{
    return explained < 0 ? -EBADMSG : 0;
}

static int explain_l1(enum qcow2_l1_kind kind, const struct place *p, const struct qcow2 *q,
                      struct qimg_error *err)
{
    if (kind == QCOW2_L1_UNALIGNED)
        return qimg_fail(err, EIO,
                         "L2 table offset %#" PRIx64 " unaligned (L1 index: %#" PRIx64 ")",
                         p->l2_off, p->l1_index);
    return qimg_fail(err, EIO,
                     "L2 table offset %#" PRIx64 " past the end of the file (%" PRIu64
                     " bytes, L1 index: %#" PRIx64 ")",
                     p->l2_off, q->geometry.file_size, p->l1_index);
}

/* What is wrong with the entry, up to where it stands. */
static int explain_fault(enum qcow2_fault fault, struct qcow2_l2_entry e, const struct place *p,
                         struct qimg_error *err)
{
    const uint64_t host_off = e.word & QCOW2_OFFSET_MASK;

    switch (fault) {
    case QCOW2_FAULT_UNALIGNED:
        return qimg_fail(err, EIO, "Cluster allocation offset %#" PRIx64 " unaligned (", host_off);
    case QCOW2_FAULT_ZERO_IN_V2:
        return qimg_fail(err, EIO, "Zero cluster entry found in pre-v3 image (");
    case QCOW2_FAULT_SUBCLUSTERS:
        return qimg_fail(err, EIO, "Invalid cluster entry found  (");
    case QCOW2_FAULT_PACKED_IN_DATA_FILE:
        return qimg_fail(err, EIO,
                         "Compressed cluster entry found in image with external data file (");
    case QCOW2_FAULT_PACKED_PAST_END:
        return qimg_fail(err, EIO, "Compressed cluster past the end of the file: %#" PRIx64 " (",
                         e.word);
    case QCOW2_FAULT_NOT_IDENTITY:
        return qimg_fail(err, EIO,
                         "External data file host cluster offset %#" PRIx64
                         " does not match guest cluster offset: %#" PRIx64 " (",
                         host_off, p->guest_off);
    case QCOW2_FAULT_NONE:
        break;
    }
    return qimg_fail(err, EIO, "Cluster is readable (");
}

static int explain_l2(const struct qcow2_cluster *c, struct qcow2_l2_entry e, const struct place *p,
                      struct qimg_error *err)
{
    if (c->kind == QCOW2_KIND_COMPRESSED)
        return qimg_fail(err, EIO,
                         "Compressed cluster at guest offset %#" PRIx64 " (%" PRIu32
                         " bytes at offset %#" PRIx64 ") does not unpack to one cluster",
                         p->guest_off, c->packed_len, c->host_off);
    if (c->kind != QCOW2_KIND_BAD)
        return qimg_fail_errno(err, EIO, "Could not read guest offset %#" PRIx64, p->guest_off);
    const int rc = corrupt(explain_fault(c->fault, e, p, err));
    const size_t used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof(err->text) - used,
                   "L2 offset: %#" PRIx64 ", L2 index: %#" PRIx64 ")", p->l2_off, p->l2_index);
    return rc;
}

int qcow2_explain(struct image *image, uint64_t guest_off, struct qimg_error *err)
{
    const struct qcow2 *q = qcow2_of(image);
    const struct qcow2_geometry *g = &q->geometry;
    struct place p = { .guest_off = align_down(guest_off, UINT64_C(1) << g->cluster_bits) };
    uint8_t raw[16] = { 0 };
    struct qcow2_l2_entry e = { 0 };

    p.l1_index = guest_off >> qcow2_l2_coverage_bits(g);
    p.l2_index = (guest_off >> g->cluster_bits) & ((UINT64_C(1) << g->l2_bits) - 1);
    const uint64_t word = p.l1_index < q->l1_loaded ? q->l1[p.l1_index] : 0;
    const enum qcow2_l1_kind kind = qcow2_l1_decode(word, g, &p.l2_off);
    if (kind == QCOW2_L1_UNALIGNED || kind == QCOW2_L1_PAST_END)
        return corrupt(explain_l1(kind, &p, q, err));
    if (kind == QCOW2_L1_TABLE) {
        const int rc = io_read_exact(image->file, p.l2_off + (p.l2_index << g->entry_bits), raw,
                                     (size_t)1 << g->entry_bits, NULL);
        if (rc < 0)
            return qimg_fail_errno(err, EIO, "Could not read L2 table at offset %#" PRIx64,
                                   p.l2_off);
    }
    e.word = load_be64(raw);
    e.bitmap = load_be64(raw + 8);
    const struct qcow2_cluster c = qcow2_l2_decode(e, p.guest_off, g);
    return explain_l2(&c, e, &p, err);
}

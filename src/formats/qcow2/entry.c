/* SPDX-License-Identifier: Apache-2.0
 *
 * See entry.h; the layouts are in disk.h. Reserved bits are ignored, as QEMU does.
 */
#include "entry.h"

#include "bits.h"
#include "checked.h"

enum qcow2_l1_kind qcow2_l1_decode(uint64_t word, const struct qcow2_geometry *g, uint64_t *l2_off)
{
    const uint64_t off = word & QCOW2_OFFSET_MASK;

    if (off == 0)
        return QCOW2_L1_ABSENT;
    *l2_off = off;
    if (!is_aligned(off, UINT64_C(1) << g->cluster_bits))
        return QCOW2_L1_UNALIGNED;
    return off < g->file_size ? QCOW2_L1_TABLE : QCOW2_L1_PAST_END;
}

uint64_t qcow2_l2_word_mask(const struct qcow2_geometry *g)
{
    uint64_t mask = QCOW2_OFFSET_MASK | QCOW2_COMPRESSED;

    if (!g->extended_l2)
        mask |= QCOW2_ZERO;
    if (g->data_file)
        mask |= QCOW2_COPIED;
    return mask;
}

static struct qcow2_cluster bad(enum qcow2_fault fault)
{
    return (
        struct qcow2_cluster){ .kind = QCOW2_KIND_BAD, .fault = fault, .host_off = QIMG_NO_OFFSET };
}

struct qimg_range qcow2_packed_range(uint64_t word, unsigned cluster_bits)
{
    const unsigned x = qcow2_packed_off_bits(cluster_bits);
    const uint64_t off = word & ((UINT64_C(1) << x) - 1);
    const uint64_t more_sectors = (word & (QCOW2_COMPRESSED - 1)) >> x;

    return (struct qimg_range){ off, (more_sectors + 1) * QCOW2_SECTOR - off % QCOW2_SECTOR };
}

static struct qcow2_cluster decode_packed(uint64_t word, const struct qcow2_geometry *g)
{
    const struct qimg_range packed =
        range_clip(qcow2_packed_range(word, g->cluster_bits), g->file_size);

    if (g->data_file)
        return bad(QCOW2_FAULT_PACKED_IN_DATA_FILE);
    if (packed.len == 0)
        return bad(QCOW2_FAULT_PACKED_PAST_END);
    return (struct qcow2_cluster){ .kind = QCOW2_KIND_COMPRESSED,
                                   .host_off = packed.off,
                                   .packed_len = (uint32_t)packed.len };
}

/* Simplest kind that says what the bits of all subclusters say. */
static enum qcow2_kind kind_of_subclusters(uint32_t alloc, uint32_t zero)
{
    if (alloc == UINT32_MAX)
        return QCOW2_KIND_DATA;
    if (zero == UINT32_MAX)
        return QCOW2_KIND_ZERO;
    return alloc | zero ? QCOW2_KIND_MIXED : QCOW2_KIND_ABSENT;
}

static enum qcow2_kind kind_of_word(uint64_t word, bool present, const struct qcow2_geometry *g)
{
    if (word & QCOW2_ZERO && !g->extended_l2)
        return QCOW2_KIND_ZERO;
    return present ? QCOW2_KIND_DATA : QCOW2_KIND_ABSENT;
}

struct qcow2_cluster qcow2_l2_decode(struct qcow2_l2_entry e, uint64_t guest_off,
                                     const struct qcow2_geometry *g)
{
    const uint64_t off = e.word & QCOW2_OFFSET_MASK;
    /* Offset 0 is a place only in an external data file, and then COPIED says so. */
    const bool present = off != 0 || (g->data_file && e.word & QCOW2_COPIED);
    struct qcow2_cluster c = { .host_off = present ? off : QIMG_NO_OFFSET };

    if (e.word & QCOW2_COMPRESSED)
        return decode_packed(e.word, g);
    c.kind = kind_of_word(e.word, present, g);
    if (g->extended_l2) {
        c.alloc = (uint32_t)e.bitmap;
        c.zero = (uint32_t)(e.bitmap >> 32);
        if (present ? c.alloc & c.zero : c.alloc)
            return bad(QCOW2_FAULT_SUBCLUSTERS);
        c.kind = kind_of_subclusters(c.alloc, c.zero);
    }
    if (c.kind == QCOW2_KIND_ZERO && g->v2)
        return bad(QCOW2_FAULT_ZERO_IN_V2);
    /* A standard ZERO word in a data file image: without an offset, whatever COPIED says. */
    if (c.kind == QCOW2_KIND_ZERO && off == 0 && !g->extended_l2)
        c.host_off = QIMG_NO_OFFSET;
    if (!is_aligned(off, UINT64_C(1) << g->cluster_bits))
        return bad(QCOW2_FAULT_UNALIGNED);
    if (g->data_file && c.host_off != QIMG_NO_OFFSET && c.host_off != guest_off)
        return bad(QCOW2_FAULT_NOT_IDENTITY);
    return c;
}

struct qcow2_l2_entry qcow2_l2_encode(const struct qcow2_cluster *c, bool copied,
                                      const struct qcow2_geometry *g)
{
    struct qcow2_l2_entry e = { 0 };

    if (c->kind == QCOW2_KIND_COMPRESSED) {
        const uint64_t first = c->host_off / QCOW2_SECTOR;
        const uint64_t last = (c->host_off + c->packed_len - 1) / QCOW2_SECTOR;
        e.word = QCOW2_COMPRESSED | (last - first) << qcow2_packed_off_bits(g->cluster_bits) |
                 c->host_off;
        return e;
    }
    if (c->host_off != QIMG_NO_OFFSET)
        e.word = c->host_off | (copied ? QCOW2_COPIED : 0);
    if (g->extended_l2) {
        const uint32_t alloc = c->kind == QCOW2_KIND_DATA ? UINT32_MAX : c->alloc;
        const uint32_t zero = c->kind == QCOW2_KIND_ZERO ? UINT32_MAX : c->zero;
        e.bitmap = (uint64_t)zero << 32 | alloc;
    } else if (c->kind == QCOW2_KIND_ZERO) {
        e.word |= QCOW2_ZERO;
    }
    return e;
}

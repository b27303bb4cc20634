/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "bits.h"
#include "entry.h"
#include "extent.h"

#define NONE      QIMG_NO_OFFSET
#define COPIED    QCOW2_COPIED
#define FILE_SIZE (UINT64_C(1) << 56)

static struct qcow2_geometry geometry(unsigned cluster_bits)
{
    return (struct qcow2_geometry){ .cluster_bits = cluster_bits,
                                    .entry_bits = 3,
                                    .l2_bits = cluster_bits - 3,
                                    .subcluster_bits = cluster_bits,
                                    .file_size = FILE_SIZE };
}

/* --- L1 -------------------------------------------------------------------------------------- */

Test(qcow2_entry, l1_words)
{
    static const struct {
        uint64_t word;
        enum qcow2_l1_kind want;
        uint64_t want_off;
    } cases[] = {
        { 0, QCOW2_L1_ABSENT, 0 },
        { COPIED, QCOW2_L1_ABSENT, 0 },
        { UINT64_C(0x7f000000000001ff), QCOW2_L1_ABSENT, 0 }, /* reserved bits alone */
        { COPIED | 0x40000, QCOW2_L1_TABLE, 0x40000 },
        { UINT64_C(0x7f000000000401ff), QCOW2_L1_TABLE, 0x40000 },
        { 0x40200, QCOW2_L1_UNALIGNED, 0x40200 },
        { 0x80000, QCOW2_L1_PAST_END, 0x80000 },
        { 0x7ffff << 1, QCOW2_L1_UNALIGNED, 0xffe00 },
    };
    struct qcow2_geometry g = geometry(16);

    g.file_size = 0x80000;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t off = 0;
        cr_expect_eq(qcow2_l1_decode(cases[i].word, &g, &off), cases[i].want, "case %zu", i);
        cr_expect_eq(off, cases[i].want_off, "case %zu: %#lx", i, (unsigned long)off);
    }
}

/* --- standard L2 ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    uint64_t word;
    bool v2, data_file;
    struct qcow2_cluster want;
} standard[] = {
    { "nothing", 0, 0, 0, { .kind = QCOW2_KIND_ABSENT, .host_off = NONE } },
    { "COPIED nothing", COPIED, 0, 0, { .kind = QCOW2_KIND_ABSENT, .host_off = NONE } },
    { "reserved bits",
      UINT64_C(0x3f000000000001fe),
      0,
      0,
      { .kind = QCOW2_KIND_ABSENT, .host_off = NONE } },
    { "data", COPIED | 0x50000, 0, 0, { .kind = QCOW2_KIND_DATA, .host_off = 0x50000 } },
    { "shared data", 0x50000, 0, 0, { .kind = QCOW2_KIND_DATA, .host_off = 0x50000 } },
    { "data and reserved bits",
      UINT64_C(0x3f000000000501fe),
      0,
      0,
      { .kind = QCOW2_KIND_DATA, .host_off = 0x50000 } },
    { "data at the highest place",
      UINT64_C(0x00ffffffffff0000),
      0,
      0,
      { .kind = QCOW2_KIND_DATA, .host_off = UINT64_C(0x00ffffffffff0000) } },
    { "data in version 2", 0x50000, 1, 0, { .kind = QCOW2_KIND_DATA, .host_off = 0x50000 } },
    { "unaligned data",
      0x50200,
      0,
      0,
      { .kind = QCOW2_KIND_BAD, .fault = QCOW2_FAULT_UNALIGNED, .host_off = NONE } },
    { "zero", 1, 0, 0, { .kind = QCOW2_KIND_ZERO, .host_off = NONE } },
    { "COPIED zero", COPIED | 1, 0, 0, { .kind = QCOW2_KIND_ZERO, .host_off = NONE } },
    { "zero with a place",
      COPIED | 0x50001,
      0,
      0,
      { .kind = QCOW2_KIND_ZERO, .host_off = 0x50000 } },
    { "zero with an unaligned place",
      0x50201,
      0,
      0,
      { .kind = QCOW2_KIND_BAD, .fault = QCOW2_FAULT_UNALIGNED, .host_off = NONE } },
    { "zero in version 2",
      1,
      1,
      0,
      { .kind = QCOW2_KIND_BAD, .fault = QCOW2_FAULT_ZERO_IN_V2, .host_off = NONE } },
    { "zero with a place in version 2",
      0x50001,
      1,
      0,
      { .kind = QCOW2_KIND_BAD, .fault = QCOW2_FAULT_ZERO_IN_V2, .host_off = NONE } },
    { "data file, in place",
      COPIED | 0x30000,
      0,
      1,
      { .kind = QCOW2_KIND_DATA, .host_off = 0x30000 } },
    { "data file, elsewhere",
      COPIED | 0x40000,
      0,
      1,
      { .kind = QCOW2_KIND_BAD, .fault = QCOW2_FAULT_NOT_IDENTITY, .host_off = NONE } },
    { "data file, zero elsewhere",
      COPIED | 0x40001,
      0,
      1,
      { .kind = QCOW2_KIND_BAD, .fault = QCOW2_FAULT_NOT_IDENTITY, .host_off = NONE } },
    { "data file, zero", 1, 0, 1, { .kind = QCOW2_KIND_ZERO, .host_off = NONE } },
    { "data file, nothing", 0, 0, 1, { .kind = QCOW2_KIND_ABSENT, .host_off = NONE } },
    { "data file, packed",
      QCOW2_COMPRESSED | 0x30000,
      0,
      1,
      { .kind = QCOW2_KIND_BAD, .fault = QCOW2_FAULT_PACKED_IN_DATA_FILE, .host_off = NONE } },
};

static void expect_cluster(const struct qcow2_cluster *got, const struct qcow2_cluster *want,
                           const char *name)
{
    cr_expect_eq(got->kind, want->kind, "%s: kind %d", name, got->kind);
    cr_expect_eq(got->fault, want->fault, "%s: fault %d", name, got->fault);
    cr_expect_eq(got->host_off, want->host_off, "%s: %#lx", name, (unsigned long)got->host_off);
    cr_expect_eq(got->packed_len, want->packed_len, "%s: %u packed", name, got->packed_len);
}

Test(qcow2_entry, standard_words)
{
    for (size_t i = 0; i < ARRAY_COUNT(standard); i++) {
        struct qcow2_geometry g = geometry(16);
        g.v2 = standard[i].v2;
        g.data_file = standard[i].data_file;
        const struct qcow2_cluster got =
            qcow2_l2_decode((struct qcow2_l2_entry){ standard[i].word, 0 }, 0x30000, &g);
        expect_cluster(&got, &standard[i].want, standard[i].name);
    }
}

Test(qcow2_entry, in_a_data_file_COPIED_tells_cluster_0_from_nothing)
{
    struct qcow2_geometry g = geometry(16);

    g.data_file = true;
    struct qcow2_cluster c = qcow2_l2_decode((struct qcow2_l2_entry){ COPIED, 0 }, 0, &g);
    cr_expect_eq(c.kind, QCOW2_KIND_DATA);
    cr_expect_eq(c.host_off, 0);
    c = qcow2_l2_decode((struct qcow2_l2_entry){ COPIED, 0 }, 0x10000, &g);
    cr_expect_eq(c.fault, QCOW2_FAULT_NOT_IDENTITY);
}

Test(qcow2_entry, words_equal_under_the_mask_decode_alike)
{
    for (size_t i = 0; i < ARRAY_COUNT(standard); i++) {
        struct qcow2_geometry g = geometry(16);
        g.v2 = standard[i].v2;
        g.data_file = standard[i].data_file;
        const struct qcow2_l2_entry masked = { standard[i].word & qcow2_l2_word_mask(&g), 0 };
        const struct qcow2_cluster got = qcow2_l2_decode(masked, 0x30000, &g);
        expect_cluster(&got, &standard[i].want, standard[i].name);
    }
}

/* --- packed --------------------------------------------------------------------------------- */

static const struct {
    unsigned cluster_bits;
    uint64_t word, want_off;
    uint32_t want_len;
} packed[] = {
    { 16, UINT64_C(0x53c0000000059d06), 0x59d06, 0x50 * 512 - 0x106 },
    { 16, UINT64_C(0x4000000000050000), 0x50000, 512 },
    { 16, UINT64_C(0x40000000000501ff), 0x501ff, 1 },
    { 16, UINT64_C(0x7fc0000000050001), 0x50001, 256 * 512 - 1 },
    { 9, UINT64_C(0x4000000000000400), 0x400, 512 },
    { 9, UINT64_C(0x6000000000000401), 0x401, 1023 },
    { 12, UINT64_C(0x7c00000000000400), 0x400, 16 * 512 },
    { 12, UINT64_C(0x4400000000000400), 0x400, 2 * 512 },
    { 21, UINT64_C(0x7ffe000000000400), 0x400, 8192 * 512 },
    { 21, UINT64_C(0x4001ffffffffffff), (UINT64_C(1) << 49) - 1, 1 },
};

Test(qcow2_entry, packed_words_at_the_corners_of_every_cluster_size)
{
    for (size_t i = 0; i < ARRAY_COUNT(packed); i++) {
        const struct qcow2_geometry g = geometry(packed[i].cluster_bits);
        const struct qcow2_cluster c =
            qcow2_l2_decode((struct qcow2_l2_entry){ packed[i].word, 0 }, 0, &g);
        cr_expect_eq(c.kind, QCOW2_KIND_COMPRESSED, "case %zu", i);
        cr_expect_eq(c.host_off, packed[i].want_off, "case %zu: %#lx", i,
                     (unsigned long)c.host_off);
        cr_expect_eq(c.packed_len, packed[i].want_len, "case %zu: %u", i, c.packed_len);
        const struct qcow2_l2_entry e = qcow2_l2_encode(&c, true, &g);
        cr_expect_eq(e.word, packed[i].word, "case %zu encodes to %#lx", i, (unsigned long)e.word);
    }
}

Test(qcow2_entry, packed_clusters_end_with_the_file)
{
    struct qcow2_geometry g = geometry(16);
    const uint64_t word = UINT64_C(0x7fc0000000050000); /* claims 256 sectors */
    static const struct {
        uint64_t file_size;
        enum qcow2_kind want;
        uint32_t want_len;
    } cases[] = {
        { 0x4ffff, QCOW2_KIND_BAD, 0 },
        { 0x50000, QCOW2_KIND_BAD, 0 },
        { 0x50001, QCOW2_KIND_COMPRESSED, 1 },
        { 0x50000 + 256 * 512 - 1, QCOW2_KIND_COMPRESSED, 256 * 512 - 1 },
        { 0x50000 + 256 * 512 + 1, QCOW2_KIND_COMPRESSED, 256 * 512 },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        g.file_size = cases[i].file_size;
        const struct qcow2_cluster c = qcow2_l2_decode((struct qcow2_l2_entry){ word, 0 }, 0, &g);
        cr_expect_eq(c.kind, cases[i].want, "case %zu", i);
        cr_expect_eq(c.packed_len, cases[i].want_len, "case %zu: %u", i, c.packed_len);
    }
}

Test(qcow2_entry, a_packed_offset_above_bit_55_is_past_any_end)
{
    const struct qcow2_geometry g = geometry(9); /* has 61 bits of offset */
    const struct qcow2_cluster c =
        qcow2_l2_decode((struct qcow2_l2_entry){ QCOW2_COMPRESSED | UINT64_C(1) << 60, 0 }, 0, &g);

    cr_expect_eq(c.fault, QCOW2_FAULT_PACKED_PAST_END);
}

/* --- extended L2 ---------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint64_t word, bitmap;
    enum qcow2_kind want;
    enum qcow2_fault fault;
    uint64_t want_off;
} extended[] = {
    { "nothing", 0, 0, QCOW2_KIND_ABSENT, 0, NONE },
    { "bit 0 is no zero flag", 1, 0, QCOW2_KIND_ABSENT, 0, NONE },
    { "all data", COPIED | 0x50000, 0xffffffff, QCOW2_KIND_DATA, 0, 0x50000 },
    { "all zero", 0, UINT64_C(0xffffffff00000000), QCOW2_KIND_ZERO, 0, NONE },
    { "all zero with a place", 0x50000, UINT64_C(0xffffffff00000000), QCOW2_KIND_ZERO, 0, 0x50000 },
    { "a place and nothing in it", 0x50000, 0, QCOW2_KIND_ABSENT, 0, 0x50000 },
    { "one subcluster", 0x50000, 2, QCOW2_KIND_MIXED, 0, 0x50000 },
    { "one zero subcluster", 0, UINT64_C(2) << 32, QCOW2_KIND_MIXED, 0, NONE },
    { "both bits", 0x50000, UINT64_C(2) << 32 | 2, QCOW2_KIND_BAD, QCOW2_FAULT_SUBCLUSTERS, NONE },
    { "allocated in no cluster", 0, 2, QCOW2_KIND_BAD, QCOW2_FAULT_SUBCLUSTERS, NONE },
    { "unaligned", 0x50200, 2, QCOW2_KIND_BAD, QCOW2_FAULT_UNALIGNED, NONE },
    { "unaligned and nothing in it", 0x50200, 0, QCOW2_KIND_BAD, QCOW2_FAULT_UNALIGNED, NONE },
    { "packed ignores the bitmap", QCOW2_COMPRESSED | 0x50000, 2, QCOW2_KIND_COMPRESSED, 0,
      0x50000 },
};

Test(qcow2_entry, extended_words)
{
    struct qcow2_geometry g = geometry(16);

    g.extended_l2 = true;
    for (size_t i = 0; i < ARRAY_COUNT(extended); i++) {
        const struct qcow2_cluster c = qcow2_l2_decode(
            (struct qcow2_l2_entry){ extended[i].word, extended[i].bitmap }, 0x30000, &g);
        cr_expect_eq(c.kind, extended[i].want, "%s: kind %d", extended[i].name, c.kind);
        cr_expect_eq(c.fault, extended[i].fault, "%s: fault %d", extended[i].name, c.fault);
        cr_expect_eq(c.host_off, extended[i].want_off, "%s", extended[i].name);
    }
}

/* --- there and back ------------------------------------------------------------------------- */

Test(qcow2_entry, encodes_what_it_decoded)
{
    static const struct {
        bool extended;
        struct qcow2_cluster c;
        struct qcow2_l2_entry want;
    } cases[] = {
        { 0, { .kind = QCOW2_KIND_ABSENT, .host_off = NONE }, { 0, 0 } },
        { 0, { .kind = QCOW2_KIND_DATA, .host_off = 0x50000 }, { COPIED | 0x50000, 0 } },
        { 0, { .kind = QCOW2_KIND_ZERO, .host_off = NONE }, { 1, 0 } },
        { 0, { .kind = QCOW2_KIND_ZERO, .host_off = 0x50000 }, { COPIED | 0x50001, 0 } },
        { 1, { .kind = QCOW2_KIND_DATA, .host_off = 0x50000 }, { COPIED | 0x50000, 0xffffffff } },
        { 1, { .kind = QCOW2_KIND_ZERO, .host_off = NONE }, { 0, UINT64_C(0xffffffff00000000) } },
        { 1,
          { .kind = QCOW2_KIND_MIXED, .host_off = 0x50000, .alloc = 5, .zero = 2 },
          { COPIED | 0x50000, UINT64_C(2) << 32 | 5 } },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct qcow2_geometry g = geometry(16);
        g.extended_l2 = cases[i].extended;
        const struct qcow2_l2_entry e = qcow2_l2_encode(&cases[i].c, true, &g);
        cr_expect_eq(e.word, cases[i].want.word, "case %zu: %#lx", i, (unsigned long)e.word);
        cr_expect_eq(e.bitmap, cases[i].want.bitmap, "case %zu", i);
        const struct qcow2_cluster back = qcow2_l2_decode(e, 0, &g);
        cr_expect_eq(back.kind, cases[i].c.kind, "case %zu", i);
        cr_expect_eq(back.host_off, cases[i].c.host_off, "case %zu", i);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

static const struct build_cluster clusters[] = { { .index = 0, .fill = 1 },
                                                 { .index = 1, .fill = 2 } };
static const struct build_qcow2 spec = { .size = MiB, .clusters = clusters, .cluster_count = 2 };

static uint64_t word_at(const struct built *built, uint64_t off)
{
    return load_be64(built->bytes + off);
}

/* Checks with @patch; what is said must begin with @want; then repairs. */
static void expect(struct build_patch patch, const char *want, bool repaired)
{
    struct build_qcow2 s = spec;

    s.patches = &patch;
    s.patch_count = 1;
    struct io_engine *engine = check_machine(&s);
    struct checked c = check_disk(engine, (struct check_how){ 0 });
    cr_expect_eq(c.rc, 0, "%s: %s", want, c.err.text);
    cr_expect_eq(strncmp(c.said, want, strlen(want)), 0, "%s\nnot %s", c.said, want);
    checked_release(&c);
    if (repaired)
        check_repairs(engine);
    io_engine_free(engine);
}

Test(qcow2_check_refcounts, counts_that_are_too_high_or_too_low_are_told_by_cluster)
{
    struct built built = build_qcow2(&spec);
    const uint64_t block = word_at(&built, built.reftable_off);
    const uint64_t data = word_at(&built, built_l2_entry_off(&built, &spec, 0)) & QCOW2_OFFSET_MASK;
    const uint64_t at = block + 2 * (data >> 16);
    char want[100];

    snprintf(want, sizeof(want), "leaked-cluster: Leaked cluster %u refcount=7 reference=1\n",
             (unsigned)(data >> 16));
    expect((struct build_patch){ at, 2, 7 }, want, true);
    snprintf(want, sizeof(want), "refcount-too-low: ERROR cluster %u refcount=0 reference=1\n",
             (unsigned)(data >> 16));
    expect((struct build_patch){ at, 2, 0 }, want, true);
    expect((struct build_patch){ block + 2000, 2, 1 }, "", true);
    built_release(&built);
}

Test(qcow2_check_refcounts, wrong_entries_of_the_table_make_a_rebuild)
{
    struct built built = build_qcow2(&spec);
    const uint64_t at = built.reftable_off;
    const uint64_t block = word_at(&built, at);

    expect((struct build_patch){ at, 8, block | 1 },
           "reftable-reserved-bits: ERROR refcount table entry 0 has reserved bits set\n", true);
    expect(
        (struct build_patch){ at, 8, block | 0x200 },
        "refblock-unaligned: ERROR refcount block 0 is not cluster aligned; refcount table entry "
        "corrupted\n",
        true);
    expect((struct build_patch){ at, 8, UINT64_C(1) << 50 },
           "refblock-outside: ERROR refcount block 0 is outside image\n", true);
    expect((struct build_patch){ at, 8, 0 }, "refcount-too-low: ERROR cluster 0 refcount=0", true);
    expect((struct build_patch){ at + 8, 8, block },
           "refblock-shared: ERROR refcount block 1 refcount=2\n", true);
    expect((struct build_patch){ at + 8, 8, UINT64_C(1) << 50 },
           "refblock-outside: ERROR refcount block 1 is outside image\n", true);
    built_release(&built);
}

/* Repairs with entry 1 of the table naming a block at @block_off; returns the file's length. */
static uint64_t repaired_length(uint64_t table, uint64_t block_off, const char *want)
{
    const struct build_patch patch = { table + 8, 8, block_off };
    struct build_qcow2 s = spec;

    s.patches = &patch;
    s.patch_count = 1;
    struct io_engine *engine = check_machine(&s);
    struct checked c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    cr_expect_eq(c.rc, 0, "%s", c.err.text);
    cr_expect_eq(strncmp(c.said, want, strlen(want)), 0, "%s", c.said);
    checked_release(&c);
    check_repairs(engine);
    const uint64_t length = io_sim_size(engine, "disk");
    io_engine_free(engine);
    return length;
}

/* A file may be made longer for a block, but not to any length that an image asks for. */
Test(qcow2_check_refcounts, a_block_outside_makes_the_file_longer_where_that_is_sane)
{
    struct built built = build_qcow2(&spec);

    cr_expect_eq(repaired_length(built.reftable_off, 8 * MiB,
                                 "refblock-outside: Repairing refcount block 1 is outside image\n"
                                 "refcount-too-low: ERROR cluster 128 refcount=0 reference=1\n"
                                 "rebuilding: "),
                 8 * MiB + 64 * KiB);
    cr_expect_lt(repaired_length(built.reftable_off, UINT64_C(1) << 50,
                                 "refblock-outside: Repairing refcount block 1 is outside image\n"
                                 "refblock-outside: ERROR could not resize image: File too large\n"
                                 "rebuilding: "),
                 8 * MiB);
    built_release(&built);
}

Test(qcow2_check_refcounts, repair_of_leaks_refuses_where_a_rebuild_is_needed)
{
    struct built built = build_qcow2(&spec);
    const struct build_patch patch = { built.reftable_off, 8, 0 };
    struct build_qcow2 s = spec;

    s.patches = &patch;
    s.patch_count = 1;
    struct checked c = check_built(&s, (struct check_how){ .fix = QIMG_CHECK_FIX_LEAKS });
    cr_expect_eq(c.rc, -EIO);
    cr_expect_str_eq(c.err.text, "Check failed: Input/output error");
    cr_expect_not_null(strstr(c.said, "needs-rebuild: ERROR need to rebuild refcount structures\n"),
                       "%s", c.said);
    checked_release(&c);
    built_release(&built);
}

Test(qcow2_check_refcounts, a_header_without_a_table_is_given_one)
{
    expect((struct build_patch){ 56, 4, 0 }, "refcount-too-low: ERROR cluster 0", true);
}

Test(qcow2_check_refcounts, put_is_the_inverse_of_get_at_every_width)
{
    for (unsigned order = 0; order <= 6; order++) {
        uint8_t block[64] = { 0 };
        const unsigned n = 512u >> order;
        for (unsigned i = 0; i < n; i++)
            qcow2_refcount_put(block, order, i,
                               (i * 7 + 1) & ((UINT64_C(2) << ((1u << order) - 1)) - 1));
        for (unsigned i = 0; i < n; i++)
            cr_expect_eq(qcow2_refcount_get(block, order, i),
                         (i * 7 + 1) & ((UINT64_C(2) << ((1u << order) - 1)) - 1), "order %u, %u",
                         order, i);
    }
}

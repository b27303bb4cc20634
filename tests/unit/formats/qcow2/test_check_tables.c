/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

static const struct build_cluster clusters[] = { { .index = 0, .fill = 1 },
                                                 { .index = 1, .fill = 2 } };
static const struct build_qcow2 spec = { .size = MiB, .clusters = clusters, .cluster_count = 2 };

static void expect(struct build_patch patch, const char *want, bool repaired)
{
    struct build_qcow2 s = spec;

    s.patches = &patch;
    s.patch_count = 1;
    struct io_engine *engine = check_machine(&s);
    struct checked c = check_disk(engine, (struct check_how){ 0 });
    cr_expect_eq(c.rc, 0, "%s: %s", want, c.err.text);
    cr_expect_not_null(strstr(c.said, want), "%s\nnot %s", c.said, want);
    checked_release(&c);
    if (repaired)
        check_repairs(engine);
    io_engine_free(engine);
}

Test(qcow2_check_tables, wrong_entries_of_l1_are_told)
{
    struct built built = build_qcow2(&spec);
    const uint64_t at = built.l1_off, word = load_be64(built.bytes + at);

    expect((struct build_patch){ at, 8, word | UINT64_C(1) << 56 },
           "l1-reserved-bits: ERROR found L1 entry with reserved bits set: 81", true);
    expect((struct build_patch){ at, 8, word | 0x200 },
           ": Table is not cluster aligned; L1 entry corrupted\n", false);
    expect((struct build_patch){ at, 8, 0x400000 | QCOW2_COPIED },
           "ERROR: counting reference for region exceeding the end of the file by one cluster or "
           "more: offset 0x400000 size 0x10000\n",
           true);
    built_release(&built);
}

Test(qcow2_check_tables, a_cluster_used_twice_keeps_both_users)
{
    struct built built = build_qcow2(&spec);
    const uint64_t first = built_l2_entry_off(&built, &spec, 0);
    const uint64_t word = load_be64(built.bytes + first);

    expect((struct build_patch){ first + 8, 8, word }, "refcount=1 reference=2\n", true);
    built_release(&built);
}

Test(qcow2_check_tables, a_cut_last_cluster_is_fine_and_a_cut_file_is_extended_by_repair)
{
    struct built built = build_qcow2(&spec);
    struct build_qcow2 s = spec;

    s.cut = true;
    s.file_size = built.len - 65536 + 512; /* the last cluster is a refcount block */
    struct checked c = check_built(&s, (struct check_how){ 0 });
    cr_expect_eq(c.rc, 0);
    cr_expect_eq(c.result.corruptions, 0, "%s", c.said);
    checked_release(&c);
    s.file_size =
        built_l2_entry_off(&built, &spec, 0) / 65536 * 65536 + 65536; /* no data, no counts */
    struct io_engine *engine = check_machine(&s);
    check_repairs(engine);
    cr_expect_gt(io_sim_size(engine, "disk"), s.file_size);
    io_engine_free(engine);
    built_release(&built);
}

Test(qcow2_check_tables, counts_that_do_not_fit_are_told_and_left)
{
    struct build_qcow2 s = spec;
    struct built built;

    s.refcount_bits = 1;
    built = build_qcow2(&s);
    const uint64_t first = built_l2_entry_off(&built, &s, 0);
    const struct build_patch patch = { first + 8, 8, load_be64(built.bytes + first) };
    s.patches = &patch;
    s.patch_count = 1;
    struct checked c = check_built(&s, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    cr_expect_not_null(strstr(c.said, "refcount-overflow: ERROR: overflow cluster offset=0x"), "%s",
                       c.said);
    cr_expect_eq(c.result.corruptions, 1);
    checked_release(&c);
    built_release(&built);
}

Test(qcow2_check_tables, a_broken_bitmap_table_ends_the_check_as_in_qemu)
{
    static const struct build_bitmap bitmaps[] = { { .name = "b" } };
    struct build_qcow2 s = spec;

    s.bitmaps = bitmaps;
    s.bitmap_count = 1;
    struct built built = build_qcow2(&s);
    const uint64_t table = load_be64(built.bytes + built.bitmap_directory_off);
    const struct build_patch patch = { table, 8, 2 };
    s.patches = &patch;
    s.patch_count = 1;
    struct checked c = check_built(&s, (struct check_how){ 0 });
    cr_expect_eq(c.rc, -EINVAL);
    cr_expect_not_null(strstr(c.said, "bitmap-table: ERROR bitmap 'b': table entry 0 is broken: 2"),
                       "%s", c.said);
    checked_release(&c);
    built_release(&built);
}

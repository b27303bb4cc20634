/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

/* A data cluster of the image lies at 0x50000: see build_qcow2.h. */
static const struct {
    const char *name;
    struct build_cluster cluster;
    bool extended, data_file;
    const char *want; /* what is said first */
    bool repaired;    /* -r all leaves nothing */
} cases[] = {
    { "reserved bits",
      { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(1) << 61 },
      false,
      false,
      "l2-reserved-bits: ERROR found l2 entry with reserved bits set: 2000000000000000\n",
      true },
    { "data at an odd place",
      { .index = 1, .kind = BUILD_WORD, .word = 0x40200 },
      false,
      false,
      "data-unaligned: ERROR offset=40200: Data cluster is not properly aligned; L2 entry "
      "corrupted.\n",
      false },
    { "reserved space at an odd place",
      { .index = 1, .kind = BUILD_WORD, .word = 0x40201 },
      false,
      false,
      "preallocated-unaligned: ERROR offset=40200: Preallocated cluster is not properly aligned; "
      "L2 entry corrupted.\n",
      true },
    { "both bits of a subcluster",
      { .index = 1, .kind = BUILD_SUBCLUSTERS, .alloc = 3, .zero = 1 },
      true,
      false,
      "subclusters-both: ERROR offset=",
      false },
    { "a subcluster nowhere",
      { .index = 1, .kind = BUILD_WORD, .bitmap = 1 },
      true,
      false,
      "subclusters-nowhere: ERROR: Unallocated cluster has non-zero subcluster allocation map\n",
      false },
    { "a packed cluster with a bitmap",
      { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(1) << 62 | 0x40000, .bitmap = 1 },
      true,
      false,
      "packed-bitmap: ERROR compressed cluster 1 with non-zero subcluster allocation bitmap, "
      "entry=0x4000000000040000\n",
      false },
    { "a packed cluster with COPIED",
      { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(3) << 62 | 0x20000 },
      false,
      false,
      "packed-copied: ERROR: coffset=0x20000: copied flag must never be set for compressed "
      "clusters\n",
      true },
    { "a packed cluster with a data file",
      { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(1) << 62 | 0x20000 },
      false,
      true,
      "packed-in-data-file: ERROR compressed cluster 1 with data file, entry=0x4000000000020000\n",
      false },
    { "far past the end",
      { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(1) << 55 | QCOW2_COPIED },
      false,
      false,
      "reference-past-end: ERROR: counting reference for region exceeding the end of the file by "
      "one cluster or more: offset 0x80000000000000 size 0x10000\n",
      true },
    { "a little past the end",
      { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(0x200000) | QCOW2_COPIED },
      false,
      false,
      "reference-past-end: ERROR: counting reference for region exceeding the end of the file by "
      "one cluster or more: offset 0x200000 size 0x10000\n",
      true },
};

Test(qcow2_check_entries, each_kind_of_wrong_entry_has_its_sentence_and_its_repair)
{
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct build_qcow2 spec = { .size = MiB,
                                          .clusters = &cases[i].cluster,
                                          .cluster_count = 1,
                                          .extended_l2 = cases[i].extended,
                                          .data_file = cases[i].data_file };
        struct checked c = check_built(&spec, (struct check_how){ 0 });
        cr_expect_eq(c.rc, 0, "%s: %s", cases[i].name, c.err.text);
        cr_expect_eq(strncmp(c.said, cases[i].want, strlen(cases[i].want)), 0, "%s: %s",
                     cases[i].name, c.said);
        cr_expect_geq(c.result.corruptions, 1, "%s", cases[i].name);
        checked_release(&c);

        struct io_engine *engine = check_machine(&spec);
        if (cases[i].repaired) {
            check_repairs(engine);
        } else {
            c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
            cr_expect_geq(c.result.corruptions, 1, "%s: %s", cases[i].name, c.said);
            checked_release(&c);
        }
        io_engine_free(engine);
    }
}

Test(qcow2_check_entries, fragments_are_counted_within_a_table)
{
    const struct build_cluster clusters[] = {
        { .index = 0, .fill = 1 },
        { .index = 2, .fill = 2 },
        { .index = 1, .fill = 3 },
        { .index = 3, .fill = 4 },
    };
    const struct build_qcow2 spec = { .size = MiB, .clusters = clusters, .cluster_count = 4 };
    struct checked c = check_built(&spec, (struct check_how){ 0 });

    cr_expect_eq(c.result.allocated_clusters, 4);
    cr_expect_eq(c.result.fragmented_clusters, 3, "%" PRIu64, c.result.fragmented_clusters);
    checked_release(&c);
}

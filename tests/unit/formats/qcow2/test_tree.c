/* SPDX-License-Identifier: Apache-2.0
 *
 * What table entries refer to, and their COPIED bits.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tree.h"

static struct qcow2 small_image(void)
{
    return (struct qcow2){
        .header = { .cluster_bits = 12, .version = 3 },
        .geometry = { .cluster_bits = 12,
                      .entry_bits = 3,
                      .l2_bits = 9,
                      .subcluster_bits = 12,
                      .file_size = 1 << 20 },
    };
}

Test(qcow2_tree, entries_refer_to_whole_clusters_packed_ones_to_all_their_sectors)
{
    static const struct {
        uint64_t word, off, len;
        int rc;
    } cases[] = {
        { 0, 0, 0, 0 },
        { QCOW2_ZERO, 0, 0, 0 },
        { QCOW2_COPIED | 0x5000, 0x5000, 4096, 0 },
        { 0x5000 | QCOW2_ZERO, 0x5000, 4096, 0 },
        { 0x5200, 0, 0, -EUCLEAN },
        /* 4 bits of sectors from bit 58 on; the first sector is not counted */
        { QCOW2_COMPRESSED | UINT64_C(3) << 58 | 0x7f10, 0x7f10, 3 * 512 + 0xf0, 0 },
        { QCOW2_COMPRESSED | UINT64_C(0) << 58 | 0xfff00, 0xfff00, 0x100, 0 },
    };
    const struct qcow2 q = small_image();

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct qimg_range range;
        const struct qcow2_l2_entry e = { cases[i].word, 0 };
        cr_expect_eq(tree_entry_range(&q, e, &range), cases[i].rc, "case %zu", i);
        cr_expect_eq(range.len, cases[i].len, "case %zu: %lx", i, (unsigned long)range.len);
        if (cases[i].len)
            cr_expect_eq(range.off, cases[i].off, "case %zu", i);
    }
}

Test(qcow2_tree, a_packed_cluster_in_a_data_file_cannot_be)
{
    struct qcow2 q = small_image();
    struct qimg_range range;

    q.geometry.data_file = true;
    cr_expect_eq(tree_entry_range(&q, (struct qcow2_l2_entry){ QCOW2_COMPRESSED, 0 }, &range),
                 -EUCLEAN);
    cr_expect_eq(tree_entry_range(&q, (struct qcow2_l2_entry){ QCOW2_COPIED, 0 }, &range), 0);
    cr_expect_eq(range.len, 0, "data is not in the image file");
}

Test(qcow2_tree, l1_words_that_cannot_be_are_refused)
{
    const struct qcow2 q = small_image();
    uint64_t off;

    cr_expect_eq(tree_l2_of(&q, 0, &off), 0);
    cr_expect_eq(tree_l2_of(&q, QCOW2_COPIED, &off), 0, "COPIED alone is no table");
    cr_expect_eq(tree_l2_of(&q, 0x3000 | QCOW2_COPIED, &off), 1);
    cr_expect_eq(off, 0x3000);
    cr_expect_eq(tree_l2_of(&q, 0x3200, &off), -EUCLEAN);
    cr_expect_eq(tree_l2_of(&q, 1 << 20, &off), -EUCLEAN, "begins at the end of the file");
}

Test(qcow2_tree, copied_goes_from_every_entry_and_bitmaps_of_subclusters_stay)
{
    struct qcow2 q = small_image();
    static uint8_t l2[4096];

    q.geometry.extended_l2 = true;
    q.geometry.entry_bits = 4;
    store_be64(l2 + 16, QCOW2_COPIED | 0x5000);
    store_be64(l2 + 24, UINT64_MAX);
    cr_expect(tree_clear_copied(&q, l2));
    cr_expect_eq(load_be64(l2 + 16), 0x5000);
    cr_expect_eq(load_be64(l2 + 24), UINT64_MAX);
    cr_expect(!tree_clear_copied(&q, l2), "there is none any more");
}

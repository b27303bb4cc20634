/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"

#define CLUSTER (64 * KiB)

static struct image *must_open(const struct build_qcow2 *spec)
{
    struct qimg_error err;
    struct image *image = open_built(spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    return image;
}

static void expect_map(const struct build_qcow2 *spec, const char *want, const char *name)
{
    struct image *image = must_open(spec);
    char *text = map_text(image);

    cr_expect_str_eq(text, want, "%s: %s", name, text);
    free(text);
    image_close(image);
}

/* --- decode: the whole image --------------------------------------------------------------- */

static const struct {
    const char *name;
    struct build_cluster clusters[4];
    size_t count;
    bool extended_l2, data_file;
    const char *want;
} maps[] = {
    { "nothing", { { 0 } }, 0, 0, 0, "" },
    { "contiguous data is one extent",
      { { .index = 1, .count = 20 } },
      1,
      0,
      0,
      "65536+1310720 D@262144" },
    { "COPIED or not makes no difference",
      { { .index = 0, .count = 9 }, { .index = 9, .count = 11, .shared = true } },
      2,
      0,
      0,
      "0+1310720 D@262144" },
    { "a gap",
      { { .index = 0 }, { .index = 2 } },
      2,
      0,
      0,
      "0+65536 D@262144, 131072+65536 D@327680" },
    { "backwards",
      { { .index = 1 }, { .index = 0 } },
      2,
      0,
      0,
      "0+65536 D@327680, 65536+65536 D@262144" },
    { "zeros run together",
      { { .index = 3, .count = 30, .kind = BUILD_ZERO } },
      1,
      0,
      0,
      "196608+1966080 Z" },
    { "zeros with places",
      { { .index = 0, .count = 10, .kind = BUILD_ZERO_ALLOC } },
      1,
      0,
      0,
      "0+655360 Z@262144" },
    { "zeros with and without places",
      { { .index = 0, .kind = BUILD_ZERO_ALLOC },
        { .index = 1, .kind = BUILD_ZERO },
        { .index = 2, .kind = BUILD_DATA } },
      3,
      0,
      0,
      "0+65536 Z@262144, 65536+65536 Z, 131072+65536 D@327680" },
    { "a zero word that only has reserved bits",
      { { .index = 0, .kind = BUILD_WORD, .word = 0x1fe }, { .index = 1 } },
      2,
      0,
      0,
      "65536+65536 D@262144" },
    { "unaligned",
      { { .index = 2, .count = 2, .kind = BUILD_WORD, .word = 0x50200 } },
      1,
      0,
      0,
      "131072+131072 B" },
    { "packed past the end",
      { { .index = 2, .kind = BUILD_WORD, .word = UINT64_C(0x4000000000000000) | 0x10000000 } },
      1,
      0,
      0,
      "131072+65536 B" },
    { "packed clusters share a host cluster",
      { { .index = 0, .kind = BUILD_COMPRESSED, .packed = "abc", .packed_len = 3 },
        { .index = 1, .kind = BUILD_COMPRESSED, .packed = "defgh", .packed_len = 5 } },
      2,
      0,
      0,
      "0+65536 C@262144/512, 65536+65536 C@262147/509" },
    { "subclusters",
      { { .index = 0, .kind = BUILD_SUBCLUSTERS, .alloc = 0x0000000f, .zero = 0x80000000 } },
      1,
      1,
      0,
      "0+8192 D@262144, 8192+55296 R@270336, 63488+2048 Z@325632" },
    { "subclusters at odd places",
      { { .index = 0, .kind = BUILD_SUBCLUSTERS, .alloc = 0x00000012, .zero = 0x00000024 } },
      1,
      1,
      0,
      "0+2048 R@262144, 2048+2048 D@264192, 4096+2048 Z@266240, 6144+2048 R@268288, "
      "8192+2048 D@270336, 10240+2048 Z@272384, 12288+53248 R@274432" },
    { "a place and nothing in it",
      { { .index = 2, .kind = BUILD_WORD, .word = 0x50000 } },
      1,
      1,
      0,
      "131072+65536 R@327680" },
    { "zero subclusters without a place",
      { { .index = 0, .kind = BUILD_WORD, .word = 0, .bitmap = UINT64_C(0x3) << 32 } },
      1,
      1,
      0,
      "0+4096 Z" },
    { "full clusters with subclusters",
      { { .index = 0, .count = 3 }, { .index = 3, .count = 2, .kind = BUILD_ZERO } },
      2,
      1,
      0,
      "0+196608 D@262144, 196608+131072 Z" },
    { "subclusters that contradict themselves",
      { { .index = 1, .kind = BUILD_SUBCLUSTERS, .alloc = 3, .zero = 2 } },
      1,
      1,
      0,
      "65536+65536 B" },
    { "data file, from its start", { { .index = 0, .count = 20 } }, 1, 0, 1, "0+1310720 D@0" },
    { "data file, elsewhere", { { .index = 5, .count = 3 } }, 1, 0, 1, "327680+196608 D@327680" },
    { "data file, not in place",
      { { .index = 5, .kind = BUILD_WORD, .word = QCOW2_COPIED | 0x10000 } },
      1,
      0,
      1,
      "327680+65536 B" },
};

Test(qcow2_map, what_tables_say)
{
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        const struct build_qcow2 spec = { .size = 8 * MiB,
                                          .extended_l2 = maps[i].extended_l2,
                                          .data_file = maps[i].data_file,
                                          .clusters = maps[i].clusters,
                                          .cluster_count = maps[i].count };
        expect_map(&spec, maps[i].want, maps[i].name);
    }
}

Test(qcow2_map, packed_clusters_of_many_sectors_keep_their_length)
{
    static const uint8_t packed[3000];
    const struct build_cluster list[] = {
        { .index = 0, .kind = BUILD_COMPRESSED, .packed = packed, .packed_len = 100 },
        { .index = 1, .kind = BUILD_COMPRESSED, .packed = packed, .packed_len = 3000 },
    };
    const struct build_qcow2 spec = { .size = MiB, .clusters = list, .cluster_count = 2 };

    /* 100 + 3000 bytes end in the 7th sector. */
    expect_map(&spec, "0+65536 C@262144/512, 65536+65536 C@262244/3484", "packed");
}

Test(qcow2_map, runs_of_every_length_end_where_they_end)
{
    /* The decoder takes words in blocks: no length may fall through its seams. */
    for (uint64_t first = 0; first < 10; first++) {
        for (uint64_t count = 1; count < 70; count++) {
            const struct build_cluster c = { .index = first, .count = count };
            const struct build_qcow2 spec = {
                .cluster_bits = 9, .size = 128 * 512, .clusters = &c, .cluster_count = 1
            };
            struct image *image = must_open(&spec);
            struct extent_vec v = { 0 };
            struct qimg_error err;
            uint64_t covered = 0;

            cr_assert_eq(image_map(image, (struct qimg_range){ 0, image->size }, &v, &err), 0);
            for (size_t i = 0; i < v.count; i++)
                covered += v.items[i].len;
            cr_expect_eq(v.items[0].guest_off, first * 512);
            cr_expect_eq(covered, count * 512, "%lu clusters from %lu", (unsigned long)count,
                         (unsigned long)first);
            extent_vec_release(&v);
            image_close(image);
        }
    }
}

Test(qcow2_map, zero_flags_in_version_2_are_bad)
{
    const struct build_cluster c = { .index = 1, .count = 2, .kind = BUILD_ZERO };
    const struct build_qcow2 spec = {
        .version = 2, .size = MiB, .clusters = &c, .cluster_count = 1
    };

    expect_map(&spec, "65536+131072 B", "version 2");
}

Test(qcow2_map, wrong_l1_words_make_their_range_bad)
{
    static const struct {
        const char *name;
        uint64_t word;
        const char *want;
    } cases[] = {
        { "unaligned", 0x30200, "536870912+536870912 B" },
        { "past the end", UINT64_C(0x10000000), "536870912+536870912 B" },
        { "offset 0", QCOW2_COPIED, "" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct build_patch patch = { 2 * CLUSTER + 8, 8, cases[i].word };
        const struct build_qcow2 spec = { .size = GiB, .patches = &patch, .patch_count = 1 };
        expect_map(&spec, cases[i].want, cases[i].name);
    }
}

Test(qcow2_map, an_l2_table_cut_by_the_end_of_the_file_ends_in_zeros)
{
    const struct build_cluster c = { .index = 0, .count = 8, .kind = BUILD_ZERO };
    const struct build_qcow2 spec = { .size = MiB,
                                      .clusters = &c,
                                      .cluster_count = 1,
                                      .cut = true,
                                      .file_size = 3 * CLUSTER + 8 * 3 };

    expect_map(&spec, "0+196608 Z", "cut");
}

Test(qcow2_map, an_l1_table_cut_by_the_end_of_the_file_ends_in_zeros)
{
    const struct build_cluster list[] = { { .index = 0, .kind = BUILD_ZERO },
                                          { .index = 8192, .kind = BUILD_ZERO } };
    struct build_qcow2 spec = { .size = GiB, .clusters = list, .cluster_count = 2 };

    expect_map(&spec, "0+65536 Z, 536870912+65536 Z", "whole");
    /* L1 moved to the file's last 12 bytes: one and a half entries. */
    struct built whole = build_qcow2(&spec);
    const uint64_t l1_off = align_up(whole.len, CLUSTER);
    const struct build_patch move = { 40, 8, l1_off };
    uint8_t *bytes = calloc(1, l1_off + 12);
    struct qimg_error err;

    memcpy(bytes, whole.bytes, whole.len);
    memcpy(bytes + l1_off, whole.bytes + whole.l1_off, 12);
    store_be64(bytes + move.off, move.value);
    struct image *image = open_bytes(&qcow2_ops, bytes, l1_off + 12, NULL, &err);
    cr_assert_not_null(image, "%s", err.text);
    /* What is left of the second entry is its high half: no offset. */
    char *text = map_text(image);
    cr_expect_str_eq(text, "0+65536 Z");
    free(text);
    image_close(image);
    free(bytes);
    built_release(&whole);
}

Test(qcow2_map, an_absurd_l1_claim_takes_no_memory)
{
    const struct build_patch patch = { 36, 4, 4194304 };
    const struct build_qcow2 spec = { .size = MiB, .patches = &patch, .patch_count = 1 };
    struct image *image = must_open(&spec);

    cr_expect_leq(qcow2_of(image)->l1_loaded, 4 * CLUSTER / 8);
    image_close(image);
}

Test(qcow2_map, the_last_packed_cluster_is_given_whole)
{
    const struct build_cluster c = {
        .index = 15, .kind = BUILD_COMPRESSED, .packed = "abc", .packed_len = 3
    };
    const struct build_qcow2 spec = { .size = MiB - 512, .clusters = &c, .cluster_count = 1 };

    expect_map(&spec, "983040+65536 C@262144/512", "last");
}

Test(qcow2_map, answers_are_clipped_to_what_was_asked_but_packed_clusters_are_whole)
{
    const struct build_cluster list[] = {
        { .index = 0, .count = 2 },
        { .index = 2, .kind = BUILD_COMPRESSED, .packed = "abc", .packed_len = 3 },
        { .index = 3, .kind = BUILD_ZERO_ALLOC },
    };
    const struct build_qcow2 spec = { .size = MiB, .clusters = list, .cluster_count = 3 };
    struct image *image = must_open(&spec);
    struct extent_vec v = { 0 };
    struct qimg_error err;

    cr_assert_eq(image_map(image, (struct qimg_range){ 1000, 3 * CLUSTER }, &v, &err), 0);
    cr_assert_eq(v.count, 3);
    cr_expect_eq(v.items[0].guest_off, 1000);
    cr_expect_eq(v.items[0].host_off, 4 * CLUSTER + 1000);
    cr_expect_eq(v.items[0].len, 2 * CLUSTER - 1000);
    cr_expect_eq(v.items[1].guest_off, 2 * CLUSTER);
    cr_expect_eq(v.items[1].len, CLUSTER);
    cr_expect_eq(v.items[2].guest_off, 3 * CLUSTER);
    cr_expect_eq(v.items[2].len, 1000);
    v.count = 0;
    cr_assert_eq(image_map(image, (struct qimg_range){ 2 * CLUSTER + 7, 1 }, &v, &err), 0);
    cr_assert_eq(v.count, 1);
    cr_expect_eq(v.items[0].guest_off, 2 * CLUSTER);
    cr_expect_eq(v.items[0].len, CLUSTER);
    extent_vec_release(&v);
    image_close(image);
}

/* --- plan ------------------------------------------------------------------------------------ */

static const struct {
    struct qimg_range want;
    size_t want_count;
    struct table_ref first; /* host_off relative to the table's */
} plans[] = {
    { { 0, 512 }, 1, { { 0, 512 * CLUSTER }, 0, 4096 } },
    { { 512 * CLUSTER - 1, 2 }, 1, { { 0, 1024 * CLUSTER }, 0, 8192 } },
    { { 512 * CLUSTER, 1 }, 1, { { 512 * CLUSTER, 512 * CLUSTER }, 4096, 4096 } },
    { { 0, 8192 * CLUSTER }, 1, { { 0, 8192 * CLUSTER }, 0, 65536 } },
    { { 8191 * CLUSTER, CLUSTER + 1 }, 2, { { 7680 * CLUSTER, 512 * CLUSTER }, 61440, 4096 } },
    { { 8192 * CLUSTER, 8192 * CLUSTER }, 1, { { 8192 * CLUSTER, 8192 * CLUSTER }, 0, 65536 } },
    { { 16384 * CLUSTER, CLUSTER }, 0, { { 0, 0 }, 0, 0 } },
    { { 24576 * CLUSTER, 5 * CLUSTER }, 1, { { 24576 * CLUSTER, 3 * CLUSTER + 512 }, 0, 4096 } },
};

Test(qcow2_map, plans_slices_of_4_KiB_and_nothing_for_absent_tables)
{
    static const struct build_cluster list[] = {
        { .index = 0, .kind = BUILD_ZERO },
        { .index = 8192, .kind = BUILD_ZERO },
        { .index = 24576, .kind = BUILD_ZERO },
    };
    const struct build_qcow2 spec = { .size = 24579 * CLUSTER + 512,
                                      .clusters = list,
                                      .cluster_count = 3 };
    struct built built = build_qcow2(&spec);
    struct image *image = must_open(&spec);

    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct table_ref_vec refs = { 0 };
        cr_assert_eq(qcow2_map_plan(image, plans[i].want, &refs), 0);
        cr_expect_eq(refs.count, plans[i].want_count, "case %zu: %zu", i, refs.count);
        if (refs.count && plans[i].want_count) {
            const uint64_t table = built_l2_entry_off(
                &built, &spec, align_down(plans[i].first.guest.off / CLUSTER, 8192));
            cr_expect_eq(refs.items[0].guest.off, plans[i].first.guest.off, "case %zu", i);
            cr_expect_eq(refs.items[0].guest.len, plans[i].first.guest.len, "case %zu", i);
            cr_expect_eq(refs.items[0].host_off, table + plans[i].first.host_off, "case %zu", i);
            cr_expect_eq(refs.items[0].len, plans[i].first.len, "case %zu", i);
        }
        table_ref_vec_release(&refs);
    }
    image_close(image);
    built_release(&built);
}

Test(qcow2_map, small_tables_are_planned_whole)
{
    const struct build_cluster c = { .index = 70, .kind = BUILD_ZERO };
    const struct build_qcow2 spec = {
        .cluster_bits = 9, .size = 200 * 512, .clusters = &c, .cluster_count = 1
    };
    struct image *image = must_open(&spec);
    struct table_ref_vec refs = { 0 };

    cr_assert_eq(qcow2_map_plan(image, (struct qimg_range){ 0, image->size }, &refs), 0);
    cr_assert_eq(refs.count, 1);
    cr_expect_eq(refs.items[0].guest.off, 64 * 512);
    cr_expect_eq(refs.items[0].len, 512);
    table_ref_vec_release(&refs);
    image_close(image);
}

Test(qcow2_map, every_window_of_an_image_agrees_with_the_whole)
{
    static const struct build_cluster list[] = {
        { .index = 0, .count = 3 },
        { .index = 3, .count = 2, .kind = BUILD_ZERO },
        { .index = 7, .kind = BUILD_ZERO_ALLOC },
        { .index = 60, .count = 10 },
        { .index = 71, .kind = BUILD_WORD, .word = 0x12345fe00 },
    };
    const struct build_qcow2 spec = {
        .cluster_bits = 9, .size = 100 * 512, .clusters = list, .cluster_count = 5
    };
    struct image *image = must_open(&spec);
    struct extent_vec whole = { 0 }, part = { 0 };
    struct qimg_error err;

    cr_assert_eq(image_map(image, (struct qimg_range){ 0, image->size }, &whole, &err), 0);
    for (uint64_t len = 256; len < 16 * 512; len += 256) {
        part.count = 0;
        for (uint64_t at = 0; at < image->size; at += len)
            cr_assert_eq(image_map(image, (struct qimg_range){ at, len }, &part, &err), 0);
        cr_assert_eq(part.count, whole.count, "windows of %lu", (unsigned long)len);
        for (size_t i = 0; i < whole.count; i++) {
            cr_expect_eq(part.items[i].guest_off, whole.items[i].guest_off);
            cr_expect_eq(part.items[i].len, whole.items[i].len);
            cr_expect_eq(part.items[i].host_off, whole.items[i].host_off);
            cr_expect_eq(part.items[i].kind, whole.items[i].kind);
        }
    }
    extent_vec_release(&whole);
    extent_vec_release(&part);
    image_close(image);
}

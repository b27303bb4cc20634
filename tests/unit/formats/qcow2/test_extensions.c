/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"

static const uint8_t crypto_at_64k[16] = { 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0 };
static const uint8_t crypto_unaligned[16] = { 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0 };
static const uint8_t bitmaps_none[24];
static const uint8_t bitmaps_reserved[24] = { 0, 0, 0, 1, 0, 0, 0, 1 };
static const uint8_t bitmaps_many[24] = { 0, 1, 0, 0 };
static const uint8_t bitmaps_long[24] = { 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff };
static const uint8_t bitmaps_odd[24] = { 0, 0, 0, 1,  0, 0, 0, 0, 0, 0, 0, 0,
                                         0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 1 };

static const struct {
    const char *name;
    struct build_extension e;
    uint64_t autoclear;
    uint32_t crypt_method;
    const char *want;
} refused[] = {
    { "backing format of 16",
      { QCOW2_EXT_BACKING_FORMAT, "0123456789abcdef", 16, false, 0 },
      0,
      0,
      "ERROR: ext_backing_format: len=16 too large (>=16)" },
    { "longer than the area", { 0x1234, "x", 1, true, 65536 }, 0, 0, "Header extension too large" },
    { "as long as can be",
      { 0x1234, "x", 1, true, UINT32_MAX },
      0,
      0,
      "Header extension too large" },
    { "end marker with a length",
      { QCOW2_EXT_END, "", 0, true, 65536 },
      0,
      0,
      "Header extension too large" },
    { "crypto without LUKS",
      { QCOW2_EXT_CRYPTO, crypto_at_64k, 16, false, 0 },
      0,
      0,
      "CRYPTO header extension only expected with LUKS encryption method" },
    { "crypto with AES",
      { QCOW2_EXT_CRYPTO, crypto_at_64k, 16, false, 0 },
      0,
      1,
      "CRYPTO header extension only expected with LUKS encryption method" },
    { "crypto of 15",
      { QCOW2_EXT_CRYPTO, crypto_at_64k, 15, false, 0 },
      0,
      2,
      "CRYPTO header extension size 15, but expected size 16" },
    { "crypto unaligned",
      { QCOW2_EXT_CRYPTO, crypto_unaligned, 16, false, 0 },
      0,
      2,
      "Encryption header offset '65537' is not a multiple of cluster size '65536'" },
    { "bitmaps of 23",
      { QCOW2_EXT_BITMAPS, bitmaps_none, 23, false, 0 },
      1,
      0,
      "bitmaps_ext: Invalid extension length" },
    { "bitmaps of 23, stale",
      { QCOW2_EXT_BITMAPS, bitmaps_none, 23, false, 0 },
      0,
      0,
      "bitmaps_ext: Invalid extension length" },
    { "no bitmaps",
      { QCOW2_EXT_BITMAPS, bitmaps_none, 24, false, 0 },
      1,
      0,
      "found bitmaps extension with zero bitmaps" },
    { "bitmaps reserved",
      { QCOW2_EXT_BITMAPS, bitmaps_reserved, 24, false, 0 },
      1,
      0,
      "bitmaps_ext: Reserved field is not zero" },
    { "65536 bitmaps",
      { QCOW2_EXT_BITMAPS, bitmaps_many, 24, false, 0 },
      1,
      0,
      "bitmaps_ext: Image has 65536 bitmaps, exceeding the QEMU supported maximum of 65535" },
    { "long directory",
      { QCOW2_EXT_BITMAPS, bitmaps_long, 24, false, 0 },
      1,
      0,
      "bitmaps_ext: bitmap directory size (4278190080) exceeds the maximum supported size "
      "(67107840)" },
    { "directory unaligned",
      { QCOW2_EXT_BITMAPS, bitmaps_odd, 24, false, 0 },
      1,
      0,
      "bitmaps_ext: invalid bitmap directory offset" },
};

Test(qcow2_extensions, wrong_ones_are_refused_in_qemus_words)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const struct build_qcow2 spec = { .size = MiB,
                                          .extensions = &refused[i].e,
                                          .extension_count = 1,
                                          .autoclear = refused[i].autoclear,
                                          .crypt_method = refused[i].crypt_method };
        const struct image_open_options info = { .info_only = true };
        struct qimg_error err;
        struct image *image = open_built(&spec, &info, &err);
        cr_expect_null(image, "%s was accepted", refused[i].name);
        cr_expect_str_eq(err.text, refused[i].want, "%s: %s", refused[i].name, err.text);
        image_close(image);
    }
}

Test(qcow2_extensions, an_end_marker_whose_length_reaches_beyond_the_first_4_KiB_is_fine)
{
    const struct build_extension e = { QCOW2_EXT_END, "", 0, true, 60000 };
    const struct build_qcow2 spec = { .size = MiB, .extensions = &e, .extension_count = 1 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_expect_not_null(image, "%s", err.text);
    image_close(image);
}

Test(qcow2_extensions, stale_bitmaps_are_no_bitmaps)
{
    const struct build_extension e = { QCOW2_EXT_BITMAPS, bitmaps_none, 24, false, 0 };
    const struct build_qcow2 spec = { .size = MiB, .extensions = &e, .extension_count = 1 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_expect(!qcow2_of(image)->extensions.has_bitmaps);
    cr_expect(qcow2_of(image)->extensions.has_stale_bitmaps);
    image_close(image);
}

Test(qcow2_extensions, texts_are_cut_at_nul_and_the_last_of_a_type_counts)
{
    static const struct build_extension list[] = {
        { QCOW2_EXT_BACKING_FORMAT, "raw", 3, false, 0 },
        { QCOW2_EXT_BACKING_FORMAT, "qcow2\0xx", 8, false, 0 },
        { QCOW2_EXT_DATA_FILE, "dat\0a", 5, false, 0 },
    };
    const struct build_qcow2 spec = { .size = MiB, .extensions = list, .extension_count = 3 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_expect_str_eq(image->backing_format, "qcow2");
    cr_expect_str_eq(image->data_file_name, "dat");
    cr_expect_not(image->needs_data_file, "the name alone makes no data file");
    image_close(image);
}

Test(qcow2_extensions, a_format_of_15_bytes_is_the_longest)
{
    const struct build_extension e = { QCOW2_EXT_BACKING_FORMAT, "0123456789abcde", 15, false, 0 };
    const struct build_qcow2 spec = { .size = MiB, .extensions = &e, .extension_count = 1 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_expect_str_eq(image->backing_format, "0123456789abcde");
    image_close(image);
}

Test(qcow2_extensions, the_area_ends_at_the_backing_name)
{
    /* The name begins right behind the header; were it read as an extension, it would be wrong. */
    const struct build_qcow2 spec = { .size = MiB,
                                      .backing_name = "\xff\xff\xff\xff\xff\xff\xff",
                                      .backing_off = 112,
                                      .no_end_marker = true };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_expect_eq(qcow2_of(image)->extensions.list.count, 0);
    image_close(image);
}

Test(qcow2_extensions, a_backing_name_before_the_area_leaves_no_extensions)
{
    const struct build_extension e = { 0x1234, "", 0, true, UINT32_MAX };
    const struct build_qcow2 spec = { .size = MiB,
                                      .extensions = &e,
                                      .extension_count = 1,
                                      .patches =
                                          (const struct build_patch[]){ { 8, 8, 8 }, { 16, 4, 0 } },
                                      .patch_count = 2 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    image_close(image);
}

Test(qcow2_extensions, those_behind_the_first_4_KiB_are_found)
{
    static const uint8_t padding[5000] = { 7 };
    static const struct build_extension list[] = {
        { 0x1234, padding, sizeof(padding), false, 0 },
        { QCOW2_EXT_BACKING_FORMAT, "raw", 3, false, 0 },
    };
    const struct build_qcow2 spec = {
        .size = MiB, .extensions = list, .extension_count = 2, .backing_name = "base"
    };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_expect_str_eq(image->backing_format, "raw");
    cr_expect_str_eq(image->backing_name, "base");
    const struct qcow2_extension_vec *found = &qcow2_of(image)->extensions.list;
    cr_assert_eq(found->count, 2);
    cr_expect_eq(found->items[0].type, 0x1234);
    cr_expect_eq(found->items[0].len, sizeof(padding));
    cr_expect_arr_eq(found->items[0].data, padding, sizeof(padding));
    image_close(image);
}

Test(qcow2_extensions, a_quarter_million_of_them_cost_two_reads)
{
    const size_t count = (2 * MiB - 112) / 8;
    struct build_extension *list = calloc(count, sizeof(*list));
    struct qimg_error err;

    cr_assert_not_null(list);
    for (size_t i = 0; i < count; i++)
        list[i].type = 0x1234;
    const struct build_qcow2 spec = { .cluster_bits = 21,
                                      .size = MiB,
                                      .extensions = list,
                                      .extension_count = count,
                                      .no_end_marker = true };
    const struct image_open_options info = { .info_only = true };
    struct image *image = open_built(&spec, &info, &err);
    cr_assert_not_null(image, "%s", err.text);
    cr_expect_eq(qcow2_of(image)->extensions.list.count, count);
    cr_expect_leq(((struct mem_file *)image->file)->reads, 3);
    image_close(image);
    free(list);
}

Test(qcow2_extensions, truncated_at_every_byte_is_refused_or_shorter)
{
    static const struct build_extension list[] = {
        { QCOW2_EXT_BACKING_FORMAT, "raw", 3, false, 0 },
        { 0x1234, "12345678", 8, false, 0 },
        { QCOW2_EXT_DATA_FILE, "data", 4, false, 0 },
    };
    const struct build_qcow2 spec = { .size = MiB, .extensions = list, .extension_count = 3 };
    struct built built = build_qcow2(&spec);
    const size_t len = (size_t)built.extensions_end - 112;
    const struct qcow2_header header = { .cluster_bits = 16 };

    for (size_t cut = 0; cut <= len; cut++) {
        struct qcow2_extensions found = { 0 };
        struct qimg_error err;
        uint8_t *area = malloc(cut ? cut : 1); /* exact, so that a sanitizer sees an overrun */
        memcpy(area, built.bytes + 112, cut);
        const int rc = qcow2_extensions_decode(&header, reader_of(area, cut), &found, &err);
        const bool at_an_edge = cut == 0 || cut == 11 || (cut >= 11 && cut <= 16) || cut == 32 ||
                                (cut >= 44 && cut <= 48) || cut == len;
        cr_expect_eq(rc == 0, at_an_edge, "cut at %zu: %d", cut, rc);
        qcow2_extensions_release(&found);
        free(area);
    }
    built_release(&built);
}

Test(qcow2_extensions, encodes_what_it_decoded)
{
    static const struct build_extension list[] = {
        { QCOW2_EXT_BACKING_FORMAT, "raw", 3, false, 0 },
        { 0x1234, "1234567", 7, false, 0 },
        { 0x5678, "", 0, false, 0 },
        { QCOW2_EXT_DATA_FILE, "12345678", 8, false, 0 },
    };
    const struct build_qcow2 spec = { .size = MiB, .extensions = list, .extension_count = 4 };
    struct built built = build_qcow2(&spec);
    const size_t len = (size_t)built.extensions_end - 112;
    const struct qcow2_header header = { .cluster_bits = 16 };
    struct qcow2_extensions found = { 0 };
    struct qimg_error err;
    uint8_t again[256];

    cr_assert_eq(qcow2_extensions_decode(&header, reader_of(built.bytes + 112, len), &found, &err),
                 0);
    cr_assert_eq(found.list.count, 4);
    cr_expect_eq(qcow2_extensions_encoded_len(found.list.items, 4), len);
    for (size_t room = 0; room <= len; room++) {
        struct writer w = writer_of(again, room);
        cr_expect_eq(qcow2_extensions_encode(found.list.items, 4, &w), room < len ? -ENOSPC : 0,
                     "room %zu", room);
    }
    cr_expect_arr_eq(again, built.bytes + 112, len);
    qcow2_extensions_release(&found);
    built_release(&built);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"

/* --- refusals, each by one wrong field ---------------------------------------------------- */

static const struct {
    const char *name;
    struct build_patch patch;
    const char *want;
} refused[] = {
    { "magic", { 0, 1, 0 }, "Image is not in qcow2 format" },
    { "version 1", { 4, 4, 1 }, "Unsupported qcow2 version 1" },
    { "version 4", { 4, 4, 4 }, "Unsupported qcow2 version 4" },
    { "cluster_bits 5", { 20, 4, 5 }, "Unsupported cluster size: 2^5" },
    { "cluster_bits 8", { 20, 4, 8 }, "Unsupported cluster size: 2^8" },
    { "cluster_bits 22", { 20, 4, 22 }, "Unsupported cluster size: 2^22" },
    { "cluster_bits huge", { 20, 4, UINT32_MAX }, "Unsupported cluster size: 2^4294967295" },
    { "header_length 80", { 100, 4, 80 }, "qcow2 header too short" },
    { "header_length 103", { 100, 4, 103 }, "qcow2 header too short" },
    { "header_length 65537", { 100, 4, 65537 }, "qcow2 header exceeds cluster size" },
    { "backing name outside", { 8, 8, 65537 }, "Invalid backing file offset" },
    { "compression type 2", { 104, 1, 2 }, "qcow2: unknown compression type: 2" },
    { "zstd without its bit",
      { 104, 1, 1 },
      "qcow2: Compression type incompatible feature bit must be set" },
    { "zstd's bit without zstd",
      { 79, 1, 8 },
      "qcow2: Compression type incompatible feature bit must not be set" },
    { "unknown feature",
      { 72, 1, 0x80 },
      "Unsupported qcow2 feature(s): Unknown incompatible feature: 8000000000000000" },
    { "refcount_order 7",
      { 96, 4, 7 },
      "Reference count entry width too large; may not exceed 64 bits" },
    { "no refcount table", { 56, 4, 0 }, "Image does not contain a reference count table" },
    { "refcount table too large", { 56, 4, 129 }, "Reference count table too large" },
    { "refcount table unaligned", { 48, 8, 0x10001 }, "Reference count table offset invalid" },
    { "refcount table beyond 2^63",
      { 48, 8, UINT64_C(0x8000000000000000) },
      "Reference count table offset invalid" },
    { "too many snapshots", { 60, 4, UINT32_MAX }, "Snapshot table too large" },
    { "65537 snapshots", { 60, 4, 65537 }, "Snapshot table too large" },
    { "snapshot table unaligned", { 64, 8, 1 }, "Snapshot table offset invalid" },
    { "L1 too large", { 36, 4, 4194305 }, "Active L1 table too large" },
    { "L1 unaligned", { 40, 8, 0x30001 }, "Active L1 table offset invalid" },
    { "L1 beyond 2^63", { 40, 8, UINT64_C(0x7fffffffffff0000) }, NULL },
    { "L1 too small", { 36, 4, 0 }, "L1 table is too small" },
    { "size 2^63", { 24, 8, UINT64_C(1) << 63 }, "Image is too big" },
    { "size that would wrap", { 24, 8, UINT64_MAX }, "Image is too big" },
    { "size of golden case", { 24, 8, UINT64_C(0x7fff000000100000) }, "Image is too big" },
    { "crypt_method 3", { 32, 4, 3 }, "Unsupported encryption method 3" },
};

Test(qcow2_header, one_wrong_field_is_refused_in_qemus_words)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const struct build_qcow2 spec = { .size = MiB,
                                          .patches = &refused[i].patch,
                                          .patch_count = 1 };
        const struct image_open_options info = { .info_only = true };
        struct qimg_error err;
        struct image *image = open_built(&spec, &info, &err);
        cr_expect_null(image, "%s was accepted", refused[i].name);
        if (refused[i].want)
            cr_expect_str_eq(err.text, refused[i].want, "%s: %s", refused[i].name, err.text);
        image_close(image);
    }
}

static const struct {
    const char *name;
    struct build_patch patch;
    const char *want;
} outside[] = {
    { "L1",
      { 40, 8, UINT64_C(0x100000000) },
      "Active L1 table at offset 0x100000000 begins past the end of the file (262144 bytes)" },
    { "L1 at the very end",
      { 40, 8, 262144 },
      "Active L1 table at offset 0x40000 begins past the end of the file (262144 bytes)" },
    { "refcount table",
      { 48, 8, UINT64_C(0x100000000) },
      "Reference count table at offset 0x100000000 begins past the end of the file (262144 "
      "bytes)" },
};

Test(qcow2_header, tables_that_begin_past_the_end_of_the_file_are_refused)
{
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        const struct build_qcow2 spec = { .size = MiB,
                                          .patches = &outside[i].patch,
                                          .patch_count = 1 };
        struct qimg_error err;
        struct image *image = open_built(&spec, NULL, &err);
        cr_expect_null(image, "%s was accepted", outside[i].name);
        cr_expect_str_eq(err.text, outside[i].want, "%s: %s", outside[i].name, err.text);
        image_close(image);
    }
}

/* --- what must be tolerated ---------------------------------------------------------------- */

static const struct {
    const char *name;
    struct build_qcow2 spec;
    uint64_t want_size;
} tolerated[] = {
    { "version 2", { .version = 2, .size = MiB }, MiB },
    { "clusters of 512", { .cluster_bits = 9, .size = MiB }, MiB },
    { "clusters of 2 MiB", { .cluster_bits = 21, .size = MiB }, MiB },
    { "size 0 without L1", { .size = 0 }, 0 },
    { "size not a multiple of 512 is rounded down", { .size = 1000 }, 512 },
    { "size below a sector", { .size = 511 }, 0 },
    { "header_length 104", { .header_length = 104, .size = MiB }, MiB },
    { "header_length 105", { .header_length = 105, .size = MiB }, MiB },
    { "header_length 116", { .header_length = 116, .header_fill = 9, .size = MiB }, MiB },
    { "header fills the cluster",
      { .cluster_bits = 9, .header_length = 512, .no_end_marker = true, .size = 4096 },
      4096 },
    { "unknown compatible bits", { .compatible = UINT64_C(1) << 63, .size = MiB }, MiB },
    { "unknown autoclear bits", { .autoclear = UINT64_C(1) << 63, .size = MiB }, MiB },
    { "more L1 than needed", { .l1_extra = 1000, .size = MiB }, MiB },
    { "refcounts of 1 bit", { .refcount_bits = 1, .size = MiB }, MiB },
    { "refcounts of 64 bits", { .refcount_bits = 64, .size = MiB }, MiB },
    { "extended L2", { .extended_l2 = true, .size = MiB }, MiB },
    { "zstd", { .zstd = true, .size = MiB }, MiB },
    { "dirty", { .incompatible = 1, .size = MiB }, MiB },
    { "corrupt", { .incompatible = 2, .size = MiB }, MiB },
};

Test(qcow2_header, what_qemu_opens_opens)
{
    for (size_t i = 0; i < sizeof(tolerated) / sizeof(tolerated[0]); i++) {
        struct qimg_error err;
        struct image *image = open_built(&tolerated[i].spec, NULL, &err);
        cr_assert_not_null(image, "%s: %s", tolerated[i].name, err.text);
        cr_expect_eq(image->size, tolerated[i].want_size, "%s", tolerated[i].name);
        image_close(image);
    }
}

Test(qcow2_header, subclusters_need_clusters_of_16_KiB)
{
    for (unsigned bits = 9; bits <= 21; bits++) {
        const struct build_qcow2 spec = { .cluster_bits = bits,
                                          .extended_l2 = true,
                                          .size = 64 * KiB };
        struct qimg_error err;
        struct image *image = open_built(&spec, NULL, &err);
        cr_expect_eq(image != NULL, bits >= 14, "bits=%u: %s", bits, err.text);
        if (bits == 13)
            cr_expect_str_eq(err.text, "Unsupported subcluster size: 256");
        image_close(image);
    }
}

Test(qcow2_header, a_corrupt_image_is_read_but_not_written)
{
    const struct build_qcow2 spec = { .incompatible = QCOW2_INCOMPAT_CORRUPT, .size = MiB };
    const struct image_open_options writable = { .writable = true };
    struct qimg_error err;

    cr_expect_null(open_built(&spec, &writable, &err));
    cr_expect_str_eq(err.text, "qcow2: Image is corrupt; cannot be opened read/write");
    cr_expect_eq(err.code, EACCES);
}

/* --- every length ---------------------------------------------------------------------------- */

Test(qcow2_header, truncated_at_every_byte_is_an_error_not_a_crash)
{
    const struct build_qcow2 spec = { .size = MiB };
    struct built built = build_qcow2(&spec);

    for (size_t len = 0; len <= 1024; len++) {
        struct qimg_error err;
        struct image *image = open_bytes(&qcow2_ops, built.bytes, len, NULL, &err);
        cr_expect_null(image, "%zu bytes were accepted", len);
        if (len < 4)
            cr_expect_str_eq(err.text, "Image is not in qcow2 format", "%zu: %s", len, err.text);
        if (len >= 24 && len < 104)
            cr_expect_str_eq(err.text, "qcow2 header too short", "%zu: %s", len, err.text);
        image_close(image);
    }
    built_release(&built);
}

/* --- there and back ------------------------------------------------------------------------- */

static void expect_round_trip(const uint8_t *bytes, size_t len, const char *name)
{
    uint8_t again[4096];
    struct qcow2_header h;
    struct qimg_error err;
    struct writer w = writer_of(again, sizeof(again));

    memset(again, 0xaa, sizeof(again));
    cr_assert_eq(qcow2_header_decode(bytes, len, &h, &err), 0, "%s: %s", name, err.text);
    cr_assert_eq(qcow2_header_encode(&h, bytes + QCOW2_V3_HEADER_LENGTH, &w), 0, "%s", name);
    cr_expect_eq(sizeof(again) - w.left, h.header_length, "%s", name);
    cr_expect_arr_eq(again, bytes, h.header_length, "%s", name);
}

Test(qcow2_header, encodes_what_it_decoded)
{
    for (size_t i = 0; i < sizeof(tolerated) / sizeof(tolerated[0]); i++) {
        struct built built = build_qcow2(&tolerated[i].spec);
        expect_round_trip(built.bytes, 4096 < built.len ? 4096 : built.len, tolerated[i].name);
        built_release(&built);
    }
}

Test(qcow2_header, every_field_has_its_own_place)
{
    /* A header in which all bytes differ where a value may be anything. */
    struct built built = build_qcow2(&(struct build_qcow2){ .size = MiB });
    static const struct {
        size_t from, to;
    } free_fields[] = { { 16, 20 }, { 24, 32 }, { 36, 72 }, { 80, 100 } };

    for (size_t i = 0; i < sizeof(free_fields) / sizeof(free_fields[0]); i++) {
        for (size_t at = free_fields[i].from; at < free_fields[i].to; at++)
            built.bytes[at] = (uint8_t)(at + 1);
    }
    expect_round_trip(built.bytes, 512, "all different");
    built_release(&built);
}

Test(qcow2_header, encoding_says_when_there_is_no_room)
{
    const struct qcow2_header h = { .version = 3, .header_length = 112 };
    uint8_t room[112];

    for (size_t len = 0; len <= sizeof(room); len++) {
        struct writer w = writer_of(room, len);
        cr_expect_eq(qcow2_header_encode(&h, NULL, &w), len < 112 ? -ENOSPC : 0, "%zu bytes", len);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"

static const struct image_open_options info_only = { .info_only = true };
static const struct image_open_options writable = { .writable = true };

/* --- backing names ------------------------------------------------------------------------- */

static const struct {
    const char *name;
    struct build_qcow2 spec;
    const char *want, *want_error;
} names[] = {
    { "none", { .size = MiB }, NULL, NULL },
    { "usual", { .size = MiB, .backing_name = "base.raw" }, "base.raw", NULL },
    { "length 0", { .size = MiB, .backing_name = "" }, NULL, NULL },
    { "cut at its length",
      { .size = MiB, .backing_name = "base.raw", .backing_len = 4 },
      "base",
      NULL },
    { "behind the first 4 KiB",
      { .size = MiB, .backing_name = "far", .backing_off = 60000 },
      "far",
      NULL },
    { "across the first 4 KiB",
      { .size = MiB, .backing_name = "across", .backing_off = 4093 },
      "across",
      NULL },
    { "ends with the cluster",
      { .size = MiB, .backing_name = "last", .backing_off = 65532 },
      "last",
      NULL },
    { "ends behind the cluster",
      { .size = MiB, .backing_name = "last", .backing_off = 65533, .backing_len = 4 },
      NULL,
      "Backing file name too long" },
    { "at the cluster's end, length 0",
      { .size = MiB, .backing_name = "", .backing_off = 65536 },
      NULL,
      NULL },
    { "1024 bytes",
      { .size = MiB, .backing_name = "x", .backing_len = 1024 },
      NULL,
      "Backing file name too long" },
    { "absurd length",
      { .size = MiB, .backing_name = "x", .backing_len = UINT32_MAX },
      NULL,
      "Backing file name too long" },
};

Test(qcow2_open, backing_names)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct qimg_error err;
        struct image *image = open_built(&names[i].spec, NULL, &err);
        cr_expect_eq(image == NULL, names[i].want_error != NULL, "%s: %s", names[i].name, err.text);
        if (!image) {
            cr_expect_str_eq(err.text, names[i].want_error, "%s", names[i].name);
            continue;
        }
        cr_expect_eq(image->backing_name == NULL, names[i].want == NULL, "%s", names[i].name);
        if (names[i].want && image->backing_name)
            cr_expect_str_eq(image->backing_name, names[i].want, "%s", names[i].name);
        image_close(image);
    }
}

Test(qcow2_open, a_name_of_1023_bytes_is_the_longest)
{
    char name[1024];
    struct qimg_error err;

    memset(name, 'n', 1023);
    name[1023] = '\0';
    struct image *image =
        open_built(&(struct build_qcow2){ .size = MiB, .backing_name = name }, NULL, &err);
    cr_assert_not_null(image, "%s", err.text);
    cr_expect_str_eq(image->backing_name, name);
    image_close(image);
}

/* --- data files, features ------------------------------------------------------------------- */

Test(qcow2_open, data_file_raw_without_a_data_file_is_refused_except_for_info)
{
    const struct build_qcow2 spec = { .size = MiB, .autoclear = QCOW2_AUTOCLEAR_DATA_FILE_RAW };
    struct qimg_error err;

    cr_expect_null(open_built(&spec, NULL, &err));
    cr_expect_str_eq(err.text, "data-file-raw requires a data file");
    struct image *image = open_built(&spec, &info_only, &err);
    cr_expect_not_null(image, "%s", err.text);
    image_close(image);
}

Test(qcow2_open, a_data_file_is_reported_to_the_host)
{
    static const struct build_extension e = { QCOW2_EXT_DATA_FILE, "d.raw", 5, false, 0 };
    const struct build_qcow2 spec = {
        .size = MiB, .data_file = true, .extensions = &e, .extension_count = 1
    };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_expect(image->needs_data_file);
    cr_expect_str_eq(image->data_file_name, "d.raw");
    image_close(image);
}

Test(qcow2_open, of_two_faults_qemus_first_is_reported)
{
    /* Both the compression type and an unknown feature; both refcounts and L1. */
    static const struct {
        struct build_patch patches[2];
        const char *want;
    } cases[] = {
        { { { 104, 1, 7 }, { 72, 1, 0x80 } }, "qcow2: unknown compression type: 7" },
        { { { 36, 4, 0 }, { 56, 4, 0 } }, "Image does not contain a reference count table" },
        { { { 40, 8, 1 }, { 64, 8, 1 } }, "Snapshot table offset invalid" },
        { { { 36, 4, 0 }, { 32, 4, 9 } }, "L1 table is too small" },
        { { { 20, 4, 30 }, { 100, 4, 3 } }, "Unsupported cluster size: 2^30" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct build_qcow2 spec = { .size = MiB,
                                          .patches = cases[i].patches,
                                          .patch_count = 2 };
        struct qimg_error err;
        cr_expect_null(open_built(&spec, NULL, &err));
        cr_expect_str_eq(err.text, cases[i].want, "case %zu: %s", i, err.text);
    }
}

/* --- writable opens --------------------------------------------------------------------------- */

Test(qcow2_open, a_dirty_image_is_read_as_it_is)
{
    const struct build_qcow2 spec = { .size = MiB, .incompatible = QCOW2_INCOMPAT_DIRTY };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_expect_not_null(image, "%s", err.text);
    image_close(image);
}

Test(qcow2_open, writing_clears_unknown_autoclear_bits_and_reading_leaves_them)
{
    const uint64_t known = QCOW2_AUTOCLEAR_BITMAPS;
    const struct build_qcow2 spec = { .size = MiB, .autoclear = known | UINT64_C(1) << 40 };
    struct qimg_error err;

    struct image *image = open_built(&spec, NULL, &err);
    cr_assert_not_null(image, "%s", err.text);
    cr_expect_eq(((struct mem_file *)image->file)->writes, 0);
    image_close(image);

    image = open_built(&spec, &writable, &err);
    cr_assert_not_null(image, "%s", err.text);
    const struct mem_file *file = (const struct mem_file *)image->file;
    cr_expect_eq(file->writes, 1);
    cr_expect_eq(file->syncs, 1);
    cr_expect_eq(load_be64(file->bytes + QCOW2_AT_AUTOCLEAR), known);
    cr_expect_eq(qcow2_of(image)->header.autoclear, known);
    image_close(image);
}

Test(qcow2_open, a_clean_image_is_opened_for_writing_without_a_write)
{
    struct qimg_error err;
    struct image *image = open_built(&(struct build_qcow2){ .size = MiB }, &writable, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_expect_eq(((struct mem_file *)image->file)->writes, 0);
    image_close(image);
}

/* --- read errors ---------------------------------------------------------------------------- */

Test(qcow2_open, a_file_that_fails_stays_with_the_caller)
{
    static const struct {
        uint64_t fail_read_at;
        const char *want;
    } cases[] = {
        { 0, "Could not read qcow2 header: Input/output error" },
        { 0x20000, "Could not read L1 table: Input/output error" },
        { 0x40000, "Failed to read snapshot table: Input/output error" },
    };
    const struct build_snapshot s = { .id = "1", .name = "s" };
    struct built built =
        build_qcow2(&(struct build_qcow2){ .size = MiB, .snapshots = &s, .snapshot_count = 1 });

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mem_file *file = mem_file_new(built.bytes, built.len, false);
        const struct image_open_options read_only = { 0 };
        struct image *image = NULL;
        struct qimg_error err;
        file->fail_read_at = cases[i].fail_read_at;
        cr_expect_eq(qcow2_ops.open(&file->base, &read_only, &image, &err), -EIO);
        cr_expect_str_eq(err.text, cases[i].want, "case %zu: %s", i, err.text);
        cr_expect_null(image);
        io_file_close(&file->base);
    }
    built_release(&built);
}

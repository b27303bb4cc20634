/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"

static const struct build_bitmap list[] = {
    { .name = "b0", .flags = QCOW2_BITMAP_AUTO },
    { .name = "in use", .flags = QCOW2_BITMAP_IN_USE, .granularity_bits = 9 },
};

static const struct build_qcow2 spec = { .size = 10 * MiB, .bitmaps = list, .bitmap_count = 2 };

Test(qcow2_bitmap, the_directory_is_listed)
{
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    const struct qcow2_bitmap_vec *v = &qcow2_of(image)->bitmaps;
    cr_assert_eq(v->count, 2);
    cr_expect_str_eq(v->items[0].name, "b0");
    cr_expect_eq(v->items[0].granularity_bits, 16);
    cr_expect_eq(v->items[0].flags, QCOW2_BITMAP_AUTO);
    cr_expect_str_eq(v->items[1].name, "in use");
    image_close(image);
}

static const struct {
    const char *name;
    uint64_t off; /* in the directory */
    unsigned width;
    uint64_t value;
    const char *want;
} wrong[] = {
    { "no table", 0, 8, 0, "Bitmap 'b0' doesn't satisfy the constraints" },
    { "table unaligned", 0, 8, 512, "Bitmap 'b0' doesn't satisfy the constraints" },
    { "empty table", 8, 4, 0, "Bitmap 'b0' doesn't satisfy the constraints" },
    { "absurd table", 8, 4, UINT32_MAX, "Bitmap 'b0' doesn't satisfy the constraints" },
    { "unknown flag", 12, 4, 4, "Bitmap 'b0' doesn't satisfy the constraints" },
    { "type 2", 16, 1, 2, "Bitmap 'b0' doesn't satisfy the constraints" },
    { "granularity 8", 17, 1, 8, "Bitmap 'b0' doesn't satisfy the constraints" },
    { "granularity 32", 17, 1, 32, "Bitmap 'b0' doesn't satisfy the constraints" },
    { "extra data", 20, 4, 1, "Bitmap extra data is not supported" },
    { "extra data beyond all", 20, 4, UINT32_MAX, "Broken bitmap directory" },
    { "name beyond the directory", 18, 2, 60000, "Broken bitmap directory" },
};

Test(qcow2_bitmap, wrong_entries_are_refused_in_qemus_words)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct built built = build_qcow2(&spec);
        const struct build_patch patch = { built.bitmap_directory_off + wrong[i].off,
                                           wrong[i].width, wrong[i].value };
        struct build_qcow2 patched = spec;
        struct qimg_error err;

        patched.patches = &patch;
        patched.patch_count = 1;
        cr_expect_null(open_built(&patched, NULL, &err), "%s was accepted", wrong[i].name);
        cr_expect_str_eq(err.text, wrong[i].want, "%s: %s", wrong[i].name, err.text);
        built_release(&built);
    }
}

static const struct {
    const char *name;
    uint64_t off; /* in the extension's data: behind its 8 bytes at 112 */
    unsigned width;
    uint64_t value;
    const char *want;
} places[] = {
    { "one more than counted", 0, 4, 1, "More bitmaps found than specified in header extension" },
    { "one less than counted", 0, 4, 3, "Less bitmaps found than specified in header extension" },
    { "empty directory", 8, 8, 0, "Requested bitmap directory size is zero" },
    { "directory of 20 bytes", 8, 8, 20, "Broken bitmap directory" },
    { "directory past the end", 16, 8, UINT64_C(0x100000000),
      "Bitmap directory at offset 0x100000000 begins past the end of the file (458752 bytes)" },
    { "directory cut by the end", 8, 8, 60 * MiB, "Broken bitmap directory" },
};

Test(qcow2_bitmap, wrong_places_and_counts_are_refused)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const struct build_patch patch = { 120 + places[i].off, places[i].width, places[i].value };
        struct build_qcow2 patched = spec;
        struct qimg_error err;

        patched.patches = &patch;
        patched.patch_count = 1;
        cr_expect_null(open_built(&patched, NULL, &err), "%s was accepted", places[i].name);
        cr_expect_str_eq(err.text, places[i].want, "%s: %s", places[i].name, err.text);
    }
}

Test(qcow2_bitmap, a_table_too_short_for_the_disk_is_fine_only_while_in_use)
{
    /* 1 cluster of bits at 512 bytes each covers 256 MiB. */
    const struct build_patch grown[] = { { 24, 8, 512 * MiB } };
    struct build_bitmap one = { .name = "b", .granularity_bits = 9 };
    struct build_qcow2 patched = {
        .size = 200 * MiB, .bitmaps = &one, .bitmap_count = 1, .patches = grown, .patch_count = 1
    };
    struct qimg_error err;

    cr_expect_null(open_built(&patched, NULL, &err));
    cr_expect_str_eq(err.text, "Bitmap 'b' doesn't satisfy the constraints");
    one.flags = QCOW2_BITMAP_IN_USE;
    struct image *image = open_built(&patched, NULL, &err);
    cr_expect_not_null(image, "%s", err.text);
    image_close(image);
}

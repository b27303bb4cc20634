/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "qimg/bitmap.h"
#include "qimg/write.h"
#include "sim_rig.h"

static struct qimg_image *open_new(struct sim_rig *rig, const char *format, bool writable)
{
    const struct qimg_create_options create = {
        .format = format, .sync = true, .has_size = true, .size = MiB
    };
    const struct qimg_open_options how = { .format = format, .writable = writable };
    struct qimg_image *image;
    struct qimg_error err;

    cr_assert_eq(qimg_create(rig->context, "a", &create, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_open(rig->context, "a", &how, &image, &err), 0, "%s", err.text);
    return image;
}

static const struct qimg_bitmap_action add = { .verb = QIMG_BITMAP_ADD, .name = "b" };

static const struct {
    const char *format;
    struct qimg_bitmap_action action;
    int code;
    const char *want;
} refusals[] = {
    { "raw",
      { .verb = QIMG_BITMAP_ADD, .name = "b" },
      -ENOTSUP,
      "Operation add on bitmap b failed: Can't store persistent bitmaps to a: Operation not "
      "supported" },
    { "raw",
      { .verb = QIMG_BITMAP_REMOVE, .name = "b" },
      -ENOENT,
      "Operation remove on bitmap b failed: Dirty bitmap 'b' not found" },
    { "raw",
      { .verb = QIMG_BITMAP_ADD, .name = "" },
      -EINVAL,
      "Operation add on bitmap  failed: Bitmap name cannot be empty" },
    { "qcow2",
      { .verb = QIMG_BITMAP_ENABLE, .name = "b" },
      -ENOENT,
      "Operation enable on bitmap b failed: Dirty bitmap 'b' not found" },
    { "qcow2",
      { .verb = QIMG_BITMAP_ADD, .name = "b", .granularity = 3 },
      -EINVAL,
      "Operation add on bitmap b failed: Granularity must be power of 2 and at least 512" },
};

Test(bitmap, sentences_name_the_operation_and_the_bitmap)
{
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        struct qimg_image *image = open_new(rig, refusals[i].format, true);
        struct qimg_error err;
        cr_expect_eq(qimg_image_change_bitmaps(image, &refusals[i].action, 1, &err),
                     refusals[i].code, "%s", err.text);
        cr_expect_str_eq(err.text, refusals[i].want);
        qimg_image_close(image);
        sim_rig_free(rig);
    }
}

Test(bitmap, not_while_the_guest_writes_and_not_without_write_access)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_image *image = open_new(rig, "qcow2", true);
    struct qimg_error err;

    cr_assert_eq(qimg_image_change_bitmaps(image, &add, 1, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_write(image, 0, "x", 1, &err), 0, "%s", err.text);
    const struct qimg_bitmap_action clear = { .verb = QIMG_BITMAP_CLEAR, .name = "b" };
    cr_expect_eq(qimg_image_change_bitmaps(image, &clear, 1, &err), -EBUSY);
    cr_assert_eq(qimg_image_finish(image, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_change_bitmaps(image, &clear, 1, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_change_bitmaps(image, NULL, 0, &err), 0);
    qimg_image_close(image);
    const struct qimg_open_options how = { .format = "qcow2" };
    cr_assert_eq(qimg_image_open(rig->context, "a", &how, &image, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_change_bitmaps(image, &clear, 1, &err), -EACCES);
    qimg_image_close(image);
    sim_rig_free(rig);
}

Test(bitmap, merges_across_images)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_image *image = open_new(rig, "qcow2", true), *other;
    const struct qimg_create_options create = {
        .format = "qcow2", .sync = true, .has_size = true, .size = MiB
    };
    const struct qimg_open_options how = { .format = "qcow2", .writable = true };
    struct qimg_error err;
    struct qimg_info info;

    cr_assert_eq(qimg_image_change_bitmaps(image, &add, 1, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_create(rig->context, "o", &create, &err), 0);
    cr_assert_eq(qimg_image_open(rig->context, "o", &how, &other, &err), 0);
    const struct qimg_bitmap_action steps[] = {
        { .verb = QIMG_BITMAP_ADD, .name = "copy", .granularity = 4096 },
        { .verb = QIMG_BITMAP_DISABLE, .name = "copy" },
        { .verb = QIMG_BITMAP_MERGE, .name = "copy", .source = "b", .source_image = image },
    };
    cr_expect_eq(qimg_image_change_bitmaps(other, steps, 3, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_info(other, &info, &err), 0);
    cr_assert_eq(info.qcow2->bitmap_count, 1);
    cr_expect_str_eq(info.qcow2->bitmaps[0].name, "copy");
    cr_expect_eq(info.qcow2->bitmaps[0].granularity, 4096);
    cr_expect_not(info.qcow2->bitmaps[0].enabled);
    qimg_info_release(&info);
    qimg_image_close(other);
    qimg_image_close(image);
    sim_rig_free(rig);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"
#include "qimg/info.h"

Test(qcow2_describe, a_plain_image)
{
    struct qimg_info info = { 0 };
    struct qimg_error err;
    struct image *image = open_built(&(struct build_qcow2){ .size = MiB }, NULL, &err);

    cr_assert_eq(image->ops->describe(image, &info, &err), 0);
    cr_expect_eq(info.cluster_size, 65536);
    cr_expect(info.has_dirty_flag && !info.dirty_flag && !info.encrypted);
    cr_expect_eq(info.snapshot_count, 0);
    cr_assert_not_null(info.qcow2);
    cr_expect_eq(info.qcow2->version, 3);
    cr_expect_str_eq(info.qcow2->compression_type, "zlib");
    cr_expect_eq(info.qcow2->refcount_bits, 16);
    cr_expect_not(info.qcow2->lazy_refcounts || info.qcow2->corrupt || info.qcow2->extended_l2 ||
                  info.qcow2->has_data_file || info.qcow2->data_file_raw);
    cr_expect_null(info.qcow2->data_file);
    qimg_info_release(&info);
    image_close(image);
}

Test(qcow2_describe, everything_an_image_can_have)
{
    static const struct build_extension extension = { QCOW2_EXT_DATA_FILE, "d.raw", 5, false, 0 };
    static const struct build_snapshot snapshot = {
        .id = "7", .name = "before", .date_sec = 99, .vm_state_size = 3, .disk_size = 512
    };
    static const struct build_bitmap bitmaps[] = {
        { .name = "b", .flags = QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE, .granularity_bits = 20 },
    };
    const struct build_qcow2 spec = { .size = MiB,
                                      .cluster_bits = 14,
                                      .refcount_bits = 1,
                                      .zstd = true,
                                      .extended_l2 = true,
                                      .data_file = true,
                                      .incompatible = 3,
                                      .compatible = 1,
                                      .autoclear = 2,
                                      .extensions = &extension,
                                      .extension_count = 1,
                                      .snapshots = &snapshot,
                                      .snapshot_count = 1,
                                      .bitmaps = bitmaps,
                                      .bitmap_count = 1 };
    struct qimg_info info = { 0 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_assert_eq(image->ops->describe(image, &info, &err), 0);
    cr_expect_eq(info.cluster_size, 16384);
    cr_expect(info.dirty_flag);
    cr_assert_eq(info.snapshot_count, 1);
    cr_expect_str_eq(info.snapshots[0].id, "7");
    cr_expect_str_eq(info.snapshots[0].name, "before");
    cr_expect_eq(info.snapshots[0].disk_size, 512);
    cr_expect_eq(info.snapshots[0].vm_state_size, 3);
    cr_expect_str_eq(info.qcow2->compression_type, "zstd");
    cr_expect_eq(info.qcow2->refcount_bits, 1);
    cr_expect(info.qcow2->lazy_refcounts && info.qcow2->corrupt && info.qcow2->extended_l2);
    cr_expect(info.qcow2->has_data_file && info.qcow2->data_file_raw);
    cr_expect_str_eq(info.qcow2->data_file, "d.raw");
    cr_assert_eq(info.qcow2->bitmap_count, 1);
    cr_expect_str_eq(info.qcow2->bitmaps[0].name, "b");
    cr_expect_eq(info.qcow2->bitmaps[0].granularity, MiB);
    cr_expect(info.qcow2->bitmaps[0].in_use && info.qcow2->bitmaps[0].enabled);
    qimg_info_release(&info);
    image_close(image);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands where when the head of a file changes; that it gets there safely is in
 * test_backing.c and test_bitmap_verbs.c.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "head.h"
#include "open_image.h"

static const uint8_t names[384];
static const struct build_extension like_qemu[] = {
    { .type = QCOW2_EXT_BACKING_FORMAT, .data = "raw", .len = 3 },
    { .type = QCOW2_EXT_FEATURE_NAMES, .data = names, .len = sizeof(names) },
};
static const uint8_t stale_data[24] = { 0, 0, 0, 1 };
static const struct build_extension stale[] = {
    { .type = QCOW2_EXT_BITMAPS, .data = stale_data, .len = sizeof(stale_data) },
    { .type = 0x12345678, .data = "kept", .len = 4 },
};

static struct qcow2 *open_spec(const struct build_qcow2 *spec)
{
    struct qimg_error err;
    struct image *image = open_built(spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    return qcow2_of(image);
}

static const struct qcow2_bitmaps_ext some = { .count = 1,
                                               .directory_len = 32,
                                               .directory_off = 0x50000 };

Test(qcow2_head, a_name_that_is_not_in_the_way_stays_where_it_is)
{
    const struct build_qcow2 spec = {
        .size = MiB, .extensions = like_qemu, .extension_count = 2, .backing_name = "base.raw"
    };
    struct qcow2 *q = open_spec(&spec);
    struct qcow2_head head = { .q = q, .header = q->header, .set_bitmaps = true, .bitmaps = some };

    cr_assert_eq(qcow2_head_plan(&head), 0);
    cr_expect(head.flips && head.kept && !head.staged);
    cr_expect_eq(head.header.backing_off, q->header.backing_off);
    cr_expect_leq(head.len, 512);
    cr_expect_eq(head.after.feature_names_len, 384 - 48, "as few names go as need to: %u",
                 head.after.feature_names_len);
    qcow2_head_release(&head);
    qcow2_ops.close(&q->image);
}

Test(qcow2_head, a_name_in_the_way_moves_within_sector_0_or_behind_it)
{
    static char long_name[500];
    memset(long_name, 'n', 499);
    const char *const backing[] = { "short", long_name };

    for (unsigned i = 0; i < 2; i++) {
        const struct build_qcow2 spec = { .size = MiB,
                                          .cluster_bits = 12,
                                          .backing_name = backing[i] };
        struct qcow2 *q = open_spec(&spec);
        struct qcow2_head head = {
            .q = q, .header = q->header, .set_bitmaps = true, .bitmaps = some
        };
        uint8_t sector[QCOW2_SECTOR];
        cr_assert_eq(qcow2_head_plan(&head), 0);
        cr_expect(head.flips && !head.kept);
        cr_expect_eq(head.staged, i == 1);
        cr_expect_gt(head.header.backing_off, q->header.backing_off);
        qcow2_head_sector(&head, sector);
        if (i == 0)
            cr_expect_arr_eq(sector + head.name_off, "short", 5);
        else
            cr_expect_geq(head.name_off, q->header.backing_off + q->header.backing_len);
        qcow2_head_release(&head);
        qcow2_ops.close(&q->image);
    }
}

Test(qcow2_head, what_the_sector_says_is_what_the_open_image_knows)
{
    const struct build_qcow2 spec = {
        .size = MiB, .cluster_bits = 12, .backing_name = "base", .autoclear = 1
    };
    struct qcow2 *q = open_spec(&spec);
    struct qcow2_head head = { .q = q, .header = q->header, .set_bitmaps = true, .bitmaps = some };
    struct qcow2_header decoded;
    struct qimg_error err;
    uint8_t sector[QCOW2_SECTOR];

    cr_assert_eq(qcow2_head_plan(&head), 0);
    qcow2_head_sector(&head, sector);
    qcow2_head_adopt(&head, q);
    cr_assert_eq(qcow2_header_decode(sector, sizeof(sector), &decoded, &err), 0, "%s", err.text);
    cr_expect_eq(decoded.backing_off, q->header.backing_off);
    cr_expect_eq(decoded.backing_len, 4);
    cr_expect_str_eq(q->image.backing_name, "base");
    cr_expect(q->extensions.has_bitmaps);
    cr_expect_eq(q->extensions.bitmaps.directory_off, 0x50000);
    cr_expect_eq(q->extensions.bitmaps.directory_len, 32);
    qcow2_head_release(&head);
    qcow2_ops.close(&q->image);
}

Test(qcow2_head, a_stale_bitmaps_extension_goes_and_others_stay)
{
    const struct build_qcow2 spec = { .size = MiB, .extensions = stale, .extension_count = 2 };
    struct qcow2 *q = open_spec(&spec);
    struct qcow2_head head = {
        .q = q, .header = q->header, .set_backing = true, .name = "b", .format = "raw"
    };

    cr_expect(q->extensions.has_stale_bitmaps);
    cr_assert_eq(qcow2_head_plan(&head), 0);
    cr_assert_eq(head.after.list.count, 2);
    cr_expect_eq(head.after.list.items[0].type, QCOW2_EXT_BACKING_FORMAT);
    cr_expect_eq(head.after.list.items[1].type, 0x12345678);
    qcow2_head_release(&head);
    qcow2_ops.close(&q->image);
}

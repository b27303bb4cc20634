/* SPDX-License-Identifier: Apache-2.0
 *
 * The snapshot table written anew: what an entry lacks is filled in, what we do not know stays.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "open_image.h"
#include "qcow2.h"
#include "snapshot_table.h"

static struct image *open_with(const struct build_snapshot *snapshots, size_t count,
                               unsigned version)
{
    const struct build_qcow2 spec = {
        .version = version, .size = MiB, .snapshots = snapshots, .snapshot_count = count
    };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    return image;
}

static uint8_t *encode(struct image *image, const struct snapshot_edit *edit, size_t *len)
{
    const struct qcow2 *q = qcow2_of(image);
    AUTO(snapshot_table_release) struct snapshot_table table = { 0 };
    uint8_t *out = NULL;

    cr_assert_eq(snapshot_table_load(q, &table), 0);
    cr_assert_eq(snapshot_table_encode(q, &table, edit, &out, len), 0);
    return out;
}

Test(qcow2_snapshot_table, entries_of_version_2_get_the_fields_of_version_3)
{
    static const struct build_snapshot old[] = { { .id = "1", .name = "bare", .no_extra = true } };
    const struct snapshot_edit edit = { .without = SIZE_MAX };
    struct image *image = open_with(old, 1, 2);
    size_t len;
    AUTO_FREE uint8_t *raw = encode(image, &edit, &len);

    cr_expect_eq(load_be32(raw + 36), 24);
    cr_expect_eq(load_be64(raw + 48), MiB, "the disk's size");
    cr_expect_eq(load_be64(raw + 56), UINT64_MAX, "no icount");
    cr_expect_eq(memcmp(raw + 64, "1bare", 5), 0);
    cr_expect_eq(len, 72);
    image_close(image);
}

Test(qcow2_snapshot_table, unknown_extra_data_is_kept_and_one_entry_left_out)
{
    static const struct build_snapshot old[] = {
        { .id = "1", .name = "a" },
        { .id = "2", .name = "b", .extra_len = 40, .vm_state_size = 5, .date_sec = 9 },
    };
    const struct snapshot_edit edit = { .without = 0 };
    struct image *image = open_with(old, 2, 3);
    size_t len;
    AUTO_FREE uint8_t *raw = encode(image, &edit, &len);

    cr_expect_eq(load_be32(raw + 36), 40);
    cr_expect_eq(load_be32(raw + 16), 9);
    cr_expect_eq(load_be64(raw + 40), 5);
    for (size_t i = 64; i < 80; i++)
        cr_expect_eq(raw[i], 0xee, "byte %zu", i);
    cr_expect_eq(memcmp(raw + 80, "2b", 2), 0);
    cr_expect_eq(len, 88, "padded to 8");
    image_close(image);
}

Test(qcow2_snapshot_table, a_new_entry_comes_last_with_all_its_fields)
{
    static const struct build_snapshot old[] = { { .id = "1", .name = "a" } };
    const struct qcow2_snapshot new = { .l1_off = 0x70000,
                                        .l1_count = 3,
                                        .date_sec = 1,
                                        .date_nsec = 2,
                                        .disk_size = 4096,
                                        .id = "2",
                                        .name = "new" };
    const uint64_t moved[] = { 0x90000 };
    const struct snapshot_edit edit = { .without = SIZE_MAX, .add = &new, .l1_offs = moved };
    struct image *image = open_with(old, 1, 3);
    size_t len;
    AUTO_FREE uint8_t *raw = encode(image, &edit, &len);

    cr_expect_eq(load_be64(raw), 0x90000, "where its L1 table went");
    cr_expect_eq(load_be64(raw + 72), 0x70000);
    cr_expect_eq(load_be32(raw + 80), 3);
    cr_expect_eq(load_be16(raw + 84), 1);
    cr_expect_eq(load_be16(raw + 86), 3);
    cr_expect_eq(load_be64(raw + 72 + 48), 4096);
    cr_expect_eq(load_be64(raw + 72 + 56), 0, "icount as qemu-img's");
    cr_expect_eq(memcmp(raw + 72 + 64, "2new", 4), 0);
    image_close(image);
}

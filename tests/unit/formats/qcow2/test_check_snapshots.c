/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

static const struct build_cluster clusters[] = { { .index = 0, .fill = 1 } };

static const struct build_snapshot old[] = {
    { .id = "1",
      .name = "one",
      .clusters = clusters,
      .cluster_count = 1,
      .no_extra = true,
      .vm_state_size = 77 },
    { .id = "2",
      .name = "two",
      .clusters = clusters,
      .cluster_count = 1,
      .disk_size = 4096,
      .extra_len = 40 },
};

static const struct build_qcow2 spec = {
    .size = MiB, .clusters = clusters, .cluster_count = 1, .snapshots = old, .snapshot_count = 2
};

static const struct check_how look = { 0 };

static struct image *reopen(struct io_engine *engine)
{
    const struct io_open_options file_how = { 0 };
    const struct image_open_options how = { 0 };
    struct qimg_error err;
    struct io_file *file;
    struct image *image;

    cr_assert_eq(io_file_open(engine, "disk", &file_how, &file), 0);
    cr_assert_eq(qcow2_ops.open(file, &how, &image, &err), 0, "%s", err.text);
    return image;
}

Test(qcow2_check_snapshots, incomplete_entries_get_the_sizes_that_they_lack)
{
    struct io_engine *engine = check_machine(&spec);
    struct checked c = check_disk(engine, look);

    cr_expect_str_eq(c.said, "snapshot-incomplete: ERROR snapshot table entry 0 is incomplete\n");
    cr_expect_eq(c.result.corruptions, 1);
    checked_release(&c);
    c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    cr_expect_str_eq(c.said,
                     "snapshot-incomplete: Repairing snapshot table entry 0 is incomplete\n");
    cr_expect_eq(c.result.corruptions, 0);
    cr_expect_eq(c.result.corruptions_fixed, 1);
    checked_release(&c);
    c = check_disk(engine, look);
    cr_expect_str_eq(c.said, "");
    checked_release(&c);

    struct image *image = reopen(engine);
    const struct qcow2_snapshot_vec *v = &qcow2_of(image)->snapshots;
    cr_assert_eq(v->count, 2);
    cr_expect_str_eq(v->items[0].name, "one");
    cr_expect_eq(v->items[0].vm_state_size, 77);
    cr_expect_eq(v->items[0].disk_size, MiB);
    cr_expect_eq(v->items[0].icount, UINT64_MAX);
    cr_expect_str_eq(v->items[1].id, "2");
    cr_expect_eq(v->items[1].disk_size, 4096);
    image_close(image);
    io_engine_free(engine);
}

Test(qcow2_check_snapshots, too_much_extra_data_is_cut_by_repair_only)
{
    struct build_qcow2 s = spec;

    s.snapshot_count = 1; /* another layout */
    struct built built = build_qcow2(&s);
    const struct build_patch patch = { built.snapshots_off + 36, 4, 5000 };
    s.patches = &patch;
    s.patch_count = 1;
    struct io_engine *engine = check_machine(&s);
    struct checked c = check_disk(engine, look);
    cr_expect_eq(c.rc, -EFBIG);
    cr_expect_eq(c.result.check_errors, 1);
    cr_expect_not_null(strstr(c.said, "ERROR failed to read the snapshot table: Too much extra "
                                      "metadata in snapshot table entry 0\n"),
                       "%s", c.said);
    checked_release(&c);
    c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    cr_expect_not_null(strstr(c.said,
                              "Discarding too much extra metadata in snapshot table entry 0 "
                              "(5000 > 1024)\n"),
                       "%s", c.said);
    cr_expect_eq(c.result.corruptions, 0);
    checked_release(&c);
    check_repairs(engine);
    struct image *image = reopen(engine);
    cr_expect_eq(qcow2_of(image)->snapshots.count, 1);
    image_close(image);
    io_engine_free(engine);
    built_release(&built);
}

Test(qcow2_check_snapshots, more_than_the_limit_are_cut_by_repair_only)
{
    const struct build_patch patch = { 60, 4, 65540 };
    struct build_qcow2 s = spec;

    s.patches = &patch;
    s.patch_count = 1;
    struct io_engine *engine = check_machine(&s);
    struct checked c = check_disk(engine, look);
    cr_expect_lt(c.rc, 0);
    cr_expect_str_eq(c.said,
                     "snapshot-table: ERROR snapshot table too large\n"
                     "snapshot-table: You can force-remove all 4 overhanging snapshots with "
                     "qemu-img check -r all\n");
    checked_release(&c);
    c = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    cr_expect_eq(strncmp(c.said, "snapshots-too-many: Discarding 4 overhanging snapshots\n", 55), 0,
                 "%.200s", c.said);
    checked_release(&c);
    io_engine_free(engine);
}

Test(qcow2_check_snapshots, wrong_places_of_l1_are_told_with_the_snapshots_name)
{
    struct built built = build_qcow2(&spec);
    const struct build_patch patches[] = { { built.snapshots_off, 8, 0x30200 },
                                           { built.snapshots_off + 8, 4, 5000000 } };
    const char *const wants[] = {
        "ERROR snapshot 1 (one) l1_offset=0x30200: L1 table is not cluster aligned; snapshot table "
        "entry corrupted\n",
        "ERROR snapshot 1 (one) l1_size=0x4c4b40: L1 table is too large; snapshot table entry "
        "corrupted\n",
    };

    for (size_t i = 0; i < 2; i++) {
        struct build_qcow2 s = spec;
        s.patches = &patches[i];
        s.patch_count = 1;
        struct checked c = check_built(&s, look);
        cr_expect_not_null(strstr(c.said, wants[i]), "%s", c.said);
        checked_release(&c);
    }
    built_release(&built);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "open_image.h"
#include "raw.h"

static char *map_of(size_t size, const struct qimg_range *holes, size_t hole_count)
{
    struct qimg_error err;
    uint8_t *bytes = calloc(1, size + 1);
    struct image *image = open_bytes(&raw_ops, bytes, size, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    ((struct mem_file *)image->file)->holes = holes;
    ((struct mem_file *)image->file)->hole_count = hole_count;
    char *text = map_text(image);
    image_close(image);
    free(bytes);
    return text;
}

Test(raw, size_is_rounded_up_to_whole_sectors)
{
    static const struct {
        size_t size;
        uint64_t want;
    } cases[] = { { 0, 0 }, { 1, 512 }, { 511, 512 }, { 512, 512 }, { 513, 1024 }, { 1000, 1024 } };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct qimg_error err;
        uint8_t bytes[1024] = { 0 };
        struct image *image = open_bytes(&raw_ops, bytes, cases[i].size, NULL, &err);
        cr_assert_not_null(image, "%s", err.text);
        cr_expect_eq(image->size, cases[i].want, "%zu bytes", cases[i].size);
        image_close(image);
    }
}

static const struct {
    const char *name;
    size_t size;
    struct qimg_range holes[2];
    size_t hole_count;
    const char *want;
} maps[] = {
    { "empty", 0, { { 0, 0 } }, 0, "" },
    { "all data", 4096, { { 0, 0 } }, 0, "0+4096 D@0" },
    { "tail of the last sector", 1000, { { 0, 0 } }, 0, "0+1024 D@0" },
    { "hole in the middle",
      12288,
      { { 4096, 4096 } },
      1,
      "0+4096 D@0, 4096+4096 Z@4096, 8192+4096 D@8192" },
    { "hole at the end, odd size", 9000, { { 4096, 4904 } }, 1, "0+4096 D@0, 4096+5120 Z@4096" },
    { "all hole", 8192, { { 0, 8192 } }, 1, "0+8192 Z@0" },
    { "hole that begins inside a sector", 4096, { { 100, 3996 } }, 1, "0+512 D@0, 512+3584 Z@512" },
    { "hole that ends inside a sector", 4096, { { 0, 1000 } }, 1, "0+512 Z@0, 512+3584 D@512" },
    { "hole within one sector", 4096, { { 10, 20 } }, 1, "0+4096 D@0" },
    { "two holes",
      16384,
      { { 0, 4096 }, { 8192, 4096 } },
      2,
      "0+4096 Z@0, 4096+4096 D@4096, 8192+4096 Z@8192, 12288+4096 D@12288" },
};

Test(raw, map_shows_data_and_holes_in_whole_sectors)
{
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        char *text = map_of(maps[i].size, maps[i].holes, maps[i].hole_count);
        cr_expect_str_eq(text, maps[i].want, "%s: %s", maps[i].name, text);
        free(text);
    }
}

Test(raw, map_of_a_part_is_clipped_to_it)
{
    static const struct qimg_range holes[] = { { 4096, 4096 } };
    struct extent_vec v = { 0 };
    struct qimg_error err;
    uint8_t *bytes = calloc(1, 12288);
    struct image *image = open_bytes(&raw_ops, bytes, 12288, NULL, &err);

    ((struct mem_file *)image->file)->holes = holes;
    ((struct mem_file *)image->file)->hole_count = 1;
    cr_assert_eq(image_map(image, (struct qimg_range){ 4000, 1000 }, &v, &err), 0);
    cr_assert_eq(v.count, 2);
    cr_expect_eq(v.items[0].guest_off, 4000);
    cr_expect_eq(v.items[0].len, 96);
    cr_expect_eq(v.items[1].guest_off, 4096);
    cr_expect_eq(v.items[1].len, 904);
    extent_vec_release(&v);
    image_close(image);
    free(bytes);
}

Test(raw, has_neither_snapshots_nor_a_backing_file)
{
    struct qimg_error err;
    struct image *image = open_bytes(&raw_ops, "x", 1, NULL, &err);

    cr_expect_eq(image->ops->select_snapshot(image, "1", NULL, &err), -ENOTSUP);
    cr_expect_eq(image->ops->set_backing(image, "b", "raw", &err), -ENOTSUP);
    image_close(image);
}

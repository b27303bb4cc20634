/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "extent.h"

static const struct {
    const char *name;
    struct extent first, second;
    size_t want_count;
} cases[] = {
    { "data that goes on",
      { 0, 10, 100, 0, EXTENT_DATA, 0 },
      { 10, 5, 110, 0, EXTENT_DATA, 0 },
      1 },
    { "data elsewhere", { 0, 10, 100, 0, EXTENT_DATA, 0 }, { 10, 5, 111, 0, EXTENT_DATA, 0 }, 2 },
    { "a gap", { 0, 10, 100, 0, EXTENT_DATA, 0 }, { 11, 5, 111, 0, EXTENT_DATA, 0 }, 2 },
    { "other kind", { 0, 10, 100, 0, EXTENT_DATA, 0 }, { 10, 5, 110, 0, EXTENT_ZERO, 0 }, 2 },
    { "zeros without place",
      { 0, 10, QIMG_NO_OFFSET, 0, EXTENT_ZERO, 0 },
      { 10, 5, QIMG_NO_OFFSET, 0, EXTENT_ZERO, 0 },
      1 },
    { "zeros with and without place",
      { 0, 10, 100, 0, EXTENT_ZERO, 0 },
      { 10, 5, QIMG_NO_OFFSET, 0, EXTENT_ZERO, 0 },
      2 },
    { "zeros without place, then where the sum would wrap to it",
      { 0, 10, QIMG_NO_OFFSET, 0, EXTENT_ZERO, 0 },
      { 10, 5, 9, 0, EXTENT_ZERO, 0 },
      2 },
    { "bad and bad",
      { 0, 10, QIMG_NO_OFFSET, 0, EXTENT_BAD, 0 },
      { 10, 5, QIMG_NO_OFFSET, 0, EXTENT_BAD, 0 },
      1 },
    { "packed clusters never merge",
      { 0, 10, 100, 10, EXTENT_COMPRESSED, 0 },
      { 10, 10, 110, 10, EXTENT_COMPRESSED, 0 },
      2 },
};

Test(extent, neighbours_merge_only_where_guest_file_and_kind_go_on)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct extent_vec v = { 0 };
        cr_assert_eq(extent_vec_add(&v, cases[i].first), 0);
        cr_assert_eq(extent_vec_add(&v, cases[i].second), 0);
        cr_expect_eq(v.count, cases[i].want_count, "%s: %zu extents", cases[i].name, v.count);
        if (v.count == 1)
            cr_expect_eq(v.items[0].len, cases[i].first.len + cases[i].second.len, "%s",
                         cases[i].name);
        extent_vec_release(&v);
    }
}

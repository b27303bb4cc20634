/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"

static const struct {
    const char *name;
    struct build_cluster cluster;
    struct build_patch patch;
    bool extended_l2, data_file;
    unsigned version;
    const char *want;
} cases[] = {
    { "unaligned cluster",
      { .index = 1, .kind = BUILD_WORD, .word = 0x50200 },
      { 0, 1, 0x51 },
      0,
      0,
      3,
      "Cluster allocation offset 0x50200 unaligned (L2 offset: 0x30000, L2 index: 0x1)" },
    { "zero in version 2",
      { .index = 1, .kind = BUILD_ZERO },
      { 0, 1, 0x51 },
      0,
      0,
      2,
      "Zero cluster entry found in pre-v3 image (L2 offset: 0x30000, L2 index: 0x1)" },
    { "subclusters",
      { .index = 1, .kind = BUILD_WORD, .word = 0, .bitmap = 1 },
      { 0, 1, 0x51 },
      1,
      0,
      3,
      "Invalid cluster entry found  (L2 offset: 0x30000, L2 index: 0x1)" },
    { "packed in data file",
      { .index = 1, .kind = BUILD_WORD, .word = QCOW2_COMPRESSED | 0x200 },
      { 0, 1, 0x51 },
      0,
      1,
      3,
      "Compressed cluster entry found in image with external data file (L2 offset: 0x30000, "
      "L2 index: 0x1)" },
    { "packed past the end",
      { .index = 1, .kind = BUILD_WORD, .word = QCOW2_COMPRESSED | 0x20000000 },
      { 0, 1, 0x51 },
      0,
      0,
      3,
      "Compressed cluster past the end of the file: 0x4000000020000000 (L2 offset: 0x30000, "
      "L2 index: 0x1)" },
    { "not in place",
      { .index = 1, .kind = BUILD_WORD, .word = 0x50000 },
      { 0, 1, 0x51 },
      0,
      1,
      3,
      "External data file host cluster offset 0x50000 does not match guest cluster offset: "
      "0x10000 (L2 offset: 0x30000, L2 index: 0x1)" },
    { "packed rubbish",
      { .index = 1, .kind = BUILD_COMPRESSED, .packed = "abc", .packed_len = 3 },
      { 0, 1, 0x51 },
      0,
      0,
      3,
      "Compressed cluster at guest offset 0x10000 (512 bytes at offset 0x40000) does not unpack "
      "to one cluster" },
    { "unaligned table",
      { .index = 1 },
      { 0x20000, 8, 0x30200 },
      0,
      0,
      3,
      "L2 table offset 0x30200 unaligned (L1 index: 0)" },
    { "table past the end",
      { .index = 1 },
      { 0x20000, 8, 0x10000000 },
      0,
      0,
      3,
      "L2 table offset 0x10000000 past the end of the file (393216 bytes, L1 index: 0)" },
    { "healthy",
      { .index = 1 },
      { 0, 1, 0x51 },
      0,
      0,
      3,
      "Could not read guest offset 0x10000: Input/output error" },
};

Test(qcow2_explain, names_structure_place_and_value)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct build_qcow2 spec = { .version = cases[i].version,
                                          .size = MiB,
                                          .extended_l2 = cases[i].extended_l2,
                                          .data_file = cases[i].data_file,
                                          .clusters = &cases[i].cluster,
                                          .cluster_count = 1,
                                          .patches = &cases[i].patch,
                                          .patch_count = 1 };
        struct qimg_error err;
        struct image *image = open_built(&spec, NULL, &err);
        cr_assert_not_null(image, "%s: %s", cases[i].name, err.text);
        const bool disk = strstr(cases[i].want, "not unpack") || strstr(cases[i].want, "not read");
        cr_expect_eq(qcow2_explain(image, 64 * KiB + 77, &err), disk ? -EIO : -EBADMSG, "%s",
                     cases[i].name);
        cr_expect_eq(err.code, EIO, "%s", cases[i].name);
        cr_expect_str_eq(err.text, cases[i].want, "%s: %s", cases[i].name, err.text);
        image_close(image);
    }
}

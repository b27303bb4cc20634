/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "open_image.h"
#include "qcow2.h"

static void row(uint8_t *table, size_t index, uint8_t set, uint8_t bit, const char *name)
{
    uint8_t *at = table + index * QCOW2_FEATURE_NAME_BYTES;

    at[0] = set;
    at[1] = bit;
    memcpy(at + 2, name, strnlen(name, QCOW2_FEATURE_NAME_TEXT));
}

Test(qcow2_features, known_bits_pass)
{
    struct qimg_error err;

    cr_expect_eq(qcow2_features_refuse_unknown(QCOW2_INCOMPAT_KNOWN, NULL, 0, &err), 0);
}

Test(qcow2_features, unknown_bits_are_named_by_the_images_own_table)
{
    uint8_t table[6 * QCOW2_FEATURE_NAME_BYTES] = { 0 };
    struct qimg_error err;

    row(table, 0, QCOW2_FEATURE_COMPATIBLE, 40, "not this set");
    row(table, 1, QCOW2_FEATURE_INCOMPATIBLE, 41, "second bit");
    row(table, 2, QCOW2_FEATURE_INCOMPATIBLE, 40, "first bit");
    row(table, 3, QCOW2_FEATURE_INCOMPATIBLE, 40, "named twice");
    row(table, 4, QCOW2_FEATURE_INCOMPATIBLE, 200, "no such bit");
    const uint64_t bits = UINT64_C(3) << 40 | UINT64_C(1) << 63 | 1;

    cr_expect_eq(qcow2_features_refuse_unknown(bits, table, sizeof(table), &err), -ENOTSUP);
    cr_expect_str_eq(err.text, "Unsupported qcow2 feature(s): second bit, first bit, Unknown "
                               "incompatible feature: 8000000000000000");
}

Test(qcow2_features, a_nameless_row_ends_the_table)
{
    uint8_t table[3 * QCOW2_FEATURE_NAME_BYTES] = { 0 };
    struct qimg_error err;

    row(table, 0, QCOW2_FEATURE_INCOMPATIBLE, 40, "a");
    row(table, 2, QCOW2_FEATURE_INCOMPATIBLE, 41, "b");
    (void)!qcow2_features_refuse_unknown(UINT64_C(3) << 40, table, sizeof(table), &err);
    cr_expect_str_eq(err.text, "Unsupported qcow2 feature(s): a, Unknown incompatible feature: "
                               "20000000000");
}

Test(qcow2_features, a_table_cut_in_a_row_and_a_name_of_46_bytes_stay_inside)
{
    uint8_t table[QCOW2_FEATURE_NAME_BYTES] = { 0 };
    struct qimg_error err;

    row(table, 0, QCOW2_FEATURE_INCOMPATIBLE, 40, "0123456789012345678901234567890123456789012345");
    (void)!qcow2_features_refuse_unknown(UINT64_C(1) << 40, table, sizeof(table), &err);
    cr_expect_str_eq(err.text, "Unsupported qcow2 feature(s): "
                               "0123456789012345678901234567890123456789012345");
    (void)!qcow2_features_refuse_unknown(UINT64_C(1) << 40, table, 10, &err);
    cr_expect_str_eq(err.text, "Unsupported qcow2 feature(s): 01234567");
}

Test(qcow2_features, all_59_unknown_bits_can_be_named)
{
    uint8_t table[64 * QCOW2_FEATURE_NAME_BYTES] = { 0 };
    struct qimg_error err;

    for (uint8_t bit = 0; bit < 64; bit++)
        row(table, bit, QCOW2_FEATURE_INCOMPATIBLE, bit,
            "0123456789012345678901234567890123456789012345");
    cr_expect_eq(qcow2_features_refuse_unknown(UINT64_MAX, table, sizeof(table), &err), -ENOTSUP);
    cr_expect_eq(strlen(err.text), strlen("Unsupported qcow2 feature(s): ") + 59 * 48 - 2);
}

Test(qcow2_features, names_are_found_when_an_image_is_opened)
{
    uint8_t table[QCOW2_FEATURE_NAME_BYTES] = { 0 };
    row(table, 0, QCOW2_FEATURE_INCOMPATIBLE, 5, "time travel");
    const struct build_extension e = { QCOW2_EXT_FEATURE_NAMES, table, sizeof(table), false, 0 };
    const struct build_qcow2 spec = {
        .size = 1 << 20, .incompatible = 1 << 5, .extensions = &e, .extension_count = 1
    };
    struct qimg_error err;

    cr_expect_null(open_built(&spec, NULL, &err));
    cr_expect_str_eq(err.text, "Unsupported qcow2 feature(s): time travel");
}

Test(qcow2_features, our_table_is_qemus)
{
    uint32_t len;
    const uint8_t *names = qcow2_feature_names(&len);

    cr_expect_eq(len, 384);
    cr_expect_eq(memcmp(names, "\0\0dirty bit\0", 12), 0);
    cr_expect_eq(memcmp(names + 5 * 48, "\1\0lazy refcounts\0", 17), 0);
    cr_expect_eq(memcmp(names + 7 * 48, "\2\1raw external data\0", 20), 0);
}

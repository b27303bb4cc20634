/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "bits.h"
#include "size.h"

static const struct {
    const char *text;
    int rc;
    uint64_t bytes;
} parsed[] = {
    { "0", 0, 0 },
    { "08", 0, 8 },
    { " 12345", 0, 12345 },
    { " +12345", 0, 12345 },
    { "1B", 0, 1 },
    { "1b", 0, 1 },
    { "1k", 0, KiB },
    { "1K", 0, KiB },
    { "3M", 0, 3 * MiB },
    { "3g", 0, 3 * GiB },
    { "2t", 0, 2 * TiB },
    { "1P", 0, 1024 * TiB },
    { "7e", 0, UINT64_C(7) << 60 },
    { "1.5k", 0, 1536 },
    { "1.k", 0, KiB },
    { ".5k", 0, 512 },
    { "+.5k", 0, 512 },
    { "0.4k", 0, 410 },
    { "12.345M", 0, 12944671 },
    { "1.", 0, 1 },
    { "1.0B", 0, 1 },
    { "1.000", 0, 1 },
    { "1.00000000000000000000000001k", 0, KiB },
    { "0xab", 0, 171 },
    { "0XAE", 0, 174 },
    { " +0xae", 0, 174 },
    { "0x1b", 0, 27 },
    { "0x1e", 0, 30 },
    { "9007199254740993", 0, UINT64_C(9007199254740993) },
    { "9223372036854775807", 0, INT64_MAX },
    { "18446744073709551615", 0, UINT64_MAX },
    { "15.5E", 0, UINT64_C(31) << 59 },

    { "", -EINVAL, 0 },
    { "   ", -EINVAL, 0 },
    { ".", -EINVAL, 0 },
    { ".k", -EINVAL, 0 },
    { "k", -EINVAL, 0 },
    { "+", -EINVAL, 0 },
    { "1.5", -EINVAL, 0 },
    { "1.1B", -EINVAL, 0 },
    { "1.00000000000000000000000001", -EINVAL, 0 },
    { "1e3", -EINVAL, 0 },
    { "1.5E999", -EINVAL, 0 },
    { "1.5e1k", -EINVAL, 0 },
    { "1kB", -EINVAL, 0 },
    { "1Mi", -EINVAL, 0 },
    { "1Q", -EINVAL, 0 },
    { "1k ", -EINVAL, 0 },
    { "1 k", -EINVAL, 0 },
    { "0b1", -EINVAL, 0 },
    { "0x", -EINVAL, 0 },
    { "0x10k", -EINVAL, 0 },
    { "0x1.8k", -EINVAL, 0 },
    { "0x18M", -EINVAL, 0 },
    { "1.1.k", -EINVAL, 0 },
    { "inf", -EINVAL, 0 },
    { "nan", -EINVAL, 0 },
    { "--1", -EINVAL, 0 },
    { "-1x", -EINVAL, 0 },

    { "-1k", -EINVAL, 0 },
    { "-1.5", -EINVAL, 0 },
    { "-.5k", -EINVAL, 0 },
    { "99999999999999999999999k", -EINVAL, 0 },
    { "99999999999999999999999.5", -EINVAL, 0 },

    { "-0", -ERANGE, 0 },
    { "-1", -ERANGE, 0 },
    { "-.5", -ERANGE, 0 },
    { "18446744073709551616", -ERANGE, 0 },
    { "0x10000000000000000", -ERANGE, 0 },
    { "16E", -ERANGE, 0 },
    { "20E", -ERANGE, 0 },
};

Test(size, texts_parse_as_in_qemu)
{
    for (size_t i = 0; i < ARRAY_COUNT(parsed); i++) {
        uint64_t bytes = 0;
        int rc = size_parse(parsed[i].text, &bytes);
        cr_expect_eq(rc, parsed[i].rc, "'%s': %d", parsed[i].text, rc);
        cr_expect_eq(bytes, parsed[i].bytes, "'%s': %lu", parsed[i].text, (unsigned long)bytes);
    }
}

Test(size, numbers_print_below_1000_with_three_digits)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        { 0, "0 B" },
        { 1, "1 B" },
        { 512, "512 B" },
        { 999, "999 B" },
        { 1000, "0.977 KiB" },
        { 1016, "0.992 KiB" },
        { 1024, "1 KiB" },
        { 196 * KiB, "196 KiB" },
        { 328192, "320 KiB" },
        { 999 * KiB, "999 KiB" },
        { 1000 * KiB, "0.977 MiB" },
        { 2296832, "2.19 MiB" },
        { 3 * GiB / 2, "1.5 GiB" },
        { TiB, "1 TiB" },
        { 1023 * TiB, "0.999 PiB" },
        { UINT64_MAX, "16 EiB" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[32];
        size_print(cases[i].bytes, text, sizeof(text));
        cr_expect_str_eq(text, cases[i].text, "%lu: %s", (unsigned long)cases[i].bytes, text);
    }
}

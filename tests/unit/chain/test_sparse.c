/* SPDX-License-Identifier: Apache-2.0 */
#include "sparse.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define SECTOR 512u

Test(sparse, one_byte_anywhere_is_not_zero)
{
    static uint8_t buf[4096 + 64];

    for (size_t len = 1; len <= 600; len++) {
        cr_assert(sparse_is_zero(buf + len % 7, len), "%zu zeros", len);
        for (size_t at = 0; at < len; at++) {
            buf[len % 7 + at] = 1;
            cr_assert_not(sparse_is_zero(buf + len % 7, len), "byte %zu of %zu", at, len);
            buf[len % 7 + at] = 0;
        }
    }
    cr_expect(sparse_is_zero(buf, 4096));
}

/* Sectors: d is data, z zeros. */
static const struct {
    const char *name;
    uint64_t size;  /* -S */
    uint32_t align; /* the target's */
    uint64_t first; /* sector at which the buffer belongs */
    const char *sectors;
    const char *want;
} cases[] = {
    { "every sector counts", 512, 1, 0, "dzdz", "d1 z1 d1 z1" },
    { "0 writes everything", 0, 1, 0, "zzzz", "d4" },
    { "a block with data is data", 1024, 1, 0, "dzzzdd", "d2 z2 d2" },
    { "the target's blocks count", 512, 2048, 0, "dzzzzzzz", "d4 z4" },
    { "a short first block is one", 4096, 1, 3, "zzzzzddd", "z5 d3" },
    { "and is data if any of it is", 4096, 1, 3, "zzdzz", "d5" },
    { "a short last block is one", 1024, 1, 0,
      "ddzzdz"
      "z",
      "d2 z2 d2 z1" },
    { "short runs inside data stay", 1536, 1, 0, "ddzzddzzzzdd", "d6 z4 d2" },
    { "but not at the end", 1536, 1, 0, "ddzz", "d2 z2" },
    { "nor at the start", 1536, 1, 0, "zzdd", "z2 d2" },
    { "all zeros", 4096, 1, 0, "zzzzzzzzzzzzzzzz", "z16" },
    { "all data", 4096, 1, 5, "dddddddddd", "d10" },
    { "as long as the buffer is enough", 8192, 1, 0, "zzzz", "z4" },
};

Test(sparse, runs_are_cut_as_qemu_cuts_them)
{
    static uint8_t buf[32 * SECTOR];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct sparse_rule rule = sparse_rule_for(cases[i].size, cases[i].align);
        const size_t len = strlen(cases[i].sectors) * SECTOR;
        char got[256] = "";

        for (size_t s = 0; s < len / SECTOR; s++)
            memset(buf + s * SECTOR, cases[i].sectors[s] == 'd', SECTOR);
        for (size_t at = 0; at < len;) {
            bool data;
            const size_t n =
                sparse_next(rule, cases[i].first * SECTOR + at, buf + at, len - at, &data);
            const size_t used = strlen(got);
            (void)snprintf(got + used, sizeof(got) - used, "%s%c%zu", used ? " " : "",
                           data ? 'd' : 'z', n / SECTOR);
            at += n;
        }
        cr_expect_str_eq(got, cases[i].want, "%s: %s", cases[i].name, got);
    }
}

Test(sparse, the_rule_aligns_to_the_power_of_two_below_the_size)
{
    static const struct {
        uint64_t size;
        uint32_t request_align;
        uint64_t want;
    } rules[] = { { 0, 1, 512 },      { 512, 1, 512 },     { 4096, 1, 4096 },
                  { 12288, 1, 8192 }, { 512, 4096, 4096 }, { 65536, 4096, 65536 },
                  { 1536, 512, 1024 } };

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct sparse_rule rule = sparse_rule_for(rules[i].size, rules[i].request_align);
        cr_expect_eq(rule.align, rules[i].want, "-S %lu", (unsigned long)rules[i].size);
        cr_expect_eq(rule.min_len, rules[i].size);
    }
}

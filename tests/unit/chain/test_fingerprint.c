/* SPDX-License-Identifier: Apache-2.0 */
#include "fingerprint.h"

#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "bytes.h"

static struct fingerprint sample(const char *name, const char *format, bool content)
{
    struct fingerprint f = { .size = 5 * GiB,
                             .file_len = 196624,
                             .mtime_sec = -7,
                             .mtime_nsec = 999999999,
                             .sealed_sec = INT64_C(1) << 33,
                             .has_content = content };

    memset(f.identity, 0x5a, sizeof(f.identity));
    memset(f.content, content ? 0xc3 : 0, sizeof(f.content));
    fingerprint_describe(&f, name, format);
    return f;
}

static void expect_same(const struct fingerprint *a, const struct fingerprint *b)
{
    cr_expect_eq(a->name_len, b->name_len);
    cr_expect_eq(a->name_end_len, b->name_end_len);
    cr_expect_eq(memcmp(a->name_end, b->name_end, a->name_end_len), 0);
    cr_expect_eq(a->format_len, b->format_len);
    cr_expect_eq(memcmp(a->name_digest, b->name_digest, sizeof(a->name_digest)), 0);
    cr_expect(a->size == b->size && a->file_len == b->file_len && a->mtime_sec == b->mtime_sec &&
              a->mtime_nsec == b->mtime_nsec && a->sealed_sec == b->sealed_sec);
    cr_expect_eq(memcmp(a->identity, b->identity, sizeof(a->identity)), 0);
    cr_expect_eq(a->has_content, b->has_content);
    cr_expect_eq(memcmp(a->content, b->content, sizeof(a->content)), 0);
}

Test(fingerprint, what_is_written_is_read_again)
{
    char long_name[1024];
    memset(long_name, 'n', 1023);
    long_name[1023] = '\0';
    const char *const names[] = { "b", "dir/base.qcow2", long_name };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        for (int content = 0; content < 2; content++) {
            const struct fingerprint f = sample(names[i], i ? "qcow2" : NULL, content);
            uint8_t raw[FINGERPRINT_MAX];
            const size_t len = fingerprint_encode(&f, raw);
            struct fingerprint back;
            cr_assert_eq(fingerprint_decode(raw, len, &back), 0);
            expect_same(&f, &back);
        }
    }
}

/* docs/formats/fingerprint.md, byte for byte. */
Test(fingerprint, fields_stand_where_the_document_says)
{
    const struct fingerprint f = sample("base", "raw", true);
    uint8_t raw[FINGERPRINT_MAX];

    cr_assert_eq(fingerprint_encode(&f, raw), 80 + 32 + 3 + 4);
    cr_expect(raw[0] == 1 && raw[1] == 1 && raw[4] == 3 && raw[5] == 4);
    cr_expect_eq(load_be16(raw + 2), 4);
    cr_expect_eq(load_be64(raw + 8), 5 * GiB);
    cr_expect_eq(load_be64(raw + 16), 196624);
    cr_expect_eq((int64_t)load_be64(raw + 24), -7);
    cr_expect_eq(load_be32(raw + 32), 999999999);
    cr_expect_eq(load_be64(raw + 40), UINT64_C(1) << 33);
    cr_expect(raw[64] == 0x5a && raw[79] == 0x5a && raw[80] == 0xc3 && raw[111] == 0xc3);
    cr_expect_eq(memcmp(raw + 112, "rawbase", 7), 0);
}

Test(fingerprint, truncated_at_every_byte_or_too_long_is_refused)
{
    const struct fingerprint f = sample("base.qcow2", "qcow2", true);
    uint8_t raw[FINGERPRINT_MAX + 1] = { 0 };
    const size_t len = fingerprint_encode(&f, raw);
    struct fingerprint back;

    for (size_t cut = 0; cut < len; cut++)
        cr_expect_eq(fingerprint_decode(raw, cut, &back), -EBADMSG, "%zu bytes", cut);
    cr_expect_eq(fingerprint_decode(raw, len + 1, &back), -EBADMSG);
}

Test(fingerprint, another_version_or_part_is_refused)
{
    const struct fingerprint f = sample("base.qcow2", "qcow2", false);
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = { { 0, 2 }, { 1, 2 }, { 2, 0xff }, { 4, 16 }, { 5, 3 } };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t raw[FINGERPRINT_MAX];
        struct fingerprint back;
        const size_t len = fingerprint_encode(&f, raw);
        raw[cases[i].at] = cases[i].value;
        cr_expect_eq(fingerprint_decode(raw, len, &back), -EBADMSG, "byte %zu", cases[i].at);
    }
}

Test(fingerprint, is_for_one_name_and_one_format)
{
    const struct fingerprint f = sample("a/base", "raw", false),
                             bare = sample("a/base", NULL, false);

    cr_expect(fingerprint_is_for(&f, "a/base", "raw"));
    cr_expect_not(fingerprint_is_for(&f, "a/base", "qcow2"));
    cr_expect_not(fingerprint_is_for(&f, "a/base", NULL));
    cr_expect_not(fingerprint_is_for(&f, "b/base", "raw"));
    cr_expect_not(fingerprint_is_for(&f, "", "raw"));
    cr_expect(fingerprint_is_for(&bare, "a/base", NULL));
    cr_expect_not(fingerprint_is_for(&bare, "a/base", "raw"));
}

/* Names whose kept ends agree are told apart by their digest. */
Test(fingerprint, long_names_are_told_apart_by_more_than_their_end)
{
    char a[201], b[201];
    memset(a, 'x', 200);
    a[200] = '\0';
    memcpy(b, a, sizeof(a));
    b[0] = 'y';
    const struct fingerprint f = sample(a, "raw", false);
    cr_expect(fingerprint_is_for(&f, a, "raw"));
    cr_expect_not(fingerprint_is_for(&f, b, "raw"));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "mem_file.h"
#include "signature.h"

#define FILE_BYTES 40000

/* A file that bears @s alone; at the end where that counts from there. */
static struct io_file *bearing(const struct signature *s, size_t len)
{
    static uint8_t bytes[FILE_BYTES];
    memset(bytes, 0, sizeof(bytes));
    const size_t at = s->at < 0 ? len - (size_t)-s->at : (size_t)s->at;
    memcpy(bytes + at, s->bytes, s->len);
    return &mem_file_new(bytes, len, false)->base;
}

Test(signature, each_of_the_table_is_found_at_its_place)
{
    for (const struct signature *s = signatures; s->format; s++) {
        const struct signature *found[4] = { NULL };
        const char *image = "?";
        struct io_file *file = bearing(s, FILE_BYTES);
        cr_assert_eq(signature_find(file, found, 4), 1, "%s at %lld", s->format, (long long)s->at);
        cr_expect_str_eq(found[0]->format, s->format);
        cr_assert_eq(signature_of_image(file, &image), 0);
        if (s->of_image)
            cr_expect_str_eq(image, s->format);
        else
            cr_expect_null(image, "%s is content of a disk", s->format);
        io_file_close(file);
    }
}

Test(signature, a_file_cut_inside_a_signature_does_not_bear_it)
{
    for (const struct signature *s = signatures; s->format; s++) {
        const struct signature *found[4];
        if (s->at < 0)
            continue;
        struct io_file *file = bearing(s, (size_t)s->at + s->len - 1);
        for (int i = signature_find(file, found, 4) - 1; i >= 0; i--)
            cr_expect_lt(found[i]->len, s->len, "%s cut is %s", s->format, found[i]->format);
        io_file_close(file);
    }
}

Test(signature, all_of_a_polyglot_are_told)
{
    static uint8_t bytes[FILE_BYTES];
    memcpy(bytes, "QFI\xfb\0\0\0\3", 8);
    memcpy(bytes + 510, "\x55\xaa", 2);
    memcpy(bytes + 32769, "CD001", 5);
    memcpy(bytes + sizeof(bytes) - 512, "conectix", 8);
    struct io_file *file = &mem_file_new(bytes, sizeof(bytes), false)->base;
    const struct signature *found[2];
    cr_expect_eq(signature_find(file, found, 2), 4, "more than there is room for are counted");
    cr_expect_str_eq(found[0]->format, "qcow2");
    cr_expect_str_eq(found[1]->format, "vpc");
    io_file_close(file);
}

Test(signature, an_empty_file_bears_none_and_a_bad_disk_is_told)
{
    const char *image = "?";
    struct io_file *file = &mem_file_new("", 0, false)->base;
    cr_expect_eq(signature_of_image(file, &image), 0);
    cr_expect_null(image);
    io_file_close(file);

    struct mem_file *bad = mem_file_new("QFI\xfb\0\0\0\3", 8, false);
    bad->fail_read_at = 0;
    cr_expect_eq(signature_of_image(&bad->base, &image), -EIO);
    io_file_close(&bad->base);
}

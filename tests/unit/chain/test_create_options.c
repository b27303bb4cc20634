/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "create_options.h"

Test(create_options, help_rows_are_sorted)
{
    static const char *const formats[] = { "qcow2", "raw", "file" };

    for (size_t f = 0; f < ARRAY_COUNT(formats); f++) {
        const struct qimg_option_help *row = qimg_create_help(formats[f]);
        cr_assert_not_null(row);
        for (; row->name && row[1].name; row++)
            cr_expect_lt(strcmp(row->name, row[1].name), 0, "%s", row->name);
    }
    cr_expect_null(qimg_create_help("nosuch"));
}

Test(create_options, what_was_given_twice_counts_once_and_last)
{
    static const struct qimg_option given[] = { { "cluster_size", "128k" },
                                                { "cluster_size", "0x10000" } };
    struct create_options options;
    struct qimg_error err;
    uint64_t size;

    cr_assert_eq(create_options_init(&options, "qcow2", &err), 0);
    cr_assert_eq(create_options_parse(&options, given, 2, &err), 0, "%s", err.text);
    cr_expect_str_eq(create_options_get(&options, "cluster_size"), "0x10000");
    cr_expect_not(create_options_size(&options, &size));
    cr_expect(create_options_set(&options, "size", "", 5));
    cr_expect(create_options_size(&options, &size));
    cr_expect_eq(size, 5);
    cr_expect_not(create_options_set(&options, "nosuch", "", 5));
    char *line = create_options_announce(&options, "f");
    cr_expect_not_null(strstr(line, "fmt=qcow2 cluster_size=65536 "), "%s", line);
    free(line);
    cr_expect_eq(create_options_init(&options, "nosuch", &err), -ENOENT);
    cr_expect_str_eq(err.text, "Unknown file format 'nosuch'");
}

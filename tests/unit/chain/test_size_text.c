/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "qimg/options.h"

Test(size_text, the_public_functions_read_and_print_as_the_tool_does)
{
    uint64_t size = 0;
    char text[16];

    cr_expect_eq(qimg_size_parse("1.5G", &size), 0);
    cr_expect_eq(size, UINT64_C(1610612736));
    cr_expect_eq(qimg_size_parse("1Q", &size), -EINVAL);
    cr_expect_eq(qimg_size_parse("-1", &size), -ERANGE);
    qimg_size_print(200704, text, sizeof(text));
    cr_expect_eq(strcmp(text, "196 KiB"), 0, "%s", text);
}

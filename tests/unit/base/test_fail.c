/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "fail.h"

Test(fail, within_puts_the_place_in_front)
{
    struct qimg_error err;

    cr_expect_eq(qimg_fail(&err, EBADMSG, "value %d", 7), -EBADMSG);
    cr_expect_eq(qimg_within(&err, "L1 table"), -EBADMSG);
    cr_expect_eq(qimg_within(&err, "Could not open '%s'", "a"), -EBADMSG);
    cr_expect_str_eq(err.text, "Could not open 'a': L1 table: value 7");
}

Test(fail, text_that_does_not_fit_is_cut_and_keeps_the_outermost_place)
{
    struct qimg_error err;
    char name[QIMG_ERROR_TEXT];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    qimg_fail(&err, EINVAL, "%s", name);
    qimg_within(&err, "place");
    cr_expect_eq(strlen(err.text), sizeof(err.text) - 1);
    cr_expect_eq(strncmp(err.text, "place: nnn", 10), 0);
    qimg_within(&err, "%s", name);
    cr_expect_eq(strlen(err.text), sizeof(err.text) - 1);
    cr_expect_eq(strncmp(err.text, "nnn", 3), 0);
}

Test(fail, hints_are_lines_and_a_new_failure_forgets_them)
{
    struct qimg_error err;

    qimg_fail(&err, EPERM, "no");
    qimg_hint(&err, "first");
    qimg_hint(&err, "second %d", 2);
    cr_expect_str_eq(err.hint, "first\nsecond 2");
    cr_expect_eq(qimg_advise(&err, "it is %s", "taken"), -EPERM);
    cr_expect_str_eq(err.advice, "it is taken");
    qimg_fail_errno(&err, ENOENT, "x");
    cr_expect_str_eq(err.hint, "");
    cr_expect_str_eq(err.advice, "");
    cr_expect_str_eq(err.text, "x: No such file or directory");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"

static const char *const qcow2_only[] = { "qcow2", NULL };

Test(gate, each_policy_answers_as_its_table_says)
{
    static const struct {
        const char *what;
        struct qimg_gate_options gate;
        enum gate_role role;
        const char *format;
        unsigned depth;
        bool refused, probe;
    } cases[] = {
        { "strict, recorded", { 0 }, GATE_BACKING, "qcow2", 1, false, false },
        { "strict, none", { 0 }, GATE_BACKING, NULL, 1, true, false },
        { "probing allowed", { .allow_probe = true }, GATE_BACKING, NULL, 1, false, true },
        { "qemu", { .policy = QIMG_POLICY_QEMU }, GATE_BACKING, NULL, 1, false, true },
        { "audit", { .policy = QIMG_POLICY_AUDIT }, GATE_BACKING, "raw", 1, true, false },
        { "audit data", { .policy = QIMG_POLICY_AUDIT }, GATE_DATA_FILE, NULL, 0, true, false },
        { "data file", { 0 }, GATE_DATA_FILE, NULL, 0, false, false },
        { "no data file", { .no_data_file = true }, GATE_DATA_FILE, NULL, 0, true, false },
        { "no backing", { .no_backing = true }, GATE_BACKING, "raw", 1, true, false },
        { "last image", { 0 }, GATE_BACKING, "raw", 4, false, false },
        { "too deep", { 0 }, GATE_BACKING, "raw", 5, true, false },
        { "format listed",
          { .allow_formats = qcow2_only },
          GATE_BACKING,
          "qcow2",
          1,
          false,
          false },
        { "not listed", { .allow_formats = qcow2_only }, GATE_BACKING, "raw", 1, true, false },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct qimg_context context = { .gate = cases[i].gate };
        context.gate.max_depth = 5;
        const struct gate_request request = { .role = cases[i].role,
                                              .holder = "top",
                                              .recorded = "base",
                                              .recorded_format = cases[i].format,
                                              .path = "base",
                                              .depth = cases[i].depth };
        struct qimg_error err;
        bool probe = false;
        const int rc = gate_ask(&context, &request, &probe, &err);
        cr_expect_eq(rc, cases[i].refused ? -EPERM : 0, "%s: %d", cases[i].what, rc);
        cr_expect_eq(probe, cases[i].probe, "%s", cases[i].what);
        if (cases[i].refused)
            cr_expect(strstr(err.text, "'base'") && strstr(err.text, "'top'"), "%s: %s",
                      cases[i].what, err.text);
    }
}

Test(gate, a_missing_format_comes_with_the_command_that_mends_it)
{
    struct qimg_context context = { .gate.max_depth = 5 };
    const struct gate_request request = {
        .holder = "my top", .recorded = "it's\n", .path = "it's\n", .depth = 1
    };
    struct qimg_error err;
    bool probe;
    cr_assert_eq(gate_ask(&context, &request, &probe, &err), -EPERM);
    cr_expect_str_eq(err.text, "backing file 'it's\\x0a' of image 'my top' has no recorded format");
    cr_expect_str_eq(err.hint, "To record the format: qimg rebase -u -F FORMAT -b $'it\\047s\\012' "
                               "'my top'");
}

Test(gate, what_was_probed_may_not_lead_further_under_strict)
{
    struct qimg_context context = { .gate = { .allow_probe = true, .max_depth = 5 } };
    const struct gate_request request = { .holder = "a", .recorded = "b", .path = "b", .depth = 1 };
    struct qimg_error err;
    cr_expect_eq(gate_check_probed(&context, &request, "qcow2", false, &err), 0);
    cr_expect_eq(gate_check_probed(&context, &request, "qcow2", true, &err), -EPERM);
    cr_expect(strstr(err.hint, "-F qcow2"), "%s", err.hint);
    context.gate.policy = QIMG_POLICY_QEMU;
    cr_expect_eq(gate_check_probed(&context, &request, "qcow2", true, &err), 0);
}

Test(gate, names_are_quoted_for_the_shell)
{
    static const char *const cases[][2] = {
        { "a", "'a'" },
        { "a b", "'a b'" },
        { "it's", "'it'\\''s'" },
        { "a\x1b[0m'", "\"$(printf 'a\\033[0m\\047')\"" },
        { "-5%\\\n.", "\"$(printf '\\0555\\045\\134\\012.')\"" },
        { "a\n", "$'a\\012'" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char *quoted = gate_shell_quoted(cases[i][0]);
        cr_expect_str_eq(quoted, cases[i][1]);
        free(quoted);
    }
}

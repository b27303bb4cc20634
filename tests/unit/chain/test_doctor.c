/* SPDX-License-Identifier: Apache-2.0
 *
 * What the doctor says of chains. Findings on the command line, and that each printed command
 * mends, are in tests/cli/test_chain_verify.py.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "chain_rig.h"

TestSuite(doctor, .init = rig_set_up, .fini = rig_tear_down);

/* "id@level id@level ..." of one more chain in the survey. */
static const char *judge(const char *name, struct qimg_findings *findings)
{
    static char text[1024];
    struct qimg_chain chain;
    cr_assert_eq(qimg_survey_chain(rig_survey, name, NULL, &chain, &rig_err), 0);
    cr_assert_eq(qimg_survey_diagnose(rig_survey, &chain, NULL, findings, &rig_err), 0);
    int at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < findings->count; i++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, "%s%s@%zu", i ? " " : "",
                       findings->items[i].id, findings->items[i].level);
    qimg_chain_release(&chain);
    return text;
}

Test(doctor, has_nothing_to_say_about_a_healthy_chain)
{
    struct qimg_findings findings = { 0 };
    rig_raw("base");
    rig_overlay("mid", "base", "raw");
    rig_overlay("top", "mid", "qcow2");
    cr_expect_str_eq(judge("top", &findings), "");
    cr_expect_eq(findings.worst, QIMG_SEVERITY_NOTE);
    qimg_findings_release(&findings);
}

Test(doctor, tells_of_what_chains_share_once_and_counts_it_always)
{
    struct qimg_findings first = { 0 }, second = { 0 };
    rig_overlay("base", "gone", "raw");
    rig_overlay("a", "base", "qcow2");
    rig_overlay("b", "base", "qcow2");
    cr_expect_str_eq(judge("a", &first), "missing@1");
    cr_expect_str_eq(judge("b", &second), "");
    cr_expect_eq(second.worst, QIMG_SEVERITY_ERROR);
    qimg_findings_release(&first);
    qimg_findings_release(&second);
}

Test(doctor, judges_names_and_formats_where_they_are_recorded)
{
    static const struct {
        const char *backing, *format, *want;
    } cases[] = {
        { "base", NULL, "format-missing@0" },       { "base", "blah", "format-unknown@0" },
        { "base", "file", "format-unknown@0" },     { "base", "qcow2", "format-conflict@0" },
        { "base", "vmdk", "format-conflict@0" },    { "image", "raw", "raw-has-signature@0" },
        { "image", NULL, "format-missing@0" },      { "gone", "raw", "missing@0" },
        { "foo:bar", "raw", "unsupported-name@0" }, { "json:{", "raw", "bad-name@0" },
        { "nbd://host/x", "raw", "unvisited@0" },   { ".", "raw", "unreadable@0" },
    };
    rig_raw("base");
    rig_overlay("image", NULL, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct qimg_findings findings = { 0 };
        rig_use_gate((struct qimg_gate_options){ 0 });
        rig_overlay("top", cases[i].backing, cases[i].format);
        cr_expect_str_eq(judge("top", &findings), cases[i].want, "%s as %s: %s", cases[i].backing,
                         cases[i].format, judge("top", &findings));
        qimg_findings_release(&findings);
    }
}

Test(doctor, loops_name_both_ends_and_a_way_out)
{
    struct qimg_findings findings = { 0 };
    rig_overlay("b", "a", "qcow2");
    rig_overlay("a", "b", "qcow2");
    cr_expect_str_eq(judge("a", &findings), "loop@1");
    cr_expect(strstr(findings.items[0].sentence, "'a'"), "%s", findings.items[0].sentence);
    cr_expect_str_eq(findings.items[0].remedy, "qimg rebase -u -b '' 'b'");
    qimg_findings_release(&findings);
}

Test(doctor, names_of_strangers_are_quoted_in_commands)
{
    struct qimg_findings findings = { 0 };
    rig_raw("a b'c");
    rig_overlay("-top", "a b'c", NULL);
    cr_expect_str_eq(judge("-top", &findings), "format-missing@0");
    cr_expect_str_eq(findings.items[0].remedy, "qimg rebase -u -F raw -b 'a b'\\''c' './-top'");
    qimg_findings_release(&findings);
}

Test(doctor, depth_is_a_warning)
{
    struct qimg_findings findings = { 0 };
    char name[16], below[16] = "0";
    rig_raw("0");
    for (int i = 1; i <= 200; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        rig_overlay(name, below, i == 1 ? "raw" : "qcow2");
        (void)snprintf(below, sizeof(below), "%d", i);
    }
    cr_expect_str_eq(judge("199", &findings), "");
    cr_expect_str_eq(judge("200", &findings), "deep@0");
    cr_expect_eq(findings.worst, QIMG_SEVERITY_WARNING);
    qimg_findings_release(&findings);
    rig_use_gate((struct qimg_gate_options){ .max_depth = 100 });
    cr_expect_str_eq(judge("150", &findings), "too-deep@99");
    qimg_findings_release(&findings);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "finding.h"

Test(finding, ids_are_unique_words)
{
    const struct qimg_finding_kind *kinds = qimg_finding_kinds();
    size_t count = 0;
    for (const struct qimg_finding_kind *k = kinds; k->id; k++, count++) {
        cr_expect_eq(strspn(k->id, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(k->id));
        cr_expect_gt(strlen(k->meaning), 0);
        for (const struct qimg_finding_kind *other = kinds; other < k; other++)
            cr_expect_str_neq(other->id, k->id);
    }
    cr_expect_eq(count, FINDING_COUNT);
}

Test(finding, is_appended_with_all_its_parts)
{
    struct qimg_findings findings = { 0 };
    struct finding f = finding_begin(&findings, FINDING_DIRTY, 3, "a\nb");
    finding_field(&f, "field", NULL);
    finding_say(&f, "one %d", 1);
    finding_say(&f, "two");
    finding_remedy(&f, "first");
    finding_remedy(&f, "second %s", "'x'");
    cr_assert_eq(finding_end(&f), 0);
    cr_assert_eq(findings.count, 1);
    const struct qimg_finding *made = &findings.items[0];
    cr_expect_str_eq(made->id, "dirty");
    cr_expect_eq(made->severity, QIMG_SEVERITY_WARNING);
    cr_expect_eq(made->level, 3);
    cr_expect_str_eq(made->image, "a\nb");
    cr_expect_str_eq(made->field, "field");
    cr_expect_null(made->value);
    cr_expect_str_eq(made->sentence, "one 1 two");
    cr_expect_str_eq(made->remedy, "first\nsecond 'x'");
    cr_expect_null(made->advice);
    qimg_findings_release(&findings);
    cr_expect_eq(findings.count, 0);
}

Test(finding, the_worst_decides)
{
    struct qimg_findings findings = { 0 };
    static const enum finding_id ids[] = { FINDING_UNVISITED, FINDING_DIRTY, FINDING_MISSING,
                                           FINDING_PROBED };
    static const enum qimg_severity worst[] = { QIMG_SEVERITY_UNVISITED, QIMG_SEVERITY_UNVISITED,
                                                QIMG_SEVERITY_ERROR, QIMG_SEVERITY_ERROR };
    for (size_t i = 0; i < 4; i++) {
        struct finding f = finding_begin(&findings, ids[i], 0, NULL);
        cr_assert_eq(finding_end(&f), 0);
        cr_expect_eq(findings.worst, worst[i], "%zu", i);
    }
    findings_count(&findings, QIMG_SEVERITY_NOTE);
    cr_expect_eq(findings.worst, QIMG_SEVERITY_ERROR);
    qimg_findings_release(&findings);
}

Test(finding, names_are_shown_without_control_characters)
{
    char *shown = finding_show("a\x1b[2Jb");
    cr_expect_str_eq(shown, "'a\\x1b[2Jb'");
    free(shown);
}

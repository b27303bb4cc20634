/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "build_qcow2.h"
#include "chain_rig.h"

TestSuite(survey, .init = rig_set_up, .fini = rig_tear_down);

/* "end: state format name, ..." */
static const char *walk(const char *name)
{
    static char text[4096];
    struct qimg_chain chain;
    if (qimg_survey_chain(rig_survey, name, NULL, &chain, &rig_err) < 0)
        return rig_err.text;
    int at = snprintf(text, sizeof(text), "%s:", qimg_chain_end_name(chain.end));
    for (size_t i = 0; i < chain.count; i++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, " %s %s %s,",
                       qimg_chain_state_name(chain.images[i]->state),
                       chain.images[i]->format ? chain.images[i]->format : "-",
                       chain.images[i]->name);
    qimg_chain_release(&chain);
    return text;
}

Test(survey, walks_to_the_end)
{
    rig_raw("base");
    rig_overlay("mid", "base", "raw");
    rig_overlay("top", "mid", "qcow2");
    cr_expect_str_eq(walk("top"), "complete: read qcow2 top, read qcow2 mid, read raw base,");
    cr_expect_str_eq(walk("base"), "complete: read raw base,");
}

Test(survey, every_damage_ends_the_chain_with_a_state)
{
    rig_overlay("missing", "nothing", "raw");
    cr_expect_str_eq(walk("missing"), "broken: read qcow2 missing, missing raw nothing,");
    cr_assert_eq(mkdir("dir", 0755), 0);
    rig_overlay("directory", "dir", "raw");
    cr_expect_str_eq(walk("directory"), "broken: read qcow2 directory, unreadable raw dir,");
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    rig_overlay("fifo", "pipe", "raw");
    cr_expect_str_eq(walk("fifo"), "broken: read qcow2 fifo, unreadable raw pipe,");
    rig_raw("zeros");
    rig_overlay("damaged", "zeros", "qcow2");
    cr_expect_str_eq(walk("damaged"), "broken: read qcow2 damaged, damaged qcow2 zeros,");
    rig_overlay("foreign", "zeros", "vmdk");
    cr_expect_str_eq(walk("foreign"), "broken: read qcow2 foreign, unsupported vmdk zeros,");
    rig_overlay("guess", "missing", NULL);
    cr_expect_str_eq(walk("guess"), "broken: read qcow2 guess, unread - missing,");
    rig_overlay("remote", "nbd://host/export", "raw");
    cr_expect_str_eq(walk("remote"),
                     "not-visited: read qcow2 remote, remote raw nbd://host/export,");
    rig_overlay("odd", "foo:bar", "raw");
    cr_expect_str_eq(walk("odd"), "broken: read qcow2 odd, nowhere raw foo:bar,");
    rig_overlay("json", "json:{]", "raw");
    cr_expect_str_eq(walk("json"), "broken: read qcow2 json, nowhere raw json:{],");
    cr_expect_str_eq(walk("absent"), "broken: missing - absent,");
}

Test(survey, loops_end_by_identity_whatever_the_name)
{
    rig_overlay("a", "b", "qcow2");
    rig_overlay("b", "./c", "qcow2");
    cr_assert_eq(link("a", "c"), 0);
    struct qimg_chain chain;
    cr_assert_eq(qimg_survey_chain(rig_survey, "a", NULL, &chain, &rig_err), 0);
    cr_expect_eq(chain.end, QIMG_CHAIN_LOOP);
    cr_expect_eq(chain.count, 2);
    cr_expect_eq(chain.loop_to, 0);
    qimg_chain_release(&chain);
    cr_assert_eq(qimg_survey_chain(rig_survey, "b", NULL, &chain, &rig_err), 0);
    cr_expect_eq(chain.end, QIMG_CHAIN_LOOP, "also when its images are known already");
    qimg_chain_release(&chain);
}

Test(survey, a_shared_base_is_one_image)
{
    struct qimg_chain a, b, base;
    struct qimg_stats before, after;
    rig_raw("base");
    rig_overlay("a", "base", "raw");
    rig_overlay("b", "base", "raw");
    rig_overlay("c", "b", "qcow2");
    cr_assert_eq(qimg_survey_chain(rig_survey, "a", NULL, &a, &rig_err), 0);
    cr_assert_eq(qimg_survey_chain(rig_survey, "c", NULL, &b, &rig_err), 0);
    cr_expect_eq(a.images[1], b.images[2]);
    qimg_context_stats(rig_context, &before);
    cr_assert_eq(qimg_survey_chain(rig_survey, "base", NULL, &base, &rig_err), 0);
    cr_expect_eq(base.images[0], a.images[1], "asked for by name, it is still the same");
    qimg_chain_release(&base);
    cr_assert_eq(qimg_survey_chain(rig_survey, "c", NULL, &base, &rig_err), 0);
    qimg_context_stats(rig_context, &after);
    cr_expect_leq(after.reads - before.reads, 10, "c is not read again");
    qimg_chain_release(&a);
    qimg_chain_release(&b);
    qimg_chain_release(&base);
}

Test(survey, data_files_are_looked_at_beside_their_image)
{
    struct qimg_chain chain;
    cr_assert_eq(mkdir("sub", 0755), 0);
    const struct build_extension ext = { .type = 0x44415441, .data = "data.raw", .len = 8 };
    build_qcow2_file(
        &(struct build_qcow2){
            .size = MiB, .data_file = true, .extensions = &ext, .extension_count = 1 },
        "sub/top");
    rig_raw("data.raw");
    cr_assert_eq(qimg_survey_chain(rig_survey, "sub/top", NULL, &chain, &rig_err), 0);
    const struct qimg_chain_reference *data = &chain.images[0]->data_file;
    cr_expect_str_eq(data->recorded, "data.raw");
    cr_expect_eq(data->image->state, QIMG_CHAIN_MISSING, "not taken from the current directory");
    cr_expect_str_eq(data->image->path, "sub/data.raw");
    qimg_chain_release(&chain);
}

Test(survey, the_gate_is_asked)
{
    rig_overlay("leads", "base", "raw");
    rig_raw("base");
    rig_overlay("guess", "base", NULL);
    rig_use_gate((struct qimg_gate_options){ .policy = QIMG_POLICY_AUDIT });
    cr_expect_str_eq(walk("leads"), "broken: read qcow2 leads, refused raw base,");
    rig_use_gate((struct qimg_gate_options){ .no_backing = true });
    cr_expect_str_eq(walk("leads"), "not-visited: read qcow2 leads,");
    rig_use_gate((struct qimg_gate_options){ .max_depth = 1 });
    cr_expect_str_eq(walk("leads"), "too-deep: read qcow2 leads,");
    static const char *const elsewhere[] = { "/usr", NULL };
    rig_use_gate((struct qimg_gate_options){ .allow_dirs = elsewhere });
    cr_expect_str_eq(walk("leads"), "broken: read qcow2 leads, refused raw base,");
    cr_expect_str_eq(walk("guess"), "broken: read qcow2 guess, refused - base,");
    rig_use_gate((struct qimg_gate_options){ .allow_probe = true });
    cr_expect_str_eq(walk("guess"), "complete: read qcow2 guess, read raw base,");
    rig_overlay("deep", "guess", NULL);
    cr_expect_str_eq(walk("deep"), "broken: read qcow2 deep, refused - guess,");
    rig_use_gate((struct qimg_gate_options){ .policy = QIMG_POLICY_QEMU });
    cr_expect_str_eq(walk("deep"), "complete: read qcow2 deep, read qcow2 guess, read raw base,");
}

Test(survey, the_user_may_know_better)
{
    rig_overlay("base", NULL, NULL);
    rig_overlay("guess", "base", NULL);
    rig_overlay("remote", "nbd://host/export", "raw");
    static const struct qimg_chain_assumption told[] = { { 1, "qcow2", false } };
    static const struct qimg_chain_assumption end[] = { { 1, "raw", true } };
    struct qimg_chain_options options = { .assumptions = told, .assumption_count = 1 };
    struct qimg_chain chain;
    cr_assert_eq(qimg_survey_chain(rig_survey, "guess", &options, &chain, &rig_err), 0);
    cr_expect_eq(chain.end, QIMG_CHAIN_COMPLETE);
    cr_expect_str_eq(chain.images[1]->format, "qcow2");
    qimg_chain_release(&chain);
    options.assumptions = end;
    cr_assert_eq(qimg_survey_chain(rig_survey, "remote", &options, &chain, &rig_err), 0);
    cr_expect_eq(chain.end, QIMG_CHAIN_COMPLETE);
    cr_expect_eq(chain.images[1]->state, QIMG_CHAIN_REMOTE);
    qimg_chain_release(&chain);
    cr_expect_str_eq(walk("guess"), "broken: read qcow2 guess, unread - base,", "that once only");
}

Test(survey, json_names_of_the_user_stand_in_for_what_is_recorded)
{
    rig_raw("base");
    rig_overlay("top", "gone", "raw");
    cr_expect_str_eq(
        walk("json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"top\"},"
             "\"backing\":null}") +
            0,
        "complete: read qcow2 json:{\"backing\": null, \"driver\": \"qcow2\", \"file\": "
        "{\"driver\": \"file\", \"filename\": \"top\"}},");
    cr_expect_str_eq(walk("json:{bad"), "Could not parse the JSON options: JSON parse error, "
                                        "invalid keyword 'bad'");
}

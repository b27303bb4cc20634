/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs of "chain" and "fixture".
 */
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "fail.h"
#include "library_job.h"
#include "qimg/audit.h"
#include "qimg/chain.h"
#include "qimg/doctor.h"
#include "qimg/fingerprint.h"
#include "qimg/fix.h"
#include "qimg/fixture.h"
#include "qimg/graph.h"
#include "qimg/move.h"

/* --- looking at chains ------------------------------------------------------------------------ */

static int survey_chain(struct qimg_survey *survey, struct qimg_chain *chain,
                        struct qimg_error *err)
{
    static const struct qimg_chain_options how = { .format = "qcow2" };

    return qimg_survey_chain(survey, "disk.qcow2", &how, chain, err);
}

static int with_chain(struct qimg_context *context,
                      int (*on)(struct qimg_survey *, const struct qimg_chain *,
                                struct qimg_error *),
                      struct qimg_error *err)
{
    struct qimg_survey *survey;
    struct qimg_chain chain;

    TRY(qimg_survey_new(context, &survey, err));
    int rc = survey_chain(survey, &chain, err);
    if (rc == 0) {
        rc = on(survey, &chain, err);
        qimg_chain_release(&chain);
    }
    qimg_survey_free(survey);
    return rc;
}

static int write_xml(struct qimg_survey *survey, const struct qimg_chain *chain,
                     struct qimg_error *err)
{
    const struct qimg_libvirt_options how = { .partial = true, .domain = true };
    const char *needs;
    char *text;

    (void)survey;
    TRY(qimg_chain_libvirt(chain, &how, &text, &needs, err));
    free(text);
    return 0;
}

static int show(struct qimg_context *context, struct qimg_error *err)
{
    return with_chain(context, write_xml, err);
}

static int diagnose(struct qimg_survey *survey, const struct qimg_chain *chain,
                    struct qimg_error *err)
{
    static const struct qimg_doctor_options how = { .as_user = NULL };
    struct qimg_findings findings = { 0 };

    const int rc = qimg_survey_diagnose(survey, chain, &how, &findings, err);
    qimg_findings_release(&findings);
    return rc;
}

static int verify(struct qimg_context *context, struct qimg_error *err)
{
    return with_chain(context, diagnose, err);
}

static int graph(struct qimg_context *context, struct qimg_error *err)
{
    static const char *const here[] = { "." };
    struct qimg_graph all;
    size_t *dependants, count;

    TRY(qimg_graph_read(context, here, 1, &all, err));
    const size_t base = qimg_graph_find(&all, "base.qcow2");
    int rc =
        base == QIMG_GRAPH_NONE ? -ENOENT : qimg_graph_dependants(&all, base, &dependants, &count);
    if (rc == 0)
        free(dependants);
    else
        (void)qimg_fail_errno(err, -rc, "the graph");
    qimg_graph_release(&all);
    return rc;
}

static int audit(struct qimg_context *context, struct qimg_error *err)
{
    struct qimg_audit_policy *policy;
    struct qimg_audit_report report;

    TRY(qimg_audit_policy_new("upload", &policy, err));
    const int rc = qimg_audit(context, "disk.qcow2", policy, &report, err);
    if (rc == 0)
        qimg_audit_report_release(&report);
    qimg_audit_policy_free(policy);
    return rc;
}

/* --- changing chains -------------------------------------------------------------------------- */

static int seal_image(struct qimg_image *image, struct qimg_error *err)
{
    static const struct qimg_seal_options how = { .content = true };

    return qimg_image_seal(image, &how, err);
}

static int seal(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, seal_image, err);
}

static int fix(struct qimg_context *context, struct qimg_error *err)
{
    static const char *const places[] = { "found", NULL };
    const struct qimg_fix_options how = { .format = "qcow2", .relocate = places };
    struct qimg_fix_plan plan;

    TRY(qimg_fix_plan(context, "lost.qcow2", &how, &plan, err));
    const int rc = plan.changes ? qimg_fix_apply(context, &plan, err)
                                : qimg_fail(err, ENOENT, "nothing to mend");
    qimg_fix_plan_release(&plan);
    return rc;
}

static int move(struct qimg_context *context, struct qimg_error *err)
{
    static const char *const sources[] = { "base.qcow2" }, *const here[] = { ".", NULL };
    const struct qimg_move_options how = {
        .sources = sources, .source_count = 1, .destination = "found", .dependants = here
    };
    struct qimg_move_plan plan;

    TRY(qimg_move_plan(context, &how, &plan, err));
    const int rc = qimg_move_apply(context, &plan, err);
    qimg_move_plan_release(&plan);
    return rc;
}

static void complete_move(struct qimg_context *context)
{
    struct qimg_error err;

    (void)!qimg_move_complete(context, "found", &err);
}

/* --- fixtures --------------------------------------------------------------------------------- */

static const char small[] =
    "{\"fixture\": 1, \"name\": \"s\", \"images\": [{\"file\": \"new.qcow2\", \"size\": \"64k\","
    "  \"options\": {\"cluster_size\": \"4k\"},"
    "  \"content\": [{\"at\": 0, \"length\": \"9k\", \"pattern\": \"random\", \"seed\": 1}]}]}";

static int build_spec(struct qimg_context *context, const char *text, struct qimg_error *err)
{
    static const struct qimg_fixture_build_options how = { .dir = "made" };
    struct qimg_fixture_result result;
    struct qimg_fixture *fixture;

    TRY(qimg_fixture_parse(text, strlen(text), NULL, &fixture, err));
    const int rc = qimg_fixture_build(context, fixture, &how, &result, err);
    qimg_fixture_free(fixture);
    return rc;
}

static int build(struct qimg_context *context, struct qimg_error *err)
{
    return build_spec(context, small, err);
}

static const struct qimg_fixture_form form = {
    .count = 2, .size = 64 * KiB, .data = 8 * KiB, .format = "qcow2", .cluster_size = 4096
};

static int build_form(struct qimg_context *context,
                      int (*make)(const struct qimg_fixture_form *, char **, struct qimg_error *),
                      struct qimg_error *err)
{
    char *text;

    TRY(make(&form, &text, err));
    const int rc = build_spec(context, text, err);
    free(text);
    return rc;
}

static int build_chain(struct qimg_context *context, struct qimg_error *err)
{
    return build_form(context, qimg_fixture_chain_spec, err);
}

static int build_overlays(struct qimg_context *context, struct qimg_error *err)
{
    return build_form(context, qimg_fixture_overlays_spec, err);
}

static int hold(struct qimg_context *context, struct qimg_error *err)
{
    const struct qimg_fixture_verify_options how = { .engine = QIMG_ENGINE_THREADS, .threads = 1 };
    struct qimg_fixture_verify_result result;

    (void)context;
    TRY(qimg_fixture_verify(".", &how, &result, err));
    return result.findings ? qimg_fail(err, EBADMSG, "the tree is not as it was made") : 0;
}

static int describe(struct qimg_context *context, struct qimg_error *err)
{
    const struct qimg_fixture_describe_options how = { .format = "qcow2",
                                                       .whole_chain = true,
                                                       .data_name = "data.new" };
    char *text;

    TRY(qimg_fixture_describe(context, "disk.qcow2", &how, &text, err));
    free(text);
    return 0;
}

static int list(struct qimg_context *context, struct qimg_error *err)
{
    struct qimg_fixture *fixture;

    (void)context;
    TRY(qimg_fixture_parse(library_tree, strlen(library_tree), NULL, &fixture, err));
    const bool fine = qimg_fixture_purpose(fixture)[0] == '\0';
    qimg_fixture_free(fixture);
    return fine ? 0 : -EINVAL;
}

const struct library_job chain_jobs[] = {
    { .command = "chain show", .run = show, .images = { "disk.qcow2" } },
    { .command = "chain verify", .run = verify, .images = { "disk.qcow2" } },
    { .command = "chain graph", .run = graph, .images = { "disk.qcow2" } },
    { .command = "chain audit", .run = audit, .images = { "disk.qcow2" } },
    { .command = "chain seal", .run = seal, .images = { "disk.qcow2" } },
    { .command = "chain fix", .run = fix, .images = { "lost.qcow2" } },
    { .command = "chain mv",
      .run = move,
      .images = { "base.qcow2", "found/base.qcow2", "disk.qcow2" },
      .recover = complete_move,
      .moves = true,
      .suspect = true },
    { .command = "fixture build", .run = build, .images = { "made/new.qcow2" } },
    { .command = "fixture chain", .run = build_chain, .images = { "made/overlay-1.qcow2" } },
    { .command = "fixture overlays", .run = build_overlays, .images = { "made/base.qcow2" } },
    { .command = "fixture verify", .run = hold, .images = { "disk.qcow2" } },
    { .command = "fixture describe", .run = describe, .images = { "disk.qcow2" } },
    { .command = "fixture list", .run = list, .images = { "disk.qcow2" } },
    { .command = NULL },
};

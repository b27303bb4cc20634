/* SPDX-License-Identifier: Apache-2.0
 *
 * Judging a chain: every check on every image that was not judged before, then what concerns the
 * chain as a whole. An image's own worst is kept, so that the chains that share it count it.
 */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"

#define LIBVIRT_DEPTH 200 /* images in a chain; libvirt refuses more */

/* Each finding before those that follow from it. */
static doctor_check *const checks[] = {
    doctor_state,        doctor_access,         doctor_flags,       /* the image */
    doctor_backing_name, doctor_backing_format, doctor_names,       /* what it records */
    doctor_data_file,    doctor_sizes,          doctor_fingerprint, /* what is there */
    doctor_base_newer,
};

/* --- helpers of the checks ------------------------------------------------------------------- */

int doctor_words(struct diagnosis *d, const char *value, struct doctor_words *out)
{
    *out = (struct doctor_words){
        .image = finding_show(d->image->name),
        .value = finding_show(value ? value : ""),
        .operand = gate_shell_operand(d->image->name),
        .quoted = gate_shell_quoted(value ? value : ""),
    };
    if (out->image && out->value && out->operand && out->quoted)
        return 0;
    doctor_words_release(out);
    return qimg_fail_memory(d->err);
}

void doctor_words_release(struct doctor_words *words)
{
    free(words->image);
    free(words->value);
    free(words->operand);
    free(words->quoted);
    *words = (struct doctor_words){ 0 };
}

struct finding doctor_begin(struct diagnosis *d, enum finding_id id)
{
    return finding_begin(d->out, id, d->level, d->image->name);
}

int doctor_end(struct diagnosis *d, struct finding *f)
{
    return finding_end(f) < 0 ? qimg_fail_memory(d->err) : 0;
}

/* --- one image ------------------------------------------------------------------------------- */

/* What is wrong with the image wherever it is in a chain. */
static int run_checks(struct diagnosis *d, struct surveyed *s)
{
    if (s->judged)
        return 0;
    s->judged = true;
    for (size_t i = 0; i < ARRAY_COUNT(checks); i++)
        TRY(checks[i](d));
    return 0;
}

/* A guest may write to the top of its chain, and to nothing below: an image that was the top of one
 * chain is asked about once more when it is a base. */
static int run_base_checks(struct diagnosis *d, struct surveyed *s)
{
    if (s->judged_as_base || d->level == 0)
        return 0;
    s->judged_as_base = true;
    return doctor_writers(d);
}

static int judge_image(struct diagnosis *d)
{
    struct surveyed *s = surveyed_of(d->image);
    const enum qimg_severity before = d->out->worst;
    d->out->worst = (enum qimg_severity)s->worst;
    TRY(run_checks(d, s));
    TRY(run_base_checks(d, s));
    s->worst = d->out->worst;
    findings_count(d->out, before);
    return 0;
}

/* --- the chain ------------------------------------------------------------------------------- */

static int judge_loop(struct diagnosis *d)
{
    const struct qimg_chain_image *again = d->chain->images[d->chain->loop_to];
    const char *recorded = d->image->backing.recorded;
    AUTO_WORDS struct doctor_words words = { 0 };
    TRY(doctor_words(d, recorded, &words));
    struct finding f = doctor_begin(d, FINDING_LOOP);
    finding_field(&f, "backing file", recorded);
    char *first = finding_show(again->name);
    finding_say(&f, "backing file %s of image %s is image %zu of the chain again, %s", words.value,
                words.image, d->chain->loop_to, first ? first : "?");
    free(first);
    finding_remedy(&f, "qimg rebase -u -b '' %s", words.operand);
    finding_advise(&f,
                   "that makes %s the last image of the chain: only right if none belongs below it",
                   words.image);
    return doctor_end(d, &f);
}

static int judge_too_deep(struct diagnosis *d)
{
    AUTO_WORDS struct doctor_words words = { 0 };
    TRY(doctor_words(d, d->image->backing.recorded, &words));
    struct finding f = doctor_begin(d, FINDING_TOO_DEEP);
    finding_field(&f, "backing file", d->image->backing.recorded);
    finding_say(&f, "backing file %s of image %s would be image %zu of the chain", words.value,
                words.image, d->chain->count + 1);
    finding_advise(&f, "to allow longer chains: --max-depth=N");
    return doctor_end(d, &f);
}

static int judge_depth(struct diagnosis *d)
{
    if (d->chain->count <= LIBVIRT_DEPTH)
        return 0;
    AUTO_WORDS struct doctor_words words = { 0 };
    d->level = 0;
    d->image = d->chain->images[0];
    TRY(doctor_words(d, NULL, &words));
    struct finding f = doctor_begin(d, FINDING_DEEP);
    char count[32];
    (void)snprintf(count, sizeof(count), "%zu", d->chain->count);
    finding_field(&f, "depth", count);
    finding_say(&f, "the chain of image %s has %s images; libvirt refuses more than %d",
                words.image, count, LIBVIRT_DEPTH);
    return doctor_end(d, &f);
}

static int judge_chain(struct diagnosis *d)
{
    d->level = d->chain->count - 1;
    d->image = d->chain->images[d->level];
    d->below = NULL;
    if (d->chain->end == QIMG_CHAIN_LOOP)
        TRY(judge_loop(d));
    if (d->chain->end == QIMG_CHAIN_TOO_DEEP)
        TRY(judge_too_deep(d));
    return judge_depth(d);
}

int qimg_survey_diagnose(struct qimg_survey *survey, const struct qimg_chain *chain,
                         const struct qimg_doctor_options *options, struct qimg_findings *out,
                         struct qimg_error *err)
{
    static const struct qimg_doctor_options defaults;
    struct diagnosis d = { .survey = survey,
                           .chain = chain,
                           .options = options ? options : &defaults,
                           .out = out,
                           .err = err };
    for (d.level = 0; d.level < chain->count; d.level++) {
        d.image = chain->images[d.level];
        d.below = d.level + 1 < chain->count ? chain->images[d.level + 1] : NULL;
        TRY(judge_image(&d));
    }
    return judge_chain(&d);
}

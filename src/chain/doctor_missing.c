/* SPDX-License-Identifier: Apache-2.0
 *
 * A backing file is not where its name leads. Two causes can be seen from here: the relative name
 * was meant from another directory (the current one, or the one that the image really lies in), and
 * the file lies beside the image, as after a move. Nothing is a candidate that does not look like
 * the recorded format, and nothing is looked for where the gate would not let it be opened.
 */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "doctor.h"
#include "real_path.h"

/* What a candidate must look like. */
static bool has_format(const struct diagnosis *d, const char *path)
{
    const char *format = d->image->backing.recorded_format, *content;
    if (survey_content(d->survey, path, &content) < 0)
        return false;
    return !format || strcmp(format, content ? content : "raw") == 0;
}

/* Makes @path the answer if it is a candidate; takes it over. */
static bool take_candidate(const struct diagnosis *d, char *path, char **out)
{
    if (path && has_format(d, path)) {
        *out = path;
        return true;
    }
    free(path);
    return false;
}

/* From where the relative name would lead somewhere, absolute. NULL: from nowhere that we know. */
static char *find_elsewhere(const struct diagnosis *d, const char **from)
{
    const char *recorded = d->image->backing.recorded;
    char *found = NULL;
    AUTO_FREE char *real = d->image->path ? real_path(d->image->path) : NULL;
    *from = "the directory that the image's symbolic link leads to";
    if (real && take_candidate(d, resolve_join(real, recorded), &found))
        return found;
    *from = "the current directory";
    if (take_candidate(d, survey_absolute(d->survey, recorded), &found))
        return found;
    return NULL;
}

/* A file of that name beside the image: the name to record for it. */
static char *find_beside(const struct diagnosis *d)
{
    const char *slash = strrchr(d->image->backing.recorded, '/');
    const char *base = slash ? slash + 1 : d->image->backing.recorded;
    char *found = NULL;
    if (*base == '\0' || !d->image->path)
        return NULL;
    if (!take_candidate(d, resolve_join(d->image->path, base), &found))
        return NULL;
    free(found);
    return str_format("%s%s", resolve_has_protocol(base) ? "./" : "", base);
}

static void propose(struct finding *f, const struct diagnosis *d, const char *name,
                    const struct doctor_words *words)
{
    const char *format = d->image->backing.recorded_format, *content = NULL;
    AUTO_FREE char *quoted = gate_shell_quoted(name);
    if (!format && survey_content(d->survey, d->below->path, &content) == 0)
        format = content ? content : "raw";
    f->failed |= !quoted;
    if (quoted)
        finding_remedy(f, "qimg rebase -u -F %s -b %s %s", format ? format : "raw", quoted,
                       words->operand);
}

static int tell_elsewhere(struct diagnosis *d, const char *found, const char *from,
                          const struct doctor_words *words)
{
    AUTO_FREE char *there = finding_show(found);
    AUTO_FREE char *looked = finding_show(d->below->path);
    if (!there || !looked)
        return qimg_fail_memory(d->err);
    struct finding f = doctor_begin(d, FINDING_RELATIVE_ELSEWHERE);
    finding_field(&f, "backing file", d->image->backing.recorded);
    finding_say(&f,
                "backing file %s of image %s is looked for beside the image, at %s, where nothing "
                "is; from %s it would lead to %s",
                words->value, words->image, looked, from, there);
    propose(&f, d, found, words);
    finding_advise(&f, "only if that is the file that was meant");
    return doctor_end(d, &f);
}

int doctor_missing(struct diagnosis *d)
{
    const struct qimg_chain_reference *reference = &d->image->backing;
    const bool may_look = !reference->json && !d->survey->context->gate.allow_dirs;
    AUTO_WORDS struct doctor_words words = { 0 };
    const char *from;
    TRY(doctor_words(d, reference->recorded, &words));
    AUTO_FREE char *elsewhere = may_look && reference->relative ? find_elsewhere(d, &from) : NULL;
    if (elsewhere)
        return tell_elsewhere(d, elsewhere, from, &words);

    AUTO_FREE char *beside = may_look ? find_beside(d) : NULL;
    AUTO_FREE char *looked = finding_show(d->below->path);
    if (!looked)
        return qimg_fail_memory(d->err);
    struct finding f = doctor_begin(d, FINDING_MISSING);
    finding_field(&f, "backing file", reference->recorded);
    finding_say(&f, "backing file %s of image %s is missing: there is nothing at %s", words.value,
                words.image, looked);
    if (beside) {
        propose(&f, d, beside, &words);
        finding_advise(&f, "a file of that name and format lies beside the image: only if it is "
                           "the one that was meant");
    } else {
        finding_advise(&f,
                       "to look for it below a directory: qimg chain fix --relocate=DIR --apply %s",
                       words.operand);
        finding_advise(&f, "to name it: qimg rebase -u -F %s -b NEW %s",
                       reference->recorded_format ? reference->recorded_format : "FORMAT",
                       words.operand);
    }
    return doctor_end(d, &f);
}

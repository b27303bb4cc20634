/* SPDX-License-Identifier: Apache-2.0
 *
 * How an image names its backing file: where the name leads, and whether the format that is
 * recorded for it is there, is a format, and is that of the content. What must change is the
 * naming image's header, so that findings and remedies are about that image.
 */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "format.h"
#include "qimg/image.h"

#define FIELD_NAME   "backing file"
#define FIELD_FORMAT "backing file format"

/* --- the name ------------------------------------------------------------------------------- */

static int tell_name(struct diagnosis *d, enum finding_id id, const char *what, const char *advice)
{
    const char *recorded = d->image->backing.recorded;
    AUTO_WORDS struct doctor_words words = { 0 };
    TRY(doctor_words(d, recorded, &words));
    struct finding f = doctor_begin(d, id);
    finding_field(&f, FIELD_NAME, recorded);
    finding_say(&f, "backing file %s of image %s %s", words.value, words.image, what);
    if (d->below->problem && d->below->state != QIMG_CHAIN_REMOTE)
        finding_say(&f, "(%s)", d->below->problem);
    if (advice)
        finding_advise(&f, "%s", advice);
    return doctor_end(d, &f);
}

/* A name of an unknown protocol is at least a name. */
static int tell_nowhere(struct diagnosis *d)
{
    const char *recorded = d->image->backing.recorded;
    const bool json = strncmp(recorded, "json:", 5) == 0;
    const bool protocol = !json && resolve_has_protocol(recorded);
    return tell_name(d, protocol ? FINDING_UNSUPPORTED_NAME : FINDING_BAD_NAME,
                     "cannot be understood", NULL);
}

int doctor_backing_name(struct diagnosis *d)
{
    if (!d->below)
        return 0;
    switch (d->below->state) {
    case QIMG_CHAIN_MISSING:
        return doctor_missing(d);
    case QIMG_CHAIN_UNREADABLE:
        if (d->below->problem_code == EACCES)
            return 0; /* doctor_access() tells, of that image */
        return tell_name(d, FINDING_UNREADABLE, "cannot be read", NULL);
    case QIMG_CHAIN_REFUSED:
        return tell_name(d, FINDING_REFUSED, "is kept shut", NULL);
    case QIMG_CHAIN_REMOTE:
        if (d->chain->end == QIMG_CHAIN_COMPLETE)
            return 0; /* the user says what it is, and that nothing is below */
        return tell_name(d, FINDING_UNVISITED, "is on the network and was not visited", NULL);
    case QIMG_CHAIN_NOWHERE:
        return tell_nowhere(d);
    case QIMG_CHAIN_READ:
    case QIMG_CHAIN_UNREAD:
    case QIMG_CHAIN_UNSUPPORTED:
    case QIMG_CHAIN_DAMAGED:
        return 0;
    }
    return 0;
}

/* --- the format ------------------------------------------------------------------------------ */

static const char *content_of(const struct qimg_chain_image *image)
{
    return image->content ? image->content : "raw";
}

/* The name to record with a format: a json: name that describes no more than a file cannot have
 * one beside it (QEMU refuses that), the plain name can. To be freed; NULL: no memory. */
static char *name_to_record(const struct diagnosis *d)
{
    const struct qimg_chain_image *below = d->below;
    const bool plain = !d->image->backing.json || below->has_window || !below->absolute;
    return gate_shell_quoted(plain ? d->image->backing.recorded : below->absolute);
}

/* The command that records what the content looks like, and what speaks against trusting that. */
static void remedy_format(struct finding *f, const struct diagnosis *d,
                          const struct doctor_words *name)
{
    const char *content = content_of(d->below);
    char *quoted = name_to_record(d);
    f->failed |= !quoted;
    if (quoted)
        finding_remedy(f, "qimg rebase -u -F %s -b %s %s", content, quoted, name->operand);
    free(quoted);
    const bool readable = format_find(content) != NULL;
    if (d->below->content_leads_on || !readable)
        finding_advise(f, "read as %s it %s further files: only if you trust what it names",
                       content, d->below->content_leads_on ? "names" : "may name");
}

static int tell_format(struct diagnosis *d, enum finding_id id, const char *format,
                       const char *advice)
{
    AUTO_WORDS struct doctor_words name = { 0 };
    TRY(doctor_words(d, d->image->backing.recorded, &name));
    char *shown = finding_show(format ? format : "");
    struct finding f = doctor_begin(d, id);
    finding_field(&f, FIELD_FORMAT, format);
    if (format)
        finding_say(&f, "image %s records format %s for its backing file %s, whose content is %s",
                    name.image, shown ? shown : "?", name.value, content_of(d->below));
    else
        finding_say(&f,
                    "image %s does not record the format of its backing file %s, whose content "
                    "looks like %s",
                    name.image, name.value, content_of(d->below));
    free(shown);
    remedy_format(&f, d, &name);
    if (advice)
        finding_advise(&f, "%s", advice);
    return doctor_end(d, &f);
}

static int tell_probed(struct diagnosis *d)
{
    AUTO_WORDS struct doctor_words name = { 0 };
    TRY(doctor_words(d, d->image->backing.recorded, &name));
    struct finding f = doctor_begin(d, FINDING_PROBED);
    finding_field(&f, FIELD_FORMAT, NULL);
    finding_say(&f,
                "image %s does not record the format of its backing file %s: it was taken for %s "
                "by its content",
                name.image, name.value, d->below->format);
    remedy_format(&f, d, &name);
    return doctor_end(d, &f);
}

static bool is_protocol(const char *format)
{
    return strcmp(format, "file") == 0 || strcmp(format, "host_device") == 0;
}

int doctor_backing_format(struct diagnosis *d)
{
    const struct qimg_chain_image *below = d->below;
    if (!below || !below->file.there || below->state == QIMG_CHAIN_UNREADABLE ||
        below->state == QIMG_CHAIN_REFUSED || d->image->backing.by_user)
        return 0;
    const char *format = d->image->backing.recorded_format;
    if (!format && below->format)
        return below->probed ? tell_probed(d) : 0;
    if (!format)
        return tell_format(d, FINDING_FORMAT_MISSING, NULL, NULL);
    if (surveyed_of(below)->place.protocol_only && below->state == QIMG_CHAIN_DAMAGED)
        return 0; /* doctor_names() tells */
    if (!qimg_format_known(format) || is_protocol(format))
        return tell_format(d, FINDING_FORMAT_UNKNOWN, format, NULL);
    if (strcmp(format, content_of(below)) == 0)
        return 0;
    if (strcmp(format, "raw") != 0)
        return tell_format(d, FINDING_FORMAT_CONFLICT, format, NULL);
    return tell_format(d, FINDING_RAW_HAS_SIGNATURE, format,
                       "only if it was made as that: a guest may have written the signature to "
                       "its own raw disk");
}

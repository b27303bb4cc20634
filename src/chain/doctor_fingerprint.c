/* SPDX-License-Identifier: Apache-2.0
 *
 * Does the backing file compare with the fingerprint that its overlay keeps? Only images that keep
 * one are opened again, for their mapping.
 */
#include "cleanup.h"
#include "doctor.h"
#include "fingerprint.h"

static const struct verdict_words {
    enum finding_id id;
    const char *what, *advice;
} verdicts[] = {
    [QIMG_FINGERPRINT_CHANGED] = { FINDING_FINGERPRINT_CHANGED, "is not what it was",
                                   "only if the backing file is right as it is: what the overlay "
                                   "was made over is another content" },
    [QIMG_FINGERPRINT_TOUCHED] = { FINDING_FINGERPRINT_TOUCHED, "may not be what it was",
                                   "only if the backing file was copied or moved and not "
                                   "changed" },
    [QIMG_FINGERPRINT_STALE] = { FINDING_FINGERPRINT_STALE, "has no fingerprint of its own", NULL },
    [QIMG_FINGERPRINT_UNKNOWN] = { FINDING_FINGERPRINT_UNKNOWN, "has no readable fingerprint",
                                   NULL },
};

static int tell(struct diagnosis *d, const struct qimg_fingerprint_check *found)
{
    const struct verdict_words *v = &verdicts[found->state];
    AUTO_WORDS struct doctor_words words = { 0 };
    AUTO_FREE char *text = gate_printable(found->text);
    TRY(doctor_words(d, d->image->backing.recorded, &words));
    struct finding f = doctor_begin(d, v->id);
    finding_field(&f, "fingerprint", text);
    finding_say(&f, "backing file %s of image %s %s: %s", words.value, words.image, v->what,
                text ? text : "");
    finding_remedy(&f, "qimg chain seal %s", words.operand);
    if (v->advice)
        finding_advise(&f, "%s", v->advice);
    return doctor_end(d, &f);
}

/* What keeps the files from being compared is other checks' to report. */
static bool compare(struct diagnosis *d, struct qimg_fingerprint_check *found)
{
    const struct qimg_open_options how = { .format = d->image->format,
                                           .no_backing = true,
                                           .share = QIMG_SHARE_FORCE };
    struct qimg_context *context = d->survey->context;
    struct qimg_image *image;
    struct qimg_error unheard;
    qimg_error_clear(&unheard);
    if (qimg_image_open(context, d->image->name, &how, &image, &unheard) < 0)
        return false;
    const int rc = qimg_image_verify_backing(image, d->options->content, found, &unheard);
    qimg_image_close(image);
    return rc == 0;
}

int doctor_fingerprint(struct diagnosis *d)
{
    struct qimg_fingerprint_check found;
    if (d->image->state != QIMG_CHAIN_READ || !surveyed_of(d->image)->sealed || !d->below ||
        d->below->state != QIMG_CHAIN_READ)
        return 0;
    if (!compare(d, &found) || found.state == QIMG_FINGERPRINT_NONE)
        return 0;
    surveyed_of(d->image)->vouched =
        found.state != QIMG_FINGERPRINT_STALE && found.state != QIMG_FINGERPRINT_UNKNOWN;
    return found.state == QIMG_FINGERPRINT_SAME ? 0 : tell(d, &found);
}

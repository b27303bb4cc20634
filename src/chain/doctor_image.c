/* SPDX-License-Identifier: Apache-2.0
 *
 * An image by itself: can it be read at all, and what do its flags say.
 */
#include <string.h>

#include "doctor.h"

/* --- state ----------------------------------------------------------------------------------- */

static int tell_state(struct diagnosis *d, enum finding_id id, const char *what)
{
    AUTO_WORDS struct doctor_words words = { 0 };
    TRY(doctor_words(d, NULL, &words));
    struct finding f = doctor_begin(d, id);
    finding_field(&f, "file", d->image->path);
    finding_say(&f, "image %s %s: %s", words.image, what, d->image->problem);
    return doctor_end(d, &f);
}

static bool is_of_its_format(const struct qimg_chain_image *image)
{
    return image->content && image->format && strcmp(image->content, image->format) == 0;
}

/* What is below the top is its overlay's finding, where the overlay is to be mended. */
int doctor_state(struct diagnosis *d)
{
    const struct qimg_chain_image *image = d->image;
    const bool top = d->level == 0;
    switch (image->state) {
    case QIMG_CHAIN_DAMAGED:
        if (top || is_of_its_format(image))
            return tell_state(d, FINDING_HEADER_CORRUPT, "has a header that cannot be read");
        return 0;
    case QIMG_CHAIN_UNSUPPORTED:
        if (top || is_of_its_format(image))
            return tell_state(d, FINDING_UNSUPPORTED, "was not read");
        return 0;
    case QIMG_CHAIN_MISSING:
        return top ? tell_state(d, FINDING_MISSING, "is missing") : 0;
    case QIMG_CHAIN_UNREADABLE:
        return top && image->problem_code != EACCES
                   ? tell_state(d, FINDING_UNREADABLE, "cannot be read")
                   : 0;
    case QIMG_CHAIN_READ:
    case QIMG_CHAIN_UNREAD:
    case QIMG_CHAIN_REFUSED:
    case QIMG_CHAIN_REMOTE:
    case QIMG_CHAIN_NOWHERE:
        return 0;
    }
    return 0;
}

/* --- flags ----------------------------------------------------------------------------------- */

static int tell_flag(struct diagnosis *d, enum finding_id id, const char *flag, const char *what)
{
    AUTO_WORDS struct doctor_words words = { 0 };
    TRY(doctor_words(d, NULL, &words));
    struct finding f = doctor_begin(d, id);
    finding_field(&f, "incompatible features", flag);
    finding_say(&f, "image %s is marked %s: %s", words.image, flag, what);
    finding_remedy(&f, "qimg check -q -r all %s", words.operand);
    return doctor_end(d, &f);
}

int doctor_flags(struct diagnosis *d)
{
    const struct qimg_info *info = &d->image->info;
    if (info->qcow2 && info->qcow2->corrupt)
        TRY(tell_flag(d, FINDING_MARKED_CORRUPT, "corrupt",
                      "its structures were found wrong, and it is not written any more"));
    if (info->dirty_flag)
        return tell_flag(d, FINDING_DIRTY, "dirty",
                         "it was not closed cleanly, and its refcounts may be wrong");
    return 0;
}

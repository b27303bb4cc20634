/* SPDX-License-Identifier: Apache-2.0
 *
 * Is a backing file, or its data file, open for writing? The top image's writers are its guest.
 */
#include <stdlib.h>

#include "cleanup.h"
#include "doctor.h"
#include "writers.h"

static int tell_writer(struct diagnosis *d, const struct qimg_chain_image *written, const char *who)
{
    AUTO_WORDS struct doctor_words words = { 0 };
    TRY(doctor_words(d, written->name, &words));
    AUTO_FREE char *process = gate_printable(who);
    if (!process)
        return qimg_fail_memory(d->err);
    struct finding f = doctor_begin(d, FINDING_BASE_WRITTEN);
    finding_field(&f, "writer", who);
    finding_say(&f, "backing file %s is open for writing by %s", words.value, process);
    finding_advise(&f, "unless that is a commit, the guests of all images above it see their disks "
                       "change: stop it, and look at what it wrote");
    return doctor_end(d, &f);
}

static int judge_file(struct diagnosis *d, const struct qimg_chain_image *image)
{
    AUTO_FREE char *who = NULL;
    if (writers_find(d->survey->writers, &image->file, &who) < 0)
        return qimg_fail_memory(d->err);
    return who ? tell_writer(d, image, who) : 0;
}

int doctor_writers(struct diagnosis *d)
{
    if (!d->options->find_writers || !d->image->file.there)
        return 0;
    if (!d->survey->writers && writers_new(&d->survey->writers) < 0)
        return qimg_fail_memory(d->err);
    TRY(judge_file(d, d->image));
    return d->image->data_file.image ? judge_file(d, d->image->data_file.image) : 0;
}

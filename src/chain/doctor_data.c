/* SPDX-License-Identifier: Apache-2.0
 *
 * The external data file of an image: named, there, and the same file to everybody. Its name is a
 * file's literally: QEMU takes it from the current directory, libvirt (and qimg) from the image's.
 */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "doctor.h"

#define FIELD "data file"

/* @name as a value in a list of options: "," is doubled. NULL: no memory. */
static char *in_option_list(const char *name)
{
    struct str text = { 0 };
    for (; *name; name++)
        str_append(&text, *name == ',' ? ",," : name, *name == ',' ? 2 : 1);
    return str_take(&text);
}

/* The command that records @name. With @open_it the image is opened with that file in place of the
 * one that cannot be opened. */
static void remedy_name(struct finding *f, const struct diagnosis *d, const char *name,
                        bool open_it)
{
    AUTO_FREE char *value = in_option_list(name);
    AUTO_FREE char *image = d->image->path ? in_option_list(d->image->path) : NULL;
    AUTO_FREE char *option = value ? str_format("data_file=%s", value) : NULL;
    AUTO_FREE char *opened = value && image
                                 ? str_format("driver=qcow2,file.driver=file,file.filename=%s,"
                                              "data-file.driver=file,data-file.filename=%s",
                                              image, value)
                                 : NULL;
    AUTO_FREE char *quoted = option ? gate_shell_quoted(option) : NULL;
    AUTO_FREE char *operand =
        opened && open_it ? gate_shell_quoted(opened) : gate_shell_operand(d->image->name);
    f->failed |= !quoted || !operand;
    if (!f->failed)
        finding_remedy(f, "qimg amend -q%s -o %s %s", open_it ? " --image-opts" : " -f qcow2",
                       quoted, operand);
}

/* Makes @path the answer if a file is there; takes it over. */
static bool take_candidate(char *path, char **out)
{
    struct qimg_chain_file file;
    if (path && survey_stat(path, &file) == 0) {
        *out = path;
        return true;
    }
    free(path);
    return false;
}

/* The file by that name in the current directory, where QEMU made it, or beside the image; as an
 * absolute name. NULL: neither. */
static char *find_candidate(const struct diagnosis *d)
{
    const char *recorded = d->image->data_file.recorded;
    const char *slash = strrchr(recorded, '/');
    const char *base = slash ? slash + 1 : recorded;
    char *found = NULL;
    if (d->survey->context->gate.allow_dirs || *base == '\0' || !d->image->absolute)
        return NULL;
    if (take_candidate(survey_absolute(d->survey, recorded), &found))
        return found;
    return take_candidate(resolve_join(d->image->absolute, base), &found) ? found : NULL;
}

static int tell_missing(struct diagnosis *d, const struct doctor_words *words)
{
    AUTO_FREE char *candidate = find_candidate(d);
    AUTO_FREE char *looked = finding_show(d->image->data_file.image->path);
    if (!looked)
        return qimg_fail_memory(d->err);
    struct finding f = doctor_begin(d, FINDING_DATA_FILE_MISSING);
    finding_field(&f, FIELD, d->image->data_file.recorded);
    finding_say(&f, "data file %s of image %s is missing: there is nothing at %s", words->value,
                words->image, looked);
    if (candidate) {
        remedy_name(&f, d, candidate, true);
        finding_advise(&f, "only if that is the file that was meant");
    } else {
        finding_advise(&f, "without it the image has no content: bring it back to that place");
    }
    return doctor_end(d, &f);
}

static int tell_empty(struct diagnosis *d, const struct doctor_words *words)
{
    struct finding f = doctor_begin(d, FINDING_DATA_FILE_EMPTY);
    finding_field(&f, FIELD, "");
    finding_say(&f, "image %s keeps its data in an external file and does not name it",
                words->image);
    finding_advise(&f,
                   "to name it: qimg amend --image-opts -o data_file=FILE "
                   "driver=qcow2,file.filename=%s,data-file.driver=file,data-file.filename=FILE",
                   words->operand);
    return doctor_end(d, &f);
}

static int tell_unreadable(struct diagnosis *d, const struct doctor_words *words)
{
    const struct qimg_chain_image *file = d->image->data_file.image;
    if (file->problem_code == EACCES)
        return 0; /* doctor_access() tells */
    const bool refused = file->state == QIMG_CHAIN_REFUSED;
    struct finding f = doctor_begin(d, refused ? FINDING_REFUSED : FINDING_UNREADABLE);
    finding_field(&f, FIELD, d->image->data_file.recorded);
    finding_say(&f, "data file %s of image %s %s (%s)", words->value, words->image,
                refused ? "is kept shut" : "cannot be read", file->problem);
    return doctor_end(d, &f);
}

/* Does the name lead to another file where it is not taken from the image's directory, or not as
 * a file's? */
static bool reads_differently(const struct diagnosis *d)
{
    const struct qimg_chain_reference *reference = &d->image->data_file;
    const struct qimg_chain_file *ours = &reference->image->file;
    struct qimg_chain_file theirs;
    if (reference->by_user)
        return false;
    if (resolve_has_protocol(reference->recorded))
        return true;
    if (!reference->relative)
        return false;
    AUTO_FREE char *there = survey_absolute(d->survey, reference->recorded);
    return !there || survey_stat(there, &theirs) < 0 || theirs.device != ours->device ||
           theirs.inode != ours->inode;
}

static int tell_ambiguous(struct diagnosis *d, const struct doctor_words *words)
{
    struct finding f = doctor_begin(d, FINDING_DATA_FILE_NAME);
    finding_field(&f, FIELD, d->image->data_file.recorded);
    finding_say(&f,
                "data file %s of image %s is taken from the image's directory by libvirt and qimg, "
                "and from the current directory, as a plain file name, by QEMU",
                words->value, words->image);
    remedy_name(&f, d, d->image->data_file.image->absolute, false);
    return doctor_end(d, &f);
}

int doctor_data_file(struct diagnosis *d)
{
    const struct qimg_chain_reference *reference = &d->image->data_file;
    if (!reference->recorded)
        return 0;
    AUTO_WORDS struct doctor_words words = { 0 };
    TRY(doctor_words(d, reference->recorded, &words));
    if (*reference->recorded == '\0')
        return tell_empty(d, &words);
    if (!reference->image)
        return 0;
    if (reference->image->state == QIMG_CHAIN_MISSING)
        return tell_missing(d, &words);
    if (reference->image->state != QIMG_CHAIN_READ)
        return tell_unreadable(d, &words);
    return reads_differently(d) ? tell_ambiguous(d, &words) : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * An image beside its backing file: sizes, times, and names that lead to it only by luck.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cleanup.h"
#include "doctor.h"
#include "real_path.h"
#include "remote.h"

#define LIBVIRT_READS 33280 /* bytes of an image that libvirt looks at */
#define NS_PER_SECOND INT64_C(1000000000)

static bool both_read(const struct diagnosis *d)
{
    return d->below && d->image->state == QIMG_CHAIN_READ && d->below->state == QIMG_CHAIN_READ;
}

/* --- sizes ----------------------------------------------------------------------------------- */

/* Its size means something only where it was read as what it is. */
static bool is_misread(const struct qimg_chain_image *image)
{
    return image->content && strcmp(image->content, image->format) != 0;
}

int doctor_sizes(struct diagnosis *d)
{
    if (!both_read(d) || is_misread(d->below) ||
        d->image->info.virtual_size == d->below->info.virtual_size)
        return 0;
    const uint64_t size = d->image->info.virtual_size, below = d->below->info.virtual_size;
    AUTO_WORDS struct doctor_words words = { 0 };
    char value[24];
    TRY(doctor_words(d, d->image->backing.recorded, &words));
    (void)snprintf(value, sizeof(value), "%" PRIu64, size);
    struct finding f = doctor_begin(d, size < below ? FINDING_SIZE_SMALLER : FINDING_SIZE_LARGER);
    finding_field(&f, "virtual size", value);
    finding_say(&f, "image %s has %" PRIu64 " bytes, its backing file %s has %" PRIu64 ":",
                words.image, size, words.value, below);
    if (size < below) {
        finding_say(&f, "the rest of the backing file is out of reach");
        finding_remedy(&f, "qimg resize -q -f %s %s %" PRIu64, d->image->format, words.operand,
                       below);
        finding_advise(&f, "what is added reads as zeros, not as the backing file");
    } else {
        finding_say(&f, "what is beyond that reads as zeros");
    }
    return doctor_end(d, &f);
}

/* --- times ----------------------------------------------------------------------------------- */

static void say_time(char out[static 32], int64_t ns)
{
    const time_t seconds = (time_t)(ns / NS_PER_SECOND);
    struct tm local;
    char text[24] = "";
    if (localtime_r(&seconds, &local))
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
    (void)snprintf(out, 32, "%s.%03d", text, (int)(ns % NS_PER_SECOND / 1000000));
}

int doctor_base_newer(struct diagnosis *d)
{
    if (!both_read(d) || surveyed_of(d->image)->vouched)
        return 0;
    const struct qimg_chain_file *file = &d->image->file;
    const bool has_birth = file->born_ns != 0;
    const int64_t made = has_birth ? file->born_ns : file->modified_ns;
    if (d->below->file.modified_ns <= made)
        return 0;
    AUTO_WORDS struct doctor_words words = { 0 };
    char then[32], now[32];
    TRY(doctor_words(d, d->image->backing.recorded, &words));
    say_time(then, made);
    say_time(now, d->below->file.modified_ns);
    struct finding f = doctor_begin(d, FINDING_BASE_NEWER);
    finding_field(&f, "time of change", now);
    finding_say(&f, "backing file %s of image %s changed at %s, after the image was %s at %s",
                words.value, words.image, now, has_birth ? "made" : "last written", then);
    finding_remedy(&f, "qimg chain seal -q %s", words.operand);
    finding_advise(&f,
                   "only if it is right as it is: a commit, a repair or a copy changes its time "
                   "too; after a write to it the image's guest sees a mixture");
    return doctor_end(d, &f);
}

/* --- names ----------------------------------------------------------------------------------- */

/* A name that will lead to the same file from everywhere: how to record it. */
static int tell_fragile(struct diagnosis *d, enum finding_id id, const char *why)
{
    const char *recorded = d->image->backing.recorded;
    AUTO_WORDS struct doctor_words words = { 0 };
    TRY(doctor_words(d, recorded, &words));
    AUTO_FREE char *absolute = gate_shell_quoted(d->below->absolute ? d->below->absolute : "");
    if (!absolute)
        return qimg_fail_memory(d->err);
    const char *format = d->below->format ? d->below->format : d->below->content;
    struct finding f = doctor_begin(d, id);
    finding_field(&f, "backing file", recorded);
    finding_say(&f, "backing file %s of image %s %s", words.value, words.image, why);
    if (d->below->absolute && !d->below->has_window)
        finding_remedy(&f, "qimg rebase -u -F %s -b %s %s", format ? format : "raw", absolute,
                       words.operand);
    return doctor_end(d, &f);
}

/* Would the name lead elsewhere from the directory that the image really lies in? */
static bool depends_on_link(const struct diagnosis *d)
{
    struct stat st;
    struct qimg_chain_file there = { 0 };
    const struct qimg_chain_file *here = &d->below->file;
    if (!d->image->backing.relative || !d->image->path || lstat(d->image->path, &st) < 0 ||
        !S_ISLNK(st.st_mode))
        return false;
    AUTO_FREE char *real = real_path(d->image->path);
    AUTO_FREE char *joined = real ? resolve_join(real, d->image->backing.recorded) : NULL;
    if (!joined || survey_stat(joined, &there) < 0)
        return joined != NULL;
    return there.device != here->device || there.inode != here->inode;
}

int doctor_names(struct diagnosis *d)
{
    const struct qimg_chain_reference *reference = &d->image->backing;
    if (!d->below || !reference->recorded || reference->by_user)
        return 0;
    if (remote_has_credentials(reference->recorded))
        TRY(tell_fragile(d, FINDING_CREDENTIALS,
                         "holds a user or a password, which whoever may read the image can read"));
    if (surveyed_of(d->image)->name_end > LIBVIRT_READS)
        TRY(tell_fragile(d, FINDING_HIDDEN_BACKING,
                         "stands where libvirt does not look: a guest started by libvirt would see "
                         "zeros in its place"));
    if (!d->below->file.there)
        return 0;
    if (reference->json && d->below->path && *d->below->path != '/')
        return tell_fragile(d, FINDING_JSON_RELATIVE,
                            "is relative to the current directory of whoever opens the image");
    if (reference->json && d->below->state == QIMG_CHAIN_DAMAGED &&
        surveyed_of(d->below)->place.protocol_only)
        return tell_fragile(d, FINDING_QEMU_WONT_OPEN,
                            "names no format inside json: while one is recorded: QEMU refuses "
                            "that, libvirt does not");
    if (depends_on_link(d))
        return tell_fragile(d, FINDING_SYMLINK_DEPENDENT,
                            "is relative, and the image was reached through a symbolic link: from "
                            "the directory that it really lies in, the name leads elsewhere");
    return 0;
}

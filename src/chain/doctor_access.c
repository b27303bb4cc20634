/* SPDX-License-Identifier: Apache-2.0
 *
 * May the image, and its data file, be read? Of images that we could read ourselves this is asked
 * only for another user.
 */
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "cleanup.h"
#include "doctor.h"

static void say_block(struct finding *f, const struct access_user *user,
                      const struct access_block *block, const char *file)
{
    char *where = finding_show(block->path);
    char *operand = gate_shell_operand(block->path);
    char *image = finding_show(file);
    const char right = block->directory ? 'x' : 'r';
    f->failed |= !where || !operand || !image;
    if (!f->failed) {
        finding_say(f, "user '%s' may not read %s: %s %s has mode %04o, owner %u and group %u",
                    user->name, image, block->directory ? "directory" : "file", where,
                    (unsigned)block->mode, (unsigned)block->owner, (unsigned)block->group);
        finding_remedy(f, "chmod %c+%c %s", block->whose, right, operand);
        if (block->whose != 'u')
            finding_advise(f, "or give the right to that user alone: setfacl -m u:%s:%c %s",
                           user->name, right, operand);
    }
    free(where);
    free(operand);
    free(image);
}

/* @file: absolute; it cannot be read, and the kernel said @code. */
static int tell_shut(struct diagnosis *d, const struct access_user *user, const char *file,
                     int code)
{
    struct access_block block = { 0 };
    struct finding f = doctor_begin(d, FINDING_PERMISSION);
    finding_field(&f, "file", file);
    const int rc = access_find_block(user, file, &block);
    if (rc > 0) {
        say_block(&f, user, &block, file);
    } else {
        char *shown = finding_show(file);
        finding_say(&f, "user '%s' may not read %s: %s", user->name, shown ? shown : "?",
                    strerror(code));
        free(shown);
    }
    free(block.path);
    return doctor_end(d, &f);
}

static int judge_file(struct diagnosis *d, const struct access_user *user,
                      const struct qimg_chain_image *image)
{
    if (!image->absolute)
        return 0;
    if (image->problem_code == EACCES)
        return tell_shut(d, user, image->absolute, EACCES);
    if (!user->other || !image->file.there)
        return 0;
    const int rc = access_check(user, image->absolute);
    if (rc == -EACCES || rc == -EPERM)
        return tell_shut(d, user, image->absolute, -rc);
    return 0;
}

int doctor_access(struct diagnosis *d)
{
    const struct qimg_chain_image *data = d->image->data_file.image;
    const bool shut = d->image->problem_code == EACCES || (data && data->problem_code == EACCES);
    if (!shut && !d->options->as_user)
        return 0;
    AUTO(access_user_release) struct access_user user = { 0 };
    TRY(access_user_find(d->options->as_user, &user, d->err));
    TRY(judge_file(d, &user, d->image));
    return data ? judge_file(d, &user, data) : 0;
}

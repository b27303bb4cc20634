/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of a move, in an order in which every chain can be opened by its old or its new names
 * at any moment, as far as one name in a header can serve both:
 *
 *   (1) each file gets its new name beside the old one (a hard link; where the file system has
 * none, and for directories, it is renamed at once); (2) headers are rewritten; (3) old names are
 * removed; (4) fingerprints of images that were written to are renewed.
 *
 * Each step sees whether it is done already, so that going on after a crash is doing all of it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "move.h"

void move_release(struct move *move)
{
    for (size_t i = 0; i < move->renames.count; i++) {
        free(move->renames.items[i].from);
        free(move->renames.items[i].to);
    }
    for (size_t i = 0; i < move->changes.count; i++) {
        free(move->changes.items[i].from);
        free(move->changes.items[i].to);
        repoint_release(&move->changes.items[i].repoint);
    }
    move_rename_vec_release(&move->renames);
    move_change_vec_release(&move->changes);
    free(move->journal);
    *move = (struct move){ 0 };
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Is the file at @path the one that is moved? */
static bool is_it(const char *path, const struct move_rename *r)
{
    struct stat st;
    return lstat(path, &st) == 0 && st.st_dev == r->device && st.st_ino == r->inode;
}

static int failed(int code, const char *what, const char *from, const char *to,
                  struct qimg_error *err)
{
    return qimg_fail_errno(err, code, "Could not %s '%s' to '%s'", what, from, to);
}

/* rename() that replaces nothing. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (is_there(to)) /* the file system cannot do it in one step */
        return -EEXIST;
    return rename(from, to) < 0 ? -errno : 0;
}

static bool no_links_here(int code)
{
    return code == EPERM || code == EOPNOTSUPP || code == EMLINK || code == ENOSYS;
}

/* (1) */
static int give_name(struct qimg_context *context, const struct move_rename *r,
                     struct qimg_error *err)
{
    int rc = 0;
    if (is_it(r->to, r))
        return 0;
    if (!is_it(r->from, r))
        return qimg_fail(err, ESTALE, "'%s' is not the file that it was", r->from);
    if (r->directory)
        rc = rename_new(r->from, r->to);
    else if (link(r->from, r->to) < 0)
        rc = no_links_here(errno) ? rename_new(r->from, r->to) : -errno;
    if (rc == 0)
        rc = io_sync_directory(context->engine, r->to);
    return rc < 0 ? failed(-rc, "move", r->from, r->to, err) : 0;
}

/* (3) */
static int drop_name(struct qimg_context *context, const char *name, const struct move_rename *r,
                     struct qimg_error *err)
{
    int rc = 0;
    if (is_it(name, r) && is_it(r->to, r) && is_it(r->from, r))
        rc = unlink(name) < 0 ? -errno : 0;
    if (rc == 0)
        rc = io_sync_directory(context->engine, name);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not remove '%s'", name) : 0;
}

/* Where the image is at this moment. */
static struct repoint repoint_now(const struct move_change *c)
{
    struct repoint r = c->repoint;
    r.path = is_there(c->to) ? c->to : c->from;
    return r;
}

static bool is_change(const struct move_change *c)
{
    return strcmp(c->repoint.old_name, c->repoint.new_name) != 0;
}

int move_run(struct qimg_context *context, const struct move *move, struct qimg_error *err)
{
    for (size_t i = 0; i < move->renames.count; i++)
        TRY(give_name(context, &move->renames.items[i], err));
    for (size_t i = 0; i < move->changes.count; i++) {
        const struct repoint r = repoint_now(&move->changes.items[i]);
        if (is_change(&move->changes.items[i]))
            TRY(repoint_do(context, &r, err));
    }
    for (size_t i = 0; i < move->renames.count; i++)
        if (!move->renames.items[i].directory)
            TRY(drop_name(context, move->renames.items[i].from, &move->renames.items[i], err));
    for (size_t i = 0; i < move->changes.count; i++) {
        const struct repoint r = repoint_now(&move->changes.items[i]);
        if (move->changes.items[i].renew)
            TRY(repoint_renew_seal(context, r.path, r.format, err));
    }
    return 0;
}

/* --- back ----------------------------------------------------------------------------------- */

static int take_back(struct qimg_context *context, const struct move_rename *r,
                     struct qimg_error *err)
{
    int rc = 0;
    if (!is_it(r->to, r))
        return 0;
    if (is_it(r->from, r))
        return drop_name(context, r->to, r, err);
    rc = rename_new(r->to, r->from);
    if (rc == 0)
        rc = io_sync_directory(context->engine, r->from);
    return rc < 0 ? failed(-rc, "move", r->to, r->from, err) : 0;
}

int move_undo(struct qimg_context *context, const struct move *move, struct qimg_error *err)
{
    for (size_t i = move->changes.count; i-- > 0;) {
        const struct repoint r = repoint_now(&move->changes.items[i]);
        if (is_change(&move->changes.items[i]))
            TRY(repoint_undo(context, &r, err));
    }
    for (size_t i = move->renames.count; i-- > 0;)
        TRY(take_back(context, &move->renames.items[i], err));
    for (size_t i = 0; i < move->changes.count; i++)
        if (move->changes.items[i].renew)
            TRY(repoint_renew_seal(context, move->changes.items[i].from,
                                   move->changes.items[i].repoint.format, err));
    return 0;
}

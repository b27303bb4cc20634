/* SPDX-License-Identifier: Apache-2.0 */
#include "new_file.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "file_lock.h"
#include "open.h"
#include "resolve.h"

static int open_failed(const char *name, int code, struct qimg_error *err)
{
    if (code == EMEDIUMTYPE)
        return qimg_fail(err, EINVAL, "'file' driver requires '%s' to be a regular file", name);
    return qimg_fail_errno(err, code, "Could not create '%s'", name);
}

int new_file_place(struct new_file *new, struct qimg_error *err)
{
    struct location where = { 0 };

    if (strncmp(new->name, "json:", strlen("json:")) == 0)
        return qimg_fail(err, EINVAL, "Unknown protocol 'json'");
    const int rc = resolve_name(new->context, new->name, false, &where, err);
    if (rc < 0)
        chain_strip_open(err, new->name);
    new->path = TAKE(where.path);
    location_release(&where);
    return rc;
}

int new_file_open(struct new_file *new, const struct io_open_options *how, struct qimg_error *err)
{
    const int rc = io_file_open(new->context->engine, new->path, how, &new->file);

    if (rc < 0)
        return open_failed(new->name, -rc, err);
    new->made = new->file->created;
    return 0;
}

int new_file_lock(struct new_file *new, struct qimg_error *err)
{
    static const struct io_lock creator = {
        .uses = IO_PERM_WRITE | IO_PERM_RESIZE,
        .denies = IO_PERM_RESIZE,
    };

    return file_lock(new->file, new->name, creator, err);
}

/* A file that is empty already is not truncated: ext4 takes that for the rewriting of a file and
 * would send all of it to the disk when it is closed. */
int new_file_empty(struct new_file *new, struct qimg_error *err)
{
    struct io_stat st;
    int rc = io_stat(new->file, &st);

    new->emptied = true;
    if (rc == 0 && st.size > 0 && !new->file->is_device)
        rc = io_truncate(new->file, 0);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not resize file") : 0;
}

int new_file_keep(struct new_file *new, struct qimg_error *err)
{
    int rc = new->file ? io_sync(new->file) : 0;

    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not flush file to disk");
    rc = new->made ? io_sync_directory(new->context->engine, new->path) : 0;
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not flush the directory of '%s'", new->name)
                  : 0;
}

static int empty_again(const struct new_file *new)
{
    const struct io_open_options how = { .writable = true };
    struct io_file *file = new->file;

    if (!file)
        TRY(io_file_open(new->context->engine, new->path, &how, &file));
    const int rc = file->is_device ? 0 : io_truncate(file, 0);
    if (!new->file)
        io_file_close(file);
    return rc;
}

void new_file_discard(struct new_file *new)
{
    int rc = 0;

    if (new->made)
        rc = io_unlink(new->context->engine, new->path);
    else if (new->emptied)
        rc = empty_again(new);
    if (rc < 0)
        context_note(new->context, QIMG_NOTE_WARNING,
                     "%s: is incomplete and could not be taken away: %s", new->name, strerror(-rc));
    new->made = new->emptied = false;
}

void new_file_release(struct new_file *new)
{
    io_file_close(new->file);
    free(new->path);
    new->file = NULL;
    new->path = NULL;
}

int new_file_place_data(struct new_file *data, const char *image_name, const char *name,
                        struct qimg_error *err)
{
    const size_t scheme = strcspn(name, ":/");

    if (name[scheme] == ':')
        return qimg_fail(err, EINVAL, "Unknown protocol '%.*s'", (int)scheme, name);
    data->name = name;
    data->path = data->context->gate.policy == QIMG_POLICY_QEMU
                     ? strdup(name)
                     : resolve_full_name(image_name, name);
    return data->path ? 0 : qimg_fail_memory(err);
}

bool new_file_is_in(const struct io_file *file, const struct qimg_image *image)
{
    for (unsigned i = 0; image && i < image->layer_count; i++) {
        const struct image *layer = image->layers[i].image;
        if (io_same_file(file, layer->file) ||
            (layer->data_file && io_same_file(file, layer->data_file)))
            return true;
    }
    return false;
}

/* The strict policy has opened the next image alone, but an image further down would be lost just
 * as well. One that cannot, or may not, be opened is taken for another file. */
bool new_file_is_below(const struct new_file *new, const struct qimg_image *backing)
{
    struct qimg_image *whole;
    struct qimg_error unheard;

    if (!backing || new->made) /* nothing can stand on it */
        return false;
    if (new_file_is_in(new->file, backing))
        return true;
    if (new->context->gate.policy == QIMG_POLICY_QEMU)
        return false;
    const struct qimg_open_options how = {
        .format = qimg_image_format(backing),
        .share = QIMG_SHARE_FORCE,
    };
    qimg_error_clear(&unheard);
    if (qimg_image_open(new->context, backing->layers[0].name, &how, &whole, &unheard) < 0)
        return false;
    const bool found = new_file_is_in(new->file, whole);
    qimg_image_close(whole);
    return found;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking the top image of an open chain, with an undo file where one is asked for; and putting
 * a repaired image back.
 */
#include <string.h>

#include "chain.h"
#include "check_request.h"
#include "cleanup.h"
#include "open.h"
#include "undo.h"

static void cleanup_file(struct io_file *const *file)
{
    io_file_close(*file);
}

static int open_undo(struct qimg_context *context, const char *name, bool create,
                     struct io_file **out, struct qimg_error *err)
{
    const struct io_open_options how = { .writable = create, .create = create };
    struct io_file *file = NULL;
    int rc = io_file_open(context->engine, name, &how, &file);

    if (rc == 0 && create)
        rc = file->created ? io_sync_directory(context->engine, name) : -EEXIST;
    if (rc < 0) {
        if (file && file->created)
            (void)!io_unlink(context->engine, name);
        io_file_close(file);
        return qimg_fail_errno(err, -rc, "Could not open undo file '%s'", name);
    }
    *out = file;
    return 0;
}

int qimg_image_check(struct qimg_image *image, const struct qimg_check_options *options,
                     struct qimg_check_result *result, struct qimg_error *err)
{
    struct qimg_context *context = image->context;
    struct image *top = image->layers[0].image;
    AUTO(cleanup_file) struct io_file *file = NULL;
    struct undo_log undo = { 0 };

    *result = (struct qimg_check_result){ 0 };
    if (!top->ops->check)
        return qimg_fail(err, ENOTSUP, "This image format does not support checks");
    if (options->fix != QIMG_CHECK_FIX_NONE && !image->options.writable)
        return qimg_fail(err, EINVAL, "The image is not open for writing");
    if (options->fix != QIMG_CHECK_FIX_NONE && options->undo_name)
        TRY(open_undo(context, options->undo_name, true, &file, err));
    undo.file = file;
    const struct check_request request = {
        .fix = options->fix,
        .explain = options->explain,
        .undo = file ? &undo : NULL,
        .finding = options->finding,
        .progress = options->progress,
        .user = options->user,
    };
    const int rc = top->ops->check(top, &request, result, err);
    if (file && undo.used == 0)
        (void)!io_unlink(context->engine, options->undo_name);
    return rc;
}

int qimg_check_undo(struct qimg_context *context, const char *undo_name, const char *name,
                    struct qimg_error *err)
{
    const struct io_open_options how = { .writable = true };
    AUTO(cleanup_file) struct io_file *log = NULL;
    AUTO(cleanup_file) struct io_file *file = NULL;

    TRY(open_undo(context, undo_name, false, &log, err));
    const int rc = io_file_open(context->engine, name, &how, &file);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not open '%s'", name);
    if (lock_file(file, LOCK_FORMAT, LOCK_WRITE, name, err) < 0)
        return qimg_within(err, "Could not open '%s'", name);
    if (undo_apply(log, file, err) < 0)
        return qimg_within(err, "Could not undo the repair of '%s' by '%s'", name, undo_name);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Making an image: what was asked for, the backing file's word on size and format, the files.
 *
 * (1) Nothing is touched before all options and combinations are checked and announced.
 * (2) An existing file is emptied only once the locks of all files are held, and keeps its inode.
 * (3) What fails is unlinked if this call made it, else left empty; never half a file.
 * (4) A crash leaves no image or a whole one. Whether it is durable on return, and its name with
 *     it, is the caller's wish: cp asks for neither.
 */
#include <string.h>

#include "chain.h"
#include "cleanup.h"
#include "create_options.h"
#include "new_file.h"
#include "open.h"
#include "qimg/fingerprint.h"
#include "resolve.h"

/* --- the backing file ------------------------------------------------------------------------ */

/* Strict: the next image alone, its own references are not followed. As QEMU: all of them. */
static int open_backing(struct qimg_context *context, const char *full_name, const char *format,
                        struct qimg_image **out, struct qimg_error *err)
{
    const bool alone = context->gate.policy != QIMG_POLICY_QEMU;
    const struct qimg_open_options how = {
        .format = format,
        .info_only = alone,
        .no_backing = alone,
        .share = QIMG_SHARE_FORCE,
    };

    if (qimg_image_open(context, full_name, &how, out, err) == 0)
        return 0;
    chain_strip_open(err, full_name);
    return qimg_hint(err, "Could not open backing image.");
}

/* Opens the backing file that @options name; takes its size where none was given. */
static int use_backing(struct qimg_context *context, const char *name,
                       struct create_options *options, struct qimg_image **out,
                       struct qimg_error *err)
{
    const char *backing = create_options_get(options, "backing_file");
    const char *format = create_options_get(options, "backing_fmt");
    uint64_t size;
    AUTO_FREE char *full_name = resolve_full_name(name, backing);
    if (!full_name)
        return qimg_fail_memory(err);

    TRY(open_backing(context, full_name, format, out, err));
    if (!format) {
        (void)qimg_fail(err, EINVAL, "Backing file specified without backing format");
        return qimg_hint(err, "Detected format of %s.", qimg_image_format(*out));
    }
    if (!create_options_size(options, &size))
        (void)create_options_set(options, "size", "", qimg_image_size(*out));
    return 0;
}

/* --- options --------------------------------------------------------------------------------- */

static int merge_parameters(const char *name, const struct qimg_create_options *asked,
                            struct create_options *options, struct qimg_error *err)
{
    uint64_t size;

    if (create_options_size(options, &size) && asked->has_size)
        return qimg_fail(err, EINVAL, "The image size must be specified only once");
    if (asked->has_size)
        (void)create_options_set(options, "size", "", asked->size);
    if (asked->backing_name && !create_options_set(options, "backing_file", asked->backing_name, 0))
        return qimg_fail(err, EINVAL, "Backing file not supported for file format '%s'",
                         options->format);
    if (asked->backing_format &&
        !create_options_set(options, "backing_fmt", asked->backing_format, 0))
        return qimg_fail(err, EINVAL, "Backing format not supported for file format '%s'",
                         options->format);

    const char *backing = create_options_get(options, "backing_file");
    if (backing && *backing == '\0')
        return qimg_fail(err, EINVAL, "Expected backing file name, got empty string");
    if (backing && strcmp(backing, name) == 0)
        return qimg_fail(err, EINVAL,
                         "Error: Trying to create an image with the same filename "
                         "as the backing file");
    return 0;
}

static int gather(struct qimg_context *context, const char *name,
                  const struct qimg_create_options *asked, struct create_options *options,
                  struct qimg_image **backing, struct qimg_error *err)
{
    uint64_t size;

    TRY(create_options_parse(options, asked->options, asked->option_count, err));
    TRY(merge_parameters(name, asked, options, err));
    const char *recorded = create_options_get(options, "backing_file");
    if (recorded && !asked->backing_unchecked)
        TRY(use_backing(context, name, options, backing, err));
    if (recorded && !create_options_get(options, "backing_fmt"))
        return qimg_fail(err, EINVAL, "Backing file specified without backing format");
    if (!create_options_size(options, &size))
        return qimg_fail(err, EINVAL, "Image creation needs a size parameter");
    return 0;
}

static int announce(const char *name, const struct qimg_create_options *asked,
                    const struct create_options *options, struct qimg_error *err)
{
    if (!asked->announce)
        return 0;
    AUTO_FREE char *line = create_options_announce(options, name);
    if (!line)
        return qimg_fail_memory(err);
    asked->announce(asked->user, line);
    return 0;
}

/* --- making it -------------------------------------------------------------------------------- */

struct job {
    struct new_file image, data;
    struct create_spec spec;
    const struct format_ops *format;
    struct qimg_image *backing; /* NULL = none, or not to be opened */
    bool durable;
};

static int check_identity(const struct new_file *new, const struct job *job, struct qimg_error *err)
{
    if (new_file_is_below(new, job->backing))
        return qimg_fail(err, EINVAL,
                         "Error: Trying to create an image with the same filename "
                         "as the backing file");
    if (new != &job->data || !io_same_file(new->file, job->image.file))
        return 0;
    (void)qimg_fail(err, EAGAIN, "Failed to get shared \"resize\" lock");
    return qimg_hint(err, "Is another process using the image [%s]?", new->name);
}

/* Opens or makes new->path, sees whose it is, and locks it. */
static int take_file(struct new_file *new, const struct job *job, struct qimg_error *err)
{
    const struct io_open_options how = { .writable = true, .create = true };

    TRY(new_file_open(new, &how, err));
    TRY(check_identity(new, job, err));
    return new_file_lock(new, err);
}

static int make(struct job *job, struct qimg_error *err)
{
    if (job->spec.data_file_name)
        TRY(new_file_place_data(&job->data, job->image.name, job->spec.data_file_name, err));
    TRY(take_file(&job->image, job, err));
    if (job->spec.data_file_name)
        TRY(take_file(&job->data, job, err));
    TRY(new_file_empty(&job->image, err));
    if (job->spec.data_file_name)
        TRY(new_file_empty(&job->data, err));
    TRY(job->format->create(job->image.file, job->data.file, &job->spec, err));
    if (!job->durable)
        return 0;
    TRY(new_file_keep(&job->data, err));
    return new_file_keep(&job->image, err);
}

static void job_release(struct job *job)
{
    new_file_release(&job->image);
    new_file_release(&job->data);
    qimg_image_close(job->backing);
}

/* The options are whole and announced: makes what they say. */
static int create(struct job *job, const struct create_options *options, struct qimg_error *err)
{
    TRY(create_options_resolve(options, &job->spec, err));
    job->format = format_find(strcmp(options->format, "file") == 0 ? "raw" : options->format);

    int rc = make(job, err);
    if (rc == 0)
        return 0;
    new_file_discard(&job->data);
    new_file_discard(&job->image);
    if (rc == -EFBIG)
        return qimg_fail(
            err, EFBIG, "The image size is too large for file format '%s'%s", options->format,
            strcmp(options->format, "qcow2") == 0 ? " (try using a larger cluster size)" : "");
    return rc;
}

/* --- with a fingerprint ---------------------------------------------------------------------- */

static bool wants_fingerprint(const struct qimg_create_options *asked)
{
    return asked->fingerprint || asked->fingerprint_content;
}

static int check_fingerprint(const struct create_options *options,
                             const struct qimg_create_options *asked, struct qimg_error *err)
{
    if (!wants_fingerprint(asked))
        return 0;
    if (asked->backing_unchecked)
        return qimg_fail(err, EINVAL, "A fingerprint needs the backing file to be opened");
    if (!create_options_get(options, "backing_file"))
        return qimg_fail(err, EINVAL, "A fingerprint needs a backing file");
    return 0;
}

/* The image is whole: seals it, or takes it away again. */
static int seal(struct job *job, const struct qimg_create_options *asked, struct qimg_error *err)
{
    struct qimg_context *context = job->image.context;
    const bool mine = job->image.made;
    const struct qimg_open_options how = { .format = asked->format,
                                           .writable = true,
                                           .no_backing = true };
    const struct qimg_seal_options what = { .content = asked->fingerprint_content };
    struct qimg_image *image;

    io_file_close(TAKE(job->image.file)); /* and its locks */
    io_file_close(TAKE(job->data.file));
    int rc = qimg_image_open(context, job->image.name, &how, &image, err);
    if (rc < 0)
        return rc;
    rc = qimg_image_seal(image, &what, err);
    qimg_image_close(image);
    if (rc < 0 && mine && io_unlink(context->engine, job->image.path) < 0)
        (void)qimg_hint(err, "The image was made all the same, without a fingerprint");
    return rc;
}

int qimg_create(struct qimg_context *context, const char *name,
                const struct qimg_create_options *asked, struct qimg_error *err)
{
    struct create_options options;
    AUTO(job_release)
    struct job job = {
        .image = { .context = context, .name = name },
        .data = { .context = context },
        .durable = asked->sync,
    };

    int rc = create_options_init(&options, asked->format, err);
    if (rc == 0)
        rc = new_file_place(&job.image, err);
    if (rc == 0)
        rc = gather(context, name, asked, &options, &job.backing, err);
    if (rc == 0)
        rc = check_fingerprint(&options, asked, err);
    if (rc == 0)
        rc = announce(name, asked, &options, err);
    if (rc == 0)
        rc = create(&job, &options, err);
    if (rc == 0 && wants_fingerprint(asked))
        rc = seal(&job, asked, err);
    return rc < 0 ? qimg_within(err, "%s", name) : 0;
}

int qimg_create_check(const char *format, const struct qimg_option *given, size_t count,
                      struct qimg_error *err)
{
    struct create_options options;

    TRY(create_options_init(&options, format, err));
    return create_options_parse(&options, given, count, err);
}

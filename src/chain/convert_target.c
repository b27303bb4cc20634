/* SPDX-License-Identifier: Apache-2.0 */
#include "convert_target.h"

#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "convert_check.h"
#include "file_lock.h"
#include "open.h"
#include "resolve.h"
#include "writing.h"

#define SECTOR      512u
#define FIRST_BLOCK 4096u

/* --- both kinds ------------------------------------------------------------------------------- */

/* Puts QEMU's prefix before the reason in @err. */
static int in_new(const struct convert_target *target, struct qimg_error *err)
{
    if (target->asked->dd_words)
        return qimg_within(err, "%s: error while creating output image", target->asked->target);
    return qimg_within(err, "%s: error while converting %s", target->asked->target,
                       target->create.format);
}

static bool is_source(const struct io_file *file, const struct qimg_convert_options *options)
{
    for (size_t s = 0; s < options->source_count; s++)
        if (new_file_is_in(file, options->sources[s]))
            return true;
    return false;
}

/* Where the file system has no locks, this still keeps a source from being emptied. */
static int refuse_source(const struct io_file *file, const struct qimg_convert_options *options,
                         const char *name, struct qimg_error *err)
{
    if (!is_source(file, options))
        return 0;
    (void)qimg_fail(err, EAGAIN, "Failed to get \"write\" lock");
    return qimg_hint(err, "Is another process using the image [%s]?", name);
}

static bool is_direct(enum qimg_cache cache)
{
    return cache == QIMG_CACHE_NONE || cache == QIMG_CACHE_DIRECTSYNC;
}

/* --- what is there ---------------------------------------------------------------------------- */

static int open_existing(struct convert_target *target, struct qimg_error *err)
{
    const struct qimg_convert_options *asked = target->asked;
    const bool unsafe = asked->target_cache == QIMG_CACHE_UNSAFE && !asked->sync;
    const struct qimg_open_options how = {
        .format = asked->target_image_opts ? NULL : asked->target_format,
        .writable = true,
        .cache = unsafe                                     ? QIMG_CACHE_UNSAFE
                 : asked->target_cache == QIMG_CACHE_UNSAFE ? QIMG_CACHE_WRITEBACK
                                                            : asked->target_cache,
        .image_opts = asked->target_image_opts,
    };

    TRY(qimg_image_open(target->context, asked->target, &how, &target->image, err));
    const struct layer *top = &target->image->layers[0];
    TRY(convert_check_format(target, top->image->ops, err));
    if (refuse_source(top->image->file, asked, asked->target, err) < 0 ||
        (top->image->data_file && refuse_source(top->image->data_file, asked, asked->target, err)))
        return qimg_within(err, "Could not open '%s'", asked->target);
    if (target->image->size < target->size)
        return qimg_fail(err, EINVAL, "output file is smaller than input file");
    if (top->image->cluster_size == 0 && !top->windowed)
        target->file = top->image->file;
    target->reads_zero = asked->target_is_zero;
    return 0;
}

/* --- a new file ------------------------------------------------------------------------------- */

/* Everything is durable before the head of an image is, so no write needs to be by itself. */
static struct io_open_options options_of_new(const struct convert_target *target)
{
    const enum qimg_cache cache = target->asked->target_cache;
    const bool raw = strcmp(target->create.format, "raw") == 0;

    return (struct io_open_options){
        .writable = true,
        .create = true,
        .direct = is_direct(cache),
        .write_through =
            raw && (cache == QIMG_CACHE_WRITETHROUGH || cache == QIMG_CACHE_DIRECTSYNC),
        .no_flush = !target->durable,
    };
}

static int take_file(struct convert_target *target, struct new_file *file, struct qimg_error *err)
{
    const struct io_open_options how = options_of_new(target);

    TRY(new_file_open(file, &how, err));
    TRY(refuse_source(file->file, target->asked, file->name, err));
    return new_file_lock(file, err);
}

/* --- a new raw file --------------------------------------------------------------------------- */

static int open_raw(struct convert_target *target, struct qimg_error *err)
{
    static const struct io_lock writer = { .uses = IO_PERM_CONSISTENT_READ | IO_PERM_WRITE };
    struct io_stat st;

    TRY(take_file(target, &target->main, err));
    struct io_file *file = target->file = target->main.file;
    file->pads_end = true; /* complete_raw() gives it its length */
    const int rc = io_stat(file, &st);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "unable to get output image length");
    if (file->is_device && align_up(st.size, SECTOR) < target->size)
        return qimg_fail(err, EINVAL, "Cannot grow device files");
    TRY(new_file_empty(&target->main, err));
    target->reads_zero = !file->is_device;
    return file_lock(file, target->main.name, writer, err);
}

/* --- a new image ------------------------------------------------------------------------------ */

/* The backing file of the target, so that it is known to open, and known to be another file,
 * before an existing one is emptied. */
static int open_backing(const struct convert_target *target, struct qimg_image **out,
                        struct qimg_error *err)
{
    const char *recorded = target->spec.backing_name;
    const struct qimg_open_options how = { .format = target->spec.backing_format,
                                           .share = QIMG_SHARE_FORCE };
    AUTO_FREE char *name = resolve_full_name(target->asked->target, recorded);

    if (!name)
        return qimg_fail_memory(err);
    if (qimg_image_open(target->context, name, &how, out, err) == 0)
        return 0;
    chain_strip_open(err, name);
    (void)qimg_within(err, "Could not open backing file");
    return qimg_within(err, "Could not open '%s'", target->asked->target);
}

static int check_backing(const struct convert_target *target, const struct qimg_image *backing,
                         struct qimg_error *err)
{
    if (!new_file_is_in(target->main.file, backing) &&
        !(target->data.file && new_file_is_in(target->data.file, backing)))
        return 0;
    return qimg_fail(err, EINVAL,
                     "Error: Trying to create an image with the same filename as the backing file");
}

static int take_files(struct convert_target *target, const struct qimg_image *backing,
                      struct qimg_error *err)
{
    TRY(take_file(target, &target->main, err));
    if (target->spec.data_file_name)
        TRY(take_file(target, &target->data, err));
    TRY(check_backing(target, backing, err));
    if (!target->data.file || !io_same_file(target->main.file, target->data.file))
        return 0;
    (void)qimg_fail(err, EAGAIN, "Failed to get shared \"resize\" lock");
    return qimg_hint(err, "Is another process using the image [%s]?", target->data.name);
}

static int make_image(struct convert_target *target, struct qimg_error *err)
{
    struct io_file *file = target->main.file;

    if (io_hold_head(file) < 0) /* (1) */
        return qimg_fail_memory(err);
    TRY(new_file_empty(&target->main, err));
    if (target->data.file)
        TRY(new_file_empty(&target->data, err));
    const int rc =
        format_find(target->create.format)->create(file, target->data.file, &target->spec, err);
    if (rc == -EFBIG)
        return qimg_fail(err, EFBIG,
                         "The image size is too large for file format '%s' (try using a larger "
                         "cluster size)",
                         target->create.format);
    return rc;
}

/* Preallocated clusters of a device show what the device had. */
static bool new_image_reads_zero(const struct convert_target *target, bool on_device)
{
    return !target->has_backing && (target->spec.preallocation == PREALLOC_OFF || !on_device);
}

static int open_new_image(struct convert_target *target, struct qimg_error *err)
{
    const bool direct = is_direct(target->asked->target_cache);
    const struct qimg_open_options how = {
        .format = target->create.format,
        .writable = true,
        .cache = direct ? QIMG_CACHE_NONE : QIMG_CACHE_WRITEBACK,
    };
    const struct io_file *storage = target->data.file ? target->data.file : target->main.file;
    const bool on_device = storage->is_device;

    io_file_close(TAKE(target->data.file)); /* opened again, with the locks of a data file */
    TRY(chain_open_file(target->context, target->asked->target, &how, TAKE(target->main.file),
                        &target->image, err));
    struct io_file *data_file = target->image->layers[0].image->data_file;
    if (data_file)
        data_file->options.no_flush = true; /* (1): until convert_target_complete() */
    if (target->has_backing && target->image->layer_count > 1)
        target->backing_end = target->image->layers[1].image->size;
    target->reads_zero = new_image_reads_zero(target, on_device);
    return 0;
}

static int create_image(struct convert_target *target, struct qimg_error *err)
{
    struct qimg_image *backing = NULL;

    int rc = create_options_resolve(&target->create, &target->spec, err);
    if (rc == 0 && target->spec.data_file_name)
        rc = new_file_place_data(&target->data, target->asked->target, target->spec.data_file_name,
                                 err);
    if (rc < 0)
        return in_new(target, err);
    if (target->spec.backing_name)
        TRY(open_backing(target, &backing, err));
    rc = take_files(target, backing, err);
    if (rc == 0)
        rc = make_image(target, err);
    qimg_image_close(backing);
    return rc < 0 ? in_new(target, err) : open_new_image(target, err);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int create_raw(struct convert_target *target, struct qimg_error *err)
{
    int rc = create_options_resolve(&target->create, &target->spec, err);
    if (rc == 0)
        rc = open_raw(target, err);
    return rc < 0 ? in_new(target, err) : 0;
}

/* "file" is the protocol under raw, and a format to those who write it after -O. */
static bool is_raw(const char *format)
{
    return strcmp(format, "raw") == 0 || strcmp(format, "file") == 0;
}

static int open_target(struct convert_target *target, struct qimg_error *err)
{
    TRY(convert_check_target(target, err));
    if (!target->fresh)
        return open_existing(target, err);
    TRY(convert_check_format(target, format_find(target->create.format), err));
    TRY(new_file_place(&target->main, err));
    return is_raw(target->create.format) ? create_raw(target, err) : create_image(target, err);
}

int convert_target_open(struct qimg_context *context, const struct qimg_convert_options *options,
                        uint64_t size, struct convert_target *out, struct qimg_error *err)
{
    *out = (struct convert_target){
        .asked = options,
        .context = context,
        .main = { .context = context, .name = options->target },
        .data = { .context = context },
        .fresh = !options->no_create,
        .backing_end = UINT64_MAX,
        .size = size,
        .durable = options->target_cache != QIMG_CACHE_UNSAFE || options->sync,
    };
    const int rc = open_target(out, err);
    if (rc < 0)
        convert_target_close(out, true);
    return rc;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Space for what was not written, in one go or hole by hole: data stays as it is. */
static int reserve(const struct convert_target *target)
{
    if (target->spec.preallocation != PREALLOC_FALLOC || target->file->is_device)
        return 0;
    return io_allocate(target->file, (struct qimg_range){ .len = target->size });
}

/* A new raw file begins with an allocated block, as QEMU's do: it finds out alignments there. */
static int allocate_first_block(const struct convert_target *target)
{
    static const uint8_t zeros[FIRST_BLOCK];
    struct io_extent first = { 0 };
    struct io_stat st;

    TRY(io_stat(target->file, &st));
    if (st.size > 0)
        TRY(io_extents(target->file, 0, &first));
    if (first.data)
        return 0;
    return io_write_exact(target->file, 0, zeros, min_u64(sizeof(zeros), target->size));
}

static int complete_raw(struct convert_target *target, struct qimg_error *err)
{
    const char *path = target->main.path;

    if (target->file->is_device)
        return 0;
    int rc = reserve(target);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "%s: Could not preallocate data", path);
    rc = allocate_first_block(target);
    if (rc == 0)
        rc = io_truncate(target->file, target->size);
    return rc < 0 ? qimg_fail_errno(err, -rc, "%s: Could not resize file", path) : 0;
}

static int flush_failed(const struct convert_target *target, int rc, struct qimg_error *err)
{
    return rc < 0 ? qimg_fail_errno(err, -rc, "%s: Could not flush the file", target->asked->target)
                  : 0;
}

/* The data file's bytes first, then the image's, then the head that makes it an image. */
static int complete_image(const struct convert_target *target, struct qimg_error *err)
{
    const struct image *top = target->image->layers[0].image;
    int rc = 0;

    if (top->data_file) {
        top->data_file->options.no_flush = !target->durable;
        rc = io_sync(top->data_file);
    }
    if (rc == 0)
        rc = io_release_head(top->file);
    return flush_failed(target, rc, err);
}

int convert_target_finish(struct convert_target *target, struct qimg_error *err)
{
    return target->image ? chain_writing_end(target->image, err) : 0;
}

int convert_target_complete(struct convert_target *target, struct qimg_error *err)
{
    if (target->fresh)
        TRY(target->image ? complete_image(target, err) : complete_raw(target, err));
    if (!target->durable)
        return 0;
    if (target->file)
        TRY(flush_failed(target, io_sync(target->file), err));
    TRY(new_file_keep(&target->data, err));
    return new_file_keep(&target->main, err);
}

void convert_target_close(struct convert_target *target, bool failed)
{
    if (target->image && failed && target->fresh)
        chain_writing_abandon(target->image);
    qimg_image_close(target->image);
    if (failed) {
        new_file_discard(&target->data);
        new_file_discard(&target->main);
    }
    new_file_release(&target->data);
    new_file_release(&target->main);
    *target = (struct convert_target){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "convert_target.h"

#include <string.h>

#include "bits.h"
#include "chain.h"
#include "cleanup.h"
#include "create_options.h"
#include "file_lock.h"
#include "resolve.h"

#define SECTOR      512u
#define FIRST_BLOCK 4096u

/* --- what -o says --------------------------------------------------------------------------- */

/* As create reads it; the size is the sources', whatever -o says. */
static int read_options(const struct qimg_convert_options *asked, uint64_t size,
                        enum preallocation *preallocation, struct qimg_error *err)
{
    struct create_options options;
    struct create_spec spec;

    TRY(create_options_init(&options, asked->target_format, err));
    TRY(create_options_parse(&options, asked->options, asked->option_count, err));
    (void)create_options_set(&options, "size", "", size);
    if (create_options_resolve(&options, &spec, err) < 0)
        return qimg_within(err, "%s: error while converting raw", asked->target);
    *preallocation = spec.preallocation;
    return 0;
}

/* --- opening -------------------------------------------------------------------------------- */

static struct io_open_options open_options(const struct qimg_convert_options *options)
{
    const enum qimg_cache cache = options->target_cache;

    return (struct io_open_options){
        .writable = true,
        .create = !options->no_create,
        .direct = cache == QIMG_CACHE_NONE || cache == QIMG_CACHE_DIRECTSYNC,
        .write_through = cache == QIMG_CACHE_WRITETHROUGH || cache == QIMG_CACHE_DIRECTSYNC,
        .no_flush = cache == QIMG_CACHE_UNSAFE && !options->sync,
    };
}

/* Puts QEMU's prefix before the reason in @err. */
static int in_target(const struct convert_target *target, const char *name, struct qimg_error *err)
{
    if (target->fresh)
        return qimg_within(err, "%s: error while converting %s", name, target->format);
    return qimg_within(err, "Could not open '%s'", name);
}

static int open_failed(const struct convert_target *target, const char *name, int code,
                       struct qimg_error *err)
{
    if (code == EMEDIUMTYPE)
        (void)qimg_fail(err, EINVAL, "'file' driver requires '%s' to be a regular file", name);
    else
        (void)qimg_fail_errno(err, code, "Could not %s '%s'", target->fresh ? "create" : "open",
                              name);
    return in_target(target, name, err);
}

static int lock(const struct convert_target *target, const char *name, struct io_lock want,
                struct qimg_error *err)
{
    if (file_lock(target->file, name, want, err) == 0)
        return 0;
    return in_target(target, name, err);
}

/* Where the file system has no locks, this still keeps a source from being emptied. */
static bool is_source(const struct io_file *file, const struct qimg_convert_options *options)
{
    for (size_t s = 0; s < options->source_count; s++) {
        const struct qimg_image *image = options->sources[s];
        for (unsigned i = 0; i < image->layer_count; i++) {
            const struct image *layer = image->layers[i].image;
            if (io_same_file(file, layer->file) ||
                (layer->data_file && io_same_file(file, layer->data_file)))
                return true;
        }
    }
    return false;
}

/* A file that is empty already is not truncated: ext4 takes that for the rewriting of a file and
 * would send all of it to the disk when it is closed. */
static int empty(const struct convert_target *target, const char *name, const struct io_stat *st,
                 struct qimg_error *err)
{
    int rc = st->size > 0 ? io_truncate(target->file, 0) : 0;

    if (rc == 0)
        return 0;
    (void)qimg_fail_errno(err, -rc, "Could not resize file");
    return in_target(target, name, err);
}

/* Empties a fresh target (a device has what it has) and checks that there is room. */
static int prepare(const struct convert_target *target, const char *name, struct qimg_error *err)
{
    struct io_stat st;
    int rc = io_stat(target->file, &st);

    if (rc < 0)
        return qimg_fail_errno(err, -rc, "unable to get output image length");
    if (target->fresh && !target->file->is_device)
        return empty(target, name, &st, err);
    if (div_up(st.size, SECTOR) * SECTOR >= target->size)
        return 0;
    if (!target->fresh)
        return qimg_fail(err, EINVAL, "output file is smaller than input file");
    (void)qimg_fail(err, EINVAL, "Cannot grow device files");
    return in_target(target, name, err);
}

static int open_file(struct convert_target *target, const char *name,
                     const struct qimg_convert_options *options, struct qimg_error *err)
{
    /* As QEMU: what creates and empties takes the locks of a creator first, then a writer's. */
    static const struct io_lock creator = {
        .uses = IO_PERM_WRITE | IO_PERM_RESIZE,
        .denies = IO_PERM_RESIZE,
    };
    static const struct io_lock writer = { .uses = IO_PERM_CONSISTENT_READ | IO_PERM_WRITE };
    const struct io_open_options how = open_options(options);

    int rc = io_file_open(target->context->engine, target->path, &how, &target->file);
    if (rc < 0)
        return open_failed(target, name, -rc, err);
    TRY(lock(target, name, target->fresh ? creator : writer, err));
    if (is_source(target->file, options)) {
        (void)qimg_fail(err, EAGAIN, "Failed to get \"write\" lock");
        (void)qimg_hint(err, "Is another process using the image [%s]?", name);
        return in_target(target, name, err);
    }
    TRY(prepare(target, name, err));
    return target->fresh ? lock(target, name, writer, err) : 0;
}

/* Which format, by name or by the target's own description; a file's bytes are raw's. */
static int find_format(const struct convert_target *target, const char *name,
                       const struct format_ops **out, struct qimg_error *err)
{
    *out = format_find(!name || strcmp(name, "file") == 0 ? "raw" : name);
    if (!*out && target->fresh)
        return create_refuse_format(name, err);
    if (!*out)
        return qimg_fail(err, EINVAL, "Unknown driver '%s'", name);
    if (strcmp((*out)->name, "raw") != 0)
        return qimg_fail(err, ENOTSUP,
                         "Cannot convert to format '%s': only raw targets are supported",
                         (*out)->name);
    return 0;
}

int convert_target_open(struct qimg_context *context, const struct qimg_convert_options *options,
                        uint64_t size, struct convert_target *out, struct qimg_error *err)
{
    const struct format_ops *format;
    struct location where = { 0 };
    int rc;

    *out = (struct convert_target){
        .context = context,
        .fresh = !options->no_create,
        .size = size,
        .durable = options->target_cache != QIMG_CACHE_UNSAFE || options->sync,
    };
    rc = find_format(out, options->target_format, &format, err);
    if (rc < 0)
        return out->fresh ? rc : in_target(out, options->target, err);
    out->format = format->name;
    TRY(read_options(options, size, &out->preallocation, err));
    rc = resolve_name(context, options->target, options->target_image_opts, &where, err);
    if (rc == 0 && where.format)
        rc = find_format(out, where.format, &format, err);
    if (rc == 0 && (where.raw_offset || where.has_raw_size))
        rc = qimg_fail(err, ENOTSUP, "A target cannot be a part of a file (offset, size)");
    out->path = TAKE(where.path);
    location_release(&where);
    if (rc == 0)
        rc = open_file(out, options->target, options, err);
    if (rc < 0) {
        /* An older file is not ours to empty: somebody may hold its lock. */
        const bool made = out->file && out->file->created;
        convert_target_close(out, made);
        return rc;
    }
    out->reads_zero = options->target_is_zero || (out->fresh && !out->file->is_device);
    return 0;
}

/* --- the end -------------------------------------------------------------------------------- */

/* Space for what was not written, in one go or hole by hole: data stays as it is. */
static int reserve(const struct convert_target *target)
{
    if (target->preallocation != PREALLOC_FALLOC || target->file->is_device)
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

int convert_target_complete(struct convert_target *target, struct qimg_error *err)
{
    if (target->fresh && !target->file->is_device) {
        int rc = reserve(target);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "%s: Could not preallocate data", target->path);
        rc = allocate_first_block(target);
        if (rc == 0)
            rc = io_truncate(target->file, target->size);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "%s: Could not resize file", target->path);
    }
    if (!target->durable)
        return 0;
    int rc = io_sync(target->file);
    if (rc == 0 && target->file->created)
        rc = io_sync_directory(target->context->engine, target->path);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "%s: Could not flush the file", target->path);
    return 0;
}

void convert_target_close(struct convert_target *target, bool failed)
{
    if (target->file && failed && target->fresh) {
        int rc = 0;
        if (target->file->created)
            rc = io_unlink(target->context->engine, target->path);
        else if (!target->file->is_device)
            rc = io_truncate(target->file, 0);
        if (rc < 0)
            context_note(target->context, QIMG_NOTE_WARNING,
                         "%s: is incomplete and could not be taken away: %s", target->path,
                         strerror(-rc));
    }
    io_file_close(target->file);
    free(target->path);
    *target = (struct convert_target){ 0 };
}

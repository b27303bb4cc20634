/* SPDX-License-Identifier: Apache-2.0
 *
 * One image: from a place to an open layer. The order is fixed: open the file, see that it is
 * where the gate allows it, probe if nobody named a format, lock, and only then let the format
 * read it. What a header names is never opened here but the data file, through the gate.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bits.h"
#include "cleanup.h"
#include "open.h"
#include "resolve_tuning.h"
#include "signature.h"

#define PROBE_BYTES 512

void layer_release(struct layer *layer)
{
    if (layer->image)
        image_close(layer->image);
    free(layer->name);
    free(layer->path);
    free(layer->data_name);
    *layer = (struct layer){ 0 };
}

static void cleanup_file(struct io_file *const *file)
{
    io_file_close(*file);
}

/* --- the file ---------------------------------------------------------------------------- */

static bool is_device_driver(const char *driver)
{
    return strcmp(driver, "host_device") == 0 || strcmp(driver, "host_cdrom") == 0;
}

static int explain_open(int rc, const char *driver, const char *path, bool direct,
                        struct qimg_error *err)
{
    AUTO_FREE char *shown = gate_printable(path);
    if (!shown)
        return qimg_fail_memory(err);
    if (rc == -EMEDIUMTYPE)
        return qimg_fail(err, EINVAL, "'%s' driver requires '%s' to be %s", driver, shown,
                         is_device_driver(driver) ? "either a character or block device"
                                                  : "a regular file");
    if (rc == -EINVAL && direct)
        return qimg_fail(err, EINVAL, "Could not open '%s': filesystem does not support O_DIRECT",
                         shown);
    return qimg_fail_errno(err, -rc, "Could not open '%s'", shown);
}

/* A file to be opened, and on whose word. */
struct named_file {
    const char *path;
    const char *driver;                   /* what kind somebody insists on; NULL = any */
    const struct gate_request *reference; /* NULL: the user's, or one that was opened before */
    const struct io_bounds *bounds;       /* NULL: it may lie anywhere */
};

static int open_file(struct qimg_context *context, const struct named_file *named,
                     const struct qimg_open_options *options, struct io_file **out,
                     struct qimg_error *err)
{
    const char *path = named->path, *driver = named->driver;
    const enum qimg_cache cache = options->cache;
    const struct io_open_options how = {
        .writable = options->writable,
        .direct = cache == QIMG_CACHE_NONE || cache == QIMG_CACHE_DIRECTSYNC,
        .write_through = cache == QIMG_CACHE_WRITETHROUGH || cache == QIMG_CACHE_DIRECTSYNC,
        .no_flush = cache == QIMG_CACHE_UNSAFE,
        .bounds = named->bounds,
    };
    struct io_file *file = NULL;
    const int rc = io_file_open(context->engine, path, &how, &file);
    if (rc < 0 && named->reference)
        TRY(gate_explain_bounds(named->reference, rc, err));
    if (rc < 0)
        return explain_open(rc, driver ? driver : "file", path, how.direct, err);
    if (driver && is_device_driver(driver) != file->is_device) {
        io_file_close(file);
        return explain_open(-EMEDIUMTYPE, driver, path, false, err);
    }
    *out = file;
    return 0;
}

/* --- the format -------------------------------------------------------------------------- */

static bool is_protocol(const char *format)
{
    return strcmp(format, "file") == 0 || is_device_driver(format);
}

/* The driver that was asked for; *out stays NULL where the content is to tell. A protocol's name
 * in a format's place means the bytes of the file. */
static int named_format(const struct open_request *request, const struct format_ops **out,
                        struct qimg_error *err)
{
    const struct location *place = request->place;
    const char *format = request->format ? request->format : place->format;
    if (!format && place->protocol_only)
        format = "raw";
    if (!format)
        return 0;
    *out = format_find(is_protocol(format) ? "raw" : format);
    if (!*out)
        return qimg_fail(err, EINVAL, "Unknown driver '%s'", format);
    if (request->format && place->protocol_only && !is_protocol(request->format))
        return qimg_fail(err, EINVAL, "A block device must be specified for \"file\"");
    return 0;
}

static bool names_protocol(const struct open_request *request)
{
    if (request->format)
        return is_protocol(request->format);
    return request->place->protocol_only;
}

/* What kind of file somebody insists on; NULL = any. A protocol's name as the format does. */
static const char *named_driver(const struct open_request *request)
{
    if (request->place->driver)
        return request->place->driver;
    return request->format && is_protocol(request->format) ? request->format : NULL;
}

static void warn_guessed_raw(struct qimg_context *context, const char *name)
{
    context_note(context, QIMG_NOTE_PLAIN,
                 "WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
                 "         Automatically detecting the format is dangerous for raw images, write "
                 "operations on block 0 will be restricted.\n"
                 "         Specify the 'raw' format explicitly to remove the restrictions.",
                 name);
}

/* QEMU would find a disk in what begins like an image of another format; taken for a raw disk, the
 * image's own structures would be what the guest reads, and writes over. */
static int refuse_foreign(const struct open_request *request, const uint8_t *head, size_t len,
                          struct qimg_error *err)
{
    const char *format = signature_at_start(head, len);
    if (!format || strcmp(format, "qcow2") == 0) /* a version of qcow2 that is raw to QEMU, too */
        return 0;
    (void)qimg_fail(err, ENOTSUP, "It begins like a %s image, which cannot be read", format);
    if (request->reference)
        return gate_hint_format(request->reference, "FORMAT", err);
    return qimg_hint(err, "If it is a raw disk all the same, say so: -f raw");
}

static int probe_format(struct qimg_context *context, const struct open_request *request,
                        struct io_file *file, const struct format_ops **out, struct qimg_error *err)
{
    uint8_t head[PROBE_BYTES] = { 0 };
    size_t got = 0;
    const int rc = io_read_exact(file, 0, head, sizeof(head), &got);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read image for determining its format");
    *out = format_probe(head, got);
    if (strcmp((*out)->name, "raw") != 0)
        return 0;
    TRY(refuse_foreign(request, head, got, err));
    if (request->options->writable)
        warn_guessed_raw(context, request->place->display);
    return 0;
}

/* --- raw with offset= and size= ------------------------------------------------------------ */

int window_fits(struct io_file *file, uint64_t off, uint64_t size, struct io_stat *st,
                struct qimg_error *err)
{
    const int rc = io_stat(file, st);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not get image size");
    if (off > st->size)
        return qimg_fail(err, EINVAL,
                         "Offset (%" PRIu64 ") cannot be greater than size of the "
                         "containing file (%" PRIu64 ")",
                         off, st->size);
    if (size > st->size - off)
        return qimg_fail(err, EINVAL,
                         "The sum of offset (%" PRIu64 ") and size (%" PRIu64
                         ") has to be smaller or equal to the  actual size of the containing file "
                         "(%" PRIu64 ")",
                         off, size, st->size);
    return 0;
}

static int set_window(struct layer *layer, const struct location *place, struct qimg_error *err)
{
    struct image *image = layer->image;
    struct io_stat st;
    if (place->raw_offset == 0 && !place->has_raw_size)
        return 0;
    if (strcmp(image->ops->name, "raw") != 0)
        return qimg_fail(err, EINVAL, "Block format '%s' does not support the option '%s'",
                         image->ops->name, place->raw_offset ? "offset" : "size");
    TRY(window_fits(image->file, place->raw_offset, place->has_raw_size ? place->raw_size : 0, &st,
                    err));
    image->size =
        place->has_raw_size ? place->raw_size : align_up(st.size - place->raw_offset, 512);
    layer->windowed = true;
    layer->window_off = place->raw_offset;
    return 0;
}

/* --- one layer ----------------------------------------------------------------------------- */

/* A dirty image is repaired when it is opened for writing; QEMU prints these lines bare. */
static void repaired(void *user, const char *text)
{
    context_note(user, QIMG_NOTE_PLAIN, "%s", text);
}

/* Once, however often a job opens the file. */
static void pass_on_warning(struct qimg_context *context, const struct image *image)
{
    const uint64_t id = image->file->device << 32 ^ image->file->inode;
    if (!image->warning || atomic_exchange(&context->warned_of, id) == id)
        return;
    context_note(context, QIMG_NOTE_WARNING, "%s", image->warning);
    context_note(context, QIMG_NOTE_PLAIN, "%s", image->remedy);
}

static int open_format(struct qimg_context *context, const struct open_request *request,
                       struct io_file *file, struct layer *layer, struct qimg_error *err)
{
    const struct location *place = request->place;
    const struct qimg_open_options *options = request->options;
    const struct format_ops *ops = NULL;
    TRY(named_format(request, &ops, err));
    const bool probed = !ops;
    if (probed)
        TRY(probe_format(context, request, file, &ops, err));
    const bool raw = strcmp(ops->name, "raw") == 0;
    enum lock_use use = lock_use_of(options);
    if (place->force_share && use != LOCK_WRITE)
        use = options->info_only ? LOCK_INFO_FORCED : LOCK_FORCED;
    TRY(lock_file(file, raw ? LOCK_RAW : LOCK_FORMAT, use, place->path, err));

    const struct image_open_options how = { .writable = options->writable,
                                            .info_only = options->info_only,
                                            .check = options->check,
                                            .said = repaired,
                                            .user = context };
    TRY(ops->open(file, &how, &layer->image, err));
    pass_on_warning(context, layer->image);
    layer->probed = probed;
    if (probed && request->reference)
        return gate_check_probed(context, request->reference, ops->name,
                                 layer->image->backing_name || layer->image->needs_data_file, err);
    return 0;
}

/* Before its locks are asked for: they are held by whoever has it open. */
static int refuse_again(const struct open_request *request, const struct io_file *file,
                        struct qimg_error *err)
{
    const struct image *never = request->never;
    if (!never || !(io_same_file(never->file, file) ||
                    (never->data_file && io_same_file(never->data_file, file))))
        return 0;
    AUTO_FREE char *shown = gate_printable(request->place->path);
    if (!shown)
        return qimg_fail_memory(err);
    return qimg_fail(err, ELOOP, "'%s' is the image itself, which cannot lie below itself", shown);
}

int open_layer(struct qimg_context *context, const struct open_request *request, struct layer *out,
               struct qimg_error *err)
{
    const struct location *place = request->place;
    const struct format_ops *named = NULL;
    AUTO(cleanup_file) struct io_file *file = request->file;
    if (request->options->writable &&
        (place->force_share || request->options->share == QIMG_SHARE_FORCE))
        return qimg_fail(err, EINVAL, "force-share=on can only be used with read-only images");
    if (request->options->writable && place->read_only)
        return qimg_fail(err, EACCES, "Block node is read-only");
    if (place->key_secret && !request->options->info_only)
        return qimg_fail(err, ENOTSUP,
                         "Encrypted data cannot be read or written: no cipher is built in");
    TRY(named_format(request, &named, err)); /* before any file is touched */

    struct qimg_open_options how = *request->options;
    if (place->direct)
        how.cache = QIMG_CACHE_NONE;
    const struct named_file wanted = { .path = place->path,
                                       .driver = named_driver(request),
                                       .reference = request->reference,
                                       .bounds = request->reference ? gate_bounds(context) : NULL };
    if (!file)
        TRY(open_file(context, &wanted, &how, &file, err));
    TRY(refuse_again(request, file, err));

    struct layer layer = { .name = strdup(place->display),
                           .path = strdup(place->path),
                           .protocol_only = names_protocol(request) };
    int rc = layer.name && layer.path ? open_format(context, request, file, &layer, err)
                                      : qimg_fail_memory(err);
    if (layer.image)
        file = NULL; /* the image's now */
    if (rc == 0)
        rc = set_window(&layer, place, err);
    if (rc == 0)
        rc = tuning_fits(&place->tuning, layer.image->cluster_size, err);
    if (rc < 0) {
        layer_release(&layer);
        return rc;
    }
    *out = layer;
    return 0;
}

/* --- the data file --------------------------------------------------------------------------- */

/* Says so where QEMU, which looks in the current directory, would take another file. */
static void note_other_data_file(const struct qimg_context *context, const struct layer *layer,
                                 const char *path)
{
    const char *recorded = layer->image->data_file_name;
    struct stat here, there;
    if (strcmp(recorded, path) == 0 || stat(recorded, &here) < 0)
        return;
    if (stat(path, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino)
        return;
    context_note(context, QIMG_NOTE_WARNING,
                 "data file '%s' of image '%s' is looked for in the image's directory; QEMU would "
                 "take the one in the current directory",
                 recorded, layer->name);
}

/* The recorded name as a path, once the gate agrees; @reference keeps pointing to it. */
static int place_data_file(const struct qimg_context *context, const struct layer *layer,
                           const char *path, struct gate_request *reference, char **resolved,
                           struct qimg_error *err)
{
    const char *recorded = layer->image->data_file_name;
    const bool as_qemu = context->gate.policy == QIMG_POLICY_QEMU;
    bool probe;
    if (!recorded)
        return qimg_fail(err, EINVAL, "'data-file' is required for this image");
    *resolved = as_qemu ? strdup(recorded) : resolve_join(path, recorded);
    if (!*resolved)
        return qimg_fail_memory(err);
    *reference = (struct gate_request){
        .role = GATE_DATA_FILE, .holder = layer->name, .recorded = recorded, .path = *resolved
    };
    TRY(gate_ask(context, reference, &probe, err));
    if (!as_qemu)
        note_other_data_file(context, layer, *resolved);
    return 0;
}

int open_data_file(struct qimg_context *context, struct layer *layer, const struct location *place,
                   const struct qimg_open_options *options, struct qimg_error *err)
{
    const bool by_user = place->data_file != NULL;
    struct gate_request reference;
    AUTO_FREE char *resolved = NULL;
    if (!by_user && !layer->image->needs_data_file)
        return 0;
    if (!by_user)
        TRY(place_data_file(context, layer, place->path, &reference, &resolved, err));
    else if (!(resolved = strdup(place->data_file)))
        return qimg_fail_memory(err);

    AUTO(cleanup_file) struct io_file *file = NULL;
    const struct named_file wanted = { .path = resolved,
                                       .reference = by_user ? NULL : &reference,
                                       .bounds = by_user ? NULL : gate_bounds(context) };
    TRY(open_file(context, &wanted, options, &file, err));
    if (!layer->image->needs_data_file)
        return qimg_fail(err, EINVAL,
                         "'data-file' can only be set for images with an external data file");
    TRY(lock_file(file, LOCK_DATA_FILE, lock_use_of(options), resolved, err));
    layer->data_name = TAKE(resolved);
    layer->image->data_file = TAKE(file);
    return 0;
}

/* --- once more, for writing ------------------------------------------------------------------ */

/* The same file as @old, in the same mode but for writing. */
static int open_again(struct qimg_context *context, const char *path, const struct io_file *old,
                      const struct qimg_open_options *options, struct io_file **out,
                      struct qimg_error *err)
{
    struct qimg_open_options how = *options;
    how.writable = true;
    if (old->options.direct && how.cache != QIMG_CACHE_DIRECTSYNC)
        how.cache = QIMG_CACHE_NONE;
    const struct named_file wanted = { .path = path, .bounds = old->options.bounds };
    const int rc = open_file(context, &wanted, &how, out, err);
    if (rc == 0 && io_same_file(old, *out))
        return 0;
    if (rc < 0 && rc != -EXDEV)
        return rc;
    return qimg_fail(err, ESTALE, "'%s' was replaced by another file meanwhile", path);
}

int layer_reopen_writable(struct qimg_context *context, struct layer *layer,
                          const struct qimg_open_options *options, struct qimg_error *err)
{
    const struct image_open_options how = { .writable = true, .said = repaired, .user = context };
    const struct format_ops *ops = layer->image->ops;
    const bool raw = strcmp(ops->name, "raw") == 0;
    const uint64_t size = layer->image->size;
    AUTO(cleanup_file) struct io_file *file = NULL, *data = NULL;

    TRY(open_again(context, layer->path, layer->image->file, options, &file, err));
    if (layer->data_name)
        TRY(open_again(context, layer->data_name, layer->image->data_file, options, &data, err));
    image_close(TAKE(layer->image));
    TRY(lock_file(file, raw ? LOCK_RAW : LOCK_FORMAT, LOCK_WRITE, layer->path, err));
    if (data)
        TRY(lock_file(data, LOCK_DATA_FILE, LOCK_WRITE, layer->data_name, err));
    TRY(ops->open(file, &how, &layer->image, err));
    file = NULL;
    layer->image->data_file = TAKE(data);
    if (layer->windowed)
        layer->image->size = size;
    if (layer->probed && raw)
        warn_guessed_raw(context, layer->name);
    return 0;
}

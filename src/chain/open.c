/* SPDX-License-Identifier: Apache-2.0
 *
 * From a name to an open chain: the top image, then down, each reference through the gate, until
 * an image names no further one. Invariants: (1) no file is in a chain twice, by identity, so a
 * loop ends with its second visit whatever it is called; (2) everything below the top is read
 * only; (3) only what the command needs is opened.
 */
#include "open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fingerprint.h"
#include "map.h"
#include "str.h"
#include "writing.h"

/* QEMU says "Could not open backing file: " once for each level; beyond this it tells nothing. */
#define NESTED_AT_MOST 8

/* --- loops --------------------------------------------------------------------------------- */

int file_ids_add(struct file_id_vec *ids, const struct io_file *file)
{
    const struct file_id id = file->is_device ? (struct file_id){ UINT64_MAX, file->rdev }
                                              : (struct file_id){ file->device, file->inode };
    for (size_t i = 0; i < ids->count; i++)
        if (ids->items[i].inode == id.inode && ids->items[i].device == id.device)
            return -ELOOP;
    return file_id_vec_push(ids, id);
}

static int refuse_loop(int rc, const char *name, struct qimg_error *err)
{
    AUTO_FREE char *shown = gate_printable(name);
    if (rc != -ELOOP || !shown)
        return qimg_fail_memory(err);
    return qimg_fail(err, ELOOP, "Backing file '%s' creates an infinite loop.", shown);
}

/* --- one step down --------------------------------------------------------------------------- */

/* The user's own backing= option stands in for what the image records. */
static int next_by_user(struct qimg_context *context, const struct location *above,
                        struct next_image *out, struct qimg_error *err)
{
    TRY(resolve_name(context, above->backing, false, &out->place, err));
    out->format = above->backing_format;
    out->by_user = true;
    return 1;
}

int next_of(struct qimg_context *context, const struct layer *holder, const struct location *above,
            unsigned depth, struct next_image *out, struct qimg_error *err)
{
    const struct image *image = holder->image;
    *out = (struct next_image){ 0 };
    if (above->no_backing)
        return 0;
    if (above->backing)
        return next_by_user(context, above, out, err);
    if (!image->backing_name || *image->backing_name == '\0')
        return 0;

    TRY(resolve_recorded(context, holder->name, image->backing_name, &out->place, err));
    out->format = above->backing_format   ? above->backing_format
                  : image->backing_format ? image->backing_format
                                          : out->place.format;
    out->reference = (struct gate_request){
        .role = GATE_BACKING,
        .holder = holder->name,
        .recorded = image->backing_name,
        .recorded_format = out->format,
        .path = out->place.path,
        .depth = depth,
        .json = out->place.embedded,
    };
    bool probe;
    const int rc = gate_ask(context, &out->reference, &probe, err);
    if (rc < 0) {
        location_release(&out->place);
        return rc;
    }
    return 1;
}

/* --- the chain ------------------------------------------------------------------------------ */

struct opening {
    struct qimg_image *image;
    struct io_file *file; /* of the top, given; NULL = to be opened */
    const struct qimg_open_options *options;
    bool verify;           /* ask fingerprints */
    struct location above; /* of the last layer */
    const struct image *never;
    struct file_id_vec ids;
};

static int push_layer(struct qimg_image *image, struct layer layer)
{
    if ((image->layer_count & (image->layer_count - 1)) == 0) {
        const size_t room = image->layer_count ? (size_t)image->layer_count * 2 : 1;
        struct layer *grown = reallocarray(image->layers, room, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        image->layers = grown;
    }
    image->layers[image->layer_count++] = layer;
    return 0;
}

/* The chain as the user may follow it: "a -> b -> c", its middle left out where it is long. */
static void add_trail(const struct qimg_image *image, struct qimg_error *err)
{
    const unsigned count = image->layer_count;
    if (count < 2)
        return;
    struct str trail = { 0 };
    for (unsigned i = 0; i < count; i++) {
        if (count > 12 && i == 6) {
            str_printf(&trail, "... %u more ... -> ", count - 12);
            i = count - 6;
        }
        AUTO_FREE char *name = gate_printable(image->layers[i].name);
        str_printf(&trail, "%s%s", name ? name : "?", i + 1 < count ? " -> " : "");
    }
    AUTO_FREE char *text = str_take(&trail);
    const size_t used = strlen(err->text);
    if (text)
        (void)snprintf(err->text + used, sizeof(err->text) - used, " (reached through %s)", text);
}

/* Check looks at the image's own structures only; QEMU opens the data file all the same. */
static bool needs_data(const struct qimg_context *context, const struct qimg_open_options *options)
{
    if (options->check && context->gate.policy != QIMG_POLICY_QEMU)
        return false;
    return !options->info_only;
}

static int open_one(struct opening *o, const struct open_request *request, struct qimg_error *err)
{
    struct qimg_image *image = o->image;
    struct layer layer = { 0 };
    TRY(open_layer(image->context, request, &layer, err));
    int rc = file_ids_add(&o->ids, layer.image->file);
    if (rc < 0) {
        rc = refuse_loop(rc, layer.name, err);
    } else if (needs_data(image->context, request->options)) {
        rc = open_data_file(image->context, &layer, request->place, request->options, err);
    }
    if (rc == 0 && push_layer(image, layer) < 0)
        rc = qimg_fail_memory(err);
    if (rc < 0)
        layer_release(&layer);
    return rc;
}

/* Returns 1 if there was one more image, 0 at the end. */
static int open_next(struct opening *o, struct qimg_error *err)
{
    struct qimg_image *image = o->image;
    const struct layer *holder = &image->layers[image->layer_count - 1];
    struct next_image next;
    const int rc = next_of(image->context, holder, &o->above, image->layer_count, &next, err);
    if (rc <= 0)
        return rc;
    struct location spent = o->above; /* next.format may point into it */
    o->above = next.place;

    struct qimg_open_options options = *o->options;
    options.writable = false;
    const struct open_request request = { .place = &o->above,
                                          .format = next.format,
                                          .options = &options,
                                          .reference = next.by_user ? NULL : &next.reference,
                                          .never = o->never };
    const int opened = open_one(o, &request, err);
    if (opened < 0 && !next.by_user)
        gate_hint_broken(image->context, &next.reference, err);
    location_release(&spent);
    TRY(opened);
    if (o->verify && !next.by_user)
        TRY(fingerprint_ask(image->context, &image->layers[image->layer_count - 2],
                            &image->layers[image->layer_count - 1], err));
    return 1;
}

static int open_backing_chain(struct opening *o, struct qimg_error *err)
{
    int rc;
    do
        rc = open_next(o, err);
    while (rc > 0 && !o->options->next_only);
    if (rc >= 0)
        return 0;
    if (err->code == EPERM || err->code == ELOOP)
        add_trail(o->image, err);
    const unsigned levels =
        o->image->layer_count < NESTED_AT_MOST && err->code != ELOOP ? o->image->layer_count : 1;
    for (unsigned i = 0; i < levels; i++)
        (void)qimg_within(err, "Could not open backing file");
    return rc;
}

static int select_snapshot(struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_open_options *options = &image->options;
    struct image *top = image->layers[0].image;
    if (!options->snapshot_id && !options->snapshot_name)
        return 0;
    const int rc =
        top->ops->select_snapshot(top, options->snapshot_id, options->snapshot_name, err);
    if (rc == -ENOENT)
        return qimg_fail(err, ENOENT, "Failed to load snapshot: Can't find snapshot");
    return rc < 0 ? qimg_within(err, "Failed to load snapshot") : 0;
}

/* The image at o->above, and what lies below it. */
static int open_chain(struct opening *o, struct qimg_error *err)
{
    const struct qimg_open_options *options = o->options;
    const struct open_request top = { .place = &o->above,
                                      .format = options->format,
                                      .options = options,
                                      .never = o->never,
                                      .file = TAKE(o->file) };
    TRY(open_one(o, &top, err));
    if (options->no_backing || options->info_only)
        return 0;
    return open_backing_chain(o, err);
}

static int finish(struct qimg_image *image, uint64_t budget, struct qimg_error *err)
{
    const struct image *top = image->layers[0].image;
    TRY(select_snapshot(image, err));
    image->snapshot_selected = image->options.snapshot_id || image->options.snapshot_name;
    if (image->options.writable && top->ops->write && chain_writing_new(&image->writing) < 0)
        return qimg_fail_memory(err);
    image->size = image->layers[0].image->size;
    image->options.format = NULL;
    image->options.snapshot_id = NULL;
    image->options.snapshot_name = NULL;
    return chain_map_new(image, budget, &image->map) < 0 ? qimg_fail_memory(err) : 0;
}

/* From a place, which it takes over, to an image. @name is what errors call it; NULL: nothing. */
static int open_at(struct opening *o, struct qimg_context *context, const char *name,
                   struct qimg_image **out, struct qimg_error *err)
{
    struct qimg_image *image = calloc(1, sizeof(*image));
    int rc = image ? 0 : qimg_fail_memory(err);
    if (image) {
        image->context = context;
        image->options = *o->options;
        o->image = image;
        rc = open_chain(o, err);
    }
    io_file_close(o->file);
    location_release(&o->above);
    file_id_vec_release(&o->ids);
    if (rc < 0 && name)
        rc = qimg_within(err, "Could not open '%s'", name);
    if (rc == 0)
        rc = finish(image, context->map_budget, err);
    if (rc < 0) {
        qimg_image_close(image);
        return rc;
    }
    *out = image;
    return 0;
}

static int open_named(struct opening *o, struct qimg_context *context, const char *name,
                      struct qimg_image **out, struct qimg_error *err)
{
    static const struct qimg_open_options defaults;
    if (!o->options)
        o->options = &defaults;
    if (resolve_name(context, name, o->options->image_opts, &o->above, err) < 0) {
        io_file_close(o->file);
        return qimg_within(err, "Could not open '%s'", name);
    }
    return open_at(o, context, name, out, err);
}

int qimg_image_open(struct qimg_context *context, const char *name,
                    const struct qimg_open_options *options, struct qimg_image **out,
                    struct qimg_error *err)
{
    struct opening o = { .options = options, .verify = context->gate.verify };
    return open_named(&o, context, name, out, err);
}

int chain_open_file(struct qimg_context *context, const char *name,
                    const struct qimg_open_options *options, struct io_file *file,
                    struct qimg_image **out, struct qimg_error *err)
{
    struct opening o = { .options = options, .verify = context->gate.verify, .file = file };
    return open_named(&o, context, name, out, err);
}

void chain_strip_open(struct qimg_error *err, const char *name)
{
    AUTO_FREE char *prefix = str_format("Could not open '%s': ", name);
    const size_t len = prefix ? strlen(prefix) : 0;

    if (len && strncmp(err->text, prefix, len) == 0)
        memmove(err->text, err->text + len, strlen(err->text + len) + 1);
}

int chain_open_unverified(struct qimg_context *context, const char *name,
                          const struct qimg_open_options *options, struct qimg_image **out,
                          struct qimg_error *err)
{
    struct opening o = { .options = options };
    return open_named(&o, context, name, out, err);
}

int chain_open_beside(struct qimg_image *overlay, const char *name,
                      const struct qimg_open_options *options, struct qimg_image **out,
                      struct qimg_error *err)
{
    const struct layer *top = &overlay->layers[0];
    struct qimg_context *context = overlay->context;
    struct opening o = { .options = options, .verify = context->gate.verify, .never = top->image };
    TRY(resolve_recorded(context, top->name, name, &o.above, err));
    return open_at(&o, context, NULL, out, err);
}

void qimg_image_close(struct qimg_image *image)
{
    struct qimg_error unheard; /* qimg_image_finish() tells */
    if (!image)
        return;
    if (chain_writing_end(image, &unheard) < 0)
        context_note(image->context, QIMG_NOTE_DEBUG, "closing: %s", unheard.text);
    chain_map_free(image->map);
    for (unsigned i = 0; i < image->layer_count; i++)
        layer_release(&image->layers[i]);
    free(image->layers);
    chain_writing_free(image->writing);
    free(image);
}

/* --- the page cache ------------------------------------------------------------------------ */

static int uncache_file(struct io_file *file, const char *name, uint64_t *total,
                        struct qimg_error *err)
{
    uint64_t cached;
    const int rc = io_uncache(file, &cached);

    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not drop '%s' from the page cache", name);
    if (cached == IO_CACHED_UNKNOWN)
        *total = QIMG_CACHED_UNKNOWN;
    else if (*total != QIMG_CACHED_UNKNOWN)
        *total += cached;
    return 0;
}

int qimg_image_uncache(struct qimg_image *image, uint64_t *cached, struct qimg_error *err)
{
    *cached = 0;
    for (unsigned i = 0; i < image->layer_count; i++) {
        const struct layer *layer = &image->layers[i];
        TRY(uncache_file(layer->image->file, layer->name, cached, err));
        if (layer->image->data_file)
            TRY(uncache_file(layer->image->data_file, layer->data_name, cached, err));
    }
    return 0;
}

/* --- what is open -------------------------------------------------------------------------- */

uint64_t qimg_image_size(const struct qimg_image *image)
{
    return image->size;
}

unsigned qimg_image_depth(const struct qimg_image *image)
{
    return image->layer_count;
}

const char *qimg_image_format(const struct qimg_image *image)
{
    return image->layers[0].image->ops->name;
}

const char *qimg_image_file(const struct qimg_image *image, unsigned layer)
{
    const struct layer *l = &image->layers[layer];
    return l->data_name ? l->data_name : l->path;
}

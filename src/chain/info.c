/* SPDX-License-Identifier: Apache-2.0
 *
 * What `info` says: of one open image with the file below it, and of a chain, walked by the
 * recorded names with one image open at a time. The walk keeps what it finds and shows nothing
 * before it came to the end, so that a broken chain prints nothing.
 */
#include "info.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "open.h"

/* What QEMU reports for local files whatever they lie on. */
#define MAX_IOV           1024
#define OPT_MEM_ALIGNMENT 4096

/* --- releasing ----------------------------------------------------------------------------- */

static void release_luks(struct qimg_luks_info *luks)
{
    if (!luks)
        return;
    free(luks->cipher_alg);
    free(luks->cipher_mode);
    free(luks->ivgen_alg);
    free(luks->ivgen_hash_alg);
    free(luks->hash_alg);
    free(luks->uuid);
    free(luks);
}

static void release_qcow2(struct qimg_qcow2_info *qcow2)
{
    if (!qcow2)
        return;
    for (size_t i = 0; i < qcow2->bitmap_count; i++)
        free(qcow2->bitmaps[i].name);
    free(qcow2->bitmaps);
    free(qcow2->data_file);
    release_luks(qcow2->luks);
    free(qcow2);
}

void qimg_info_release(struct qimg_info *info)
{
    free(info->filename);
    free(info->format);
    free(info->backing_filename);
    free(info->full_backing_filename);
    free(info->backing_filename_format);
    for (size_t i = 0; i < info->snapshot_count; i++) {
        free(info->snapshots[i].id);
        free(info->snapshots[i].name);
    }
    free(info->snapshots);
    release_qcow2(info->qcow2);
    if (info->child) {
        qimg_info_release(info->child); /* a file has no child of its own */
        free(info->child);
    }
    *info = (struct qimg_info){ 0 };
}

/* --- one node ------------------------------------------------------------------------------- */

static int copy_text(const char *text, char **out, struct qimg_error *err)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? qimg_fail_memory(err) : 0;
}

static struct qimg_limits limits_of_file(const struct io_file *file)
{
    return (struct qimg_limits){
        .request_alignment = file->request_align,
        .min_mem_alignment = file->memory_align,
        .opt_mem_alignment = OPT_MEM_ALIGNMENT,
        .max_iov = MAX_IOV,
    };
}

static int describe_file(const struct layer *layer, const struct io_stat *st,
                         struct qimg_info *info, struct qimg_error *err)
{
    const struct io_file *file = layer->image->file;
    info->virtual_size = st->size;
    info->has_actual_size = true;
    info->actual_size = st->allocated;
    info->has_dirty_flag = true;
    info->limits = limits_of_file(file);
    TRY(copy_text(layer->path, &info->filename, err));
    return copy_text(file->is_device ? "host_device" : "file", &info->format, err);
}

static int describe_backing(const struct layer *layer, struct qimg_info *info,
                            struct qimg_error *err)
{
    const struct image *image = layer->image;
    if (!image->backing_name)
        return 0;
    assert(layer->name);
    TRY(copy_text(image->backing_name, &info->backing_filename, err));
    TRY(copy_text(image->backing_format, &info->backing_filename_format, err));
    if (strncmp(layer->name, "json:", 5) == 0 && *image->backing_name != '/' &&
        !resolve_has_protocol(image->backing_name))
        return 0; /* cannot be determined */
    info->full_backing_filename = resolve_full_name(layer->name, image->backing_name);
    return info->full_backing_filename ? 0 : qimg_fail_memory(err);
}

static int describe_image(const struct layer *layer, const struct io_stat *st,
                          struct qimg_info *info, struct qimg_error *err)
{
    struct image *image = layer->image;
    info->virtual_size = image->size;
    info->has_actual_size = true;
    info->actual_size = st->allocated;
    info->has_dirty_flag = true;
    info->limits = limits_of_file(image->file);
    info->limits.request_alignment = 1;
    if (image->ops->map_plan) {
        info->limits.write_zeroes_alignment = image->map_unit;
        info->limits.discard_alignment = image->cluster_size;
    }
    TRY(copy_text(layer->name, &info->filename, err));
    TRY(copy_text(image->ops->name, &info->format, err));
    TRY(describe_backing(layer, info, err));
    return image->ops->describe(image, info, err);
}

static int fill_info(const struct layer *layer, struct qimg_info *info, struct qimg_error *err)
{
    struct io_stat st;
    const int rc = io_stat(layer->image->file, &st);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not get image size");
    if (layer->protocol_only)
        return describe_file(layer, &st, info, err);
    TRY(describe_image(layer, &st, info, err));
    info->child = calloc(1, sizeof(*info->child));
    if (!info->child)
        return qimg_fail_memory(err);
    return describe_file(layer, &st, info->child, err);
}

int info_of_layer(const struct layer *layer, struct qimg_info *info, struct qimg_error *err)
{
    *info = (struct qimg_info){ 0 };
    const int rc = fill_info(layer, info, err);
    if (rc < 0)
        qimg_info_release(info);
    return rc;
}

int qimg_image_info(struct qimg_image *image, struct qimg_info *info, struct qimg_error *err)
{
    return info_of_layer(&image->layers[0], info, err);
}

/* --- a chain -------------------------------------------------------------------------------- */

DEFINE_VEC(info_vec, struct qimg_info)

struct walk {
    struct qimg_context *context;
    struct qimg_open_options options;
    struct info_vec infos;
    struct file_id_vec ids;
    struct location place; /* of the image to open next */
    struct layer layer;    /* the open one */
};

static void walk_release(struct walk *walk)
{
    for (size_t i = 0; i < walk->infos.count; i++)
        qimg_info_release(&walk->infos.items[i]);
    info_vec_release(&walk->infos);
    file_id_vec_release(&walk->ids);
    location_release(&walk->place);
    layer_release(&walk->layer);
}

/* Opens the image at walk->place in place of the one before, and notes what it says. */
static int visit_place(struct walk *walk, const char *format, const struct gate_request *reference,
                       const char *name, struct qimg_error *err)
{
    const struct open_request request = {
        .place = &walk->place, .format = format, .options = &walk->options, .reference = reference
    };
    struct layer layer = { 0 };
    struct qimg_info info;
    if (open_layer(walk->context, &request, &layer, err) < 0) {
        if (reference)
            gate_hint_broken(walk->context, reference, err);
        return qimg_within(err, "Could not open '%s'", name);
    }
    layer_release(&walk->layer);
    walk->layer = layer;
    int rc = file_ids_add(&walk->ids, layer.image->file);
    if (rc == -ELOOP) {
        AUTO_FREE char *shown = gate_printable(layer.name);
        return qimg_fail(err, ELOOP, "Backing file '%s' creates an infinite loop.",
                         shown ? shown : "?");
    }
    if (rc < 0)
        return qimg_fail_memory(err);
    TRY(info_of_layer(&layer, &info, err));
    if (info_vec_push(&walk->infos, info) < 0) {
        qimg_info_release(&info);
        return qimg_fail_memory(err);
    }
    return 0;
}

/* Returns 1 if there was one more image, 0 at the end. The reference's strings belong to the
 * image that is open until the next one is. */
static int visit_next(struct walk *walk, struct qimg_error *err)
{
    struct next_image next;
    const int rc =
        next_of(walk->context, &walk->layer, &walk->place, (unsigned)walk->infos.count, &next, err);
    if (rc < 0) { /* refused by the gate, or no name of a place at all */
        const char *named = walk->layer.image->backing_name;
        AUTO_FREE char *shown = gate_printable(named && err->code != EPERM ? named : "");
        return qimg_within(err, "Could not open '%s'", shown && *shown ? shown : walk->layer.name);
    }
    if (rc == 0)
        return 0;
    struct location spent = walk->place;
    walk->place = next.place;
    const int visited = visit_place(walk, next.format, next.by_user ? NULL : &next.reference,
                                    next.place.display, err);
    location_release(&spent);
    return visited < 0 ? visited : 1;
}

static int walk_chain(struct walk *walk, const char *name, bool whole_chain, struct qimg_error *err)
{
    if (resolve_name(walk->context, name, walk->options.image_opts, &walk->place, err) < 0)
        return qimg_within(err, "Could not open '%s'", name);
    TRY(visit_place(walk, walk->options.format, NULL, name, err));
    int rc = whole_chain;
    while (rc > 0)
        rc = visit_next(walk, err);
    return rc;
}

/* The walk opens one image at a time, for its description; fingerprints are compared with images
 * that are open for their data. */
static int verify_chain(struct qimg_context *context, const char *name,
                        const struct qimg_open_options *options, struct qimg_error *err)
{
    struct qimg_image *image;
    struct qimg_open_options how = *options;

    how.info_only = how.no_backing = false;
    TRY(qimg_image_open(context, name, &how, &image, err));
    qimg_image_close(image);
    return 0;
}

int qimg_chain_info(struct qimg_context *context, const char *name,
                    const struct qimg_open_options *options, bool whole_chain,
                    int (*visit)(void *user, const struct qimg_info *info), void *user,
                    struct qimg_error *err)
{
    struct walk walk = { .context = context };
    if (options)
        walk.options = *options;
    walk.options.info_only = true;
    walk.options.writable = false;
    int rc = walk_chain(&walk, name, whole_chain, err);
    if (rc == 0 && whole_chain && context->gate.verify)
        rc = verify_chain(context, name, &walk.options, err);
    for (size_t i = 0; rc == 0 && i < walk.infos.count; i++)
        if (visit(user, &walk.infos.items[i]) != 0)
            rc = qimg_fail_errno(err, ECANCELED, "%s", name);
    walk_release(&walk);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "commit_base.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "map.h"
#include "open.h"
#include "writing.h"

/* --- which ---------------------------------------------------------------------------------- */

/* Does @holder mean the file of @below when it says @name? */
static bool means(const struct qimg_image *image, const struct layer *holder,
                  const struct layer *below, const char *name)
{
    struct qimg_context *context = image->context;
    const struct io_open_options how = { .writable = false };
    struct io_file *file = NULL;
    struct location place = { 0 };
    struct qimg_error unsaid;
    bool same = false;

    qimg_error_clear(&unsaid);
    if (holder->image->backing_name && strcmp(name, holder->image->backing_name) == 0)
        return true;
    if (resolve_recorded(context, holder->name, name, &place, &unsaid) == 0 &&
        io_file_open(context->engine, place.path, &how, &file) == 0)
        same = io_same_file(file, below->image->file);
    io_file_close(file);
    location_release(&place);
    return same;
}

int commit_base_find(const struct qimg_image *image, const char *name, const char *shown,
                     unsigned *layer, struct qimg_error *err)
{
    *layer = 1;
    if (!name && image->layer_count == 1)
        return qimg_fail(err, ENOENT, "Image does not have a backing file");
    if (!name)
        return 0;
    for (; *layer < image->layer_count; ++*layer)
        if (means(image, &image->layers[*layer - 1], &image->layers[*layer], name))
            return 0;
    return qimg_fail(err, ENOENT, "Did not find '%s' in the backing chain of '%s'", name, shown);
}

/* --- in two --------------------------------------------------------------------------------- */

static int take_layers(struct qimg_image *image, unsigned first, struct qimg_image *to)
{
    const unsigned count = image->layer_count - first;

    to->layers = calloc(count, sizeof(*to->layers));
    if (!to->layers)
        return -ENOMEM;
    memcpy(to->layers, image->layers + first, count * sizeof(*to->layers));
    to->layer_count = count;
    image->layer_count = first;
    chain_map_forget(image->map);
    return 0;
}

static int finish_base(struct qimg_image *base, struct qimg_error *err)
{
    struct layer *top = &base->layers[0];

    TRY(layer_reopen_writable(base->context, top, &base->options, err));
    base->size = top->image->size;
    if (top->image->ops->write && chain_writing_new(&base->writing) < 0)
        return qimg_fail_memory(err);
    return chain_map_new(base, base->context->map_budget, &base->map) < 0 ? qimg_fail_memory(err)
                                                                          : 0;
}

int commit_base_split(struct qimg_image *image, unsigned layer, struct qimg_image **out,
                      struct qimg_error *err)
{
    struct qimg_image *base = calloc(1, sizeof(*base));

    if (!base)
        return qimg_fail_memory(err);
    base->context = image->context;
    base->options = image->options;
    base->options.writable = true;
    int rc = take_layers(image, layer, base) < 0 ? qimg_fail_memory(err) : finish_base(base, err);
    if (rc < 0) {
        qimg_image_close(base);
        return rc;
    }
    *out = base;
    return 0;
}

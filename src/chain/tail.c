/* SPDX-License-Identifier: Apache-2.0 */
#include "tail.h"

#include <stdlib.h>

#include "map.h"

int chain_tail_new(const struct qimg_image *whole, unsigned layer, struct qimg_image **out)
{
    struct qimg_image *tail = calloc(1, sizeof(*tail));

    if (!tail)
        return -ENOMEM;
    *tail = (struct qimg_image){
        .context = whole->context,
        .layers = whole->layers + layer,
        .layer_count = whole->layer_count - layer,
        .size = whole->layers[layer].image->size,
        .options = { .cache = whole->options.cache },
    };
    if (chain_map_new(tail, whole->context->map_budget, &tail->map) < 0) {
        free(tail);
        return -ENOMEM;
    }
    *out = tail;
    return 0;
}

void chain_tail_free(struct qimg_image *tail)
{
    if (!tail)
        return;
    chain_map_free(tail->map);
    free(tail);
}

static bool same_data_file(const struct image *a, const struct image *b)
{
    if (!a->data_file || !b->data_file)
        return a->data_file == b->data_file;
    return io_same_file(a->data_file, b->data_file);
}

unsigned chain_tail_find(const struct qimg_image *whole, const struct qimg_image *single)
{
    const struct layer *wanted = &single->layers[0];

    for (unsigned i = 1; i < whole->layer_count; i++) {
        const struct layer *l = &whole->layers[i];
        if (io_same_file(l->image->file, wanted->image->file) &&
            l->image->ops == wanted->image->ops && same_data_file(l->image, wanted->image) &&
            !l->windowed && !wanted->windowed)
            return i;
    }
    return 0;
}

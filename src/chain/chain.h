/* SPDX-License-Identifier: Apache-2.0
 *
 * An open chain: struct qimg_image is its handle. Layer 0 is the opened image, layer n + 1 the
 * backing file of layer n. Layers never change after opening; what layer 0 holds may, see
 * writing.h.
 */
#ifndef CHAIN_CHAIN_H
#define CHAIN_CHAIN_H

#include "context.h"
#include "format.h"
#include "qimg/image.h"

struct chain_map;
struct chain_writing;

struct layer {
    struct image *image;
    char *name;         /* as shown and as relative names are joined to */
    char *path;         /* of its file */
    bool protocol_only; /* opened as the bare bytes of a file: "file format: file" */
    bool probed;        /* nobody named the format: raw must not become something else */
    char *data_name;    /* of the data file; NULL = none */
    /* The image is only the file's bytes from window_off on (raw with offset= or size=; its
     * image->size is the window's). The map adds window_off to host offsets. */
    bool windowed;
    uint64_t window_off;
};

struct qimg_image {
    struct qimg_context *context;
    struct layer *layers;
    unsigned layer_count;
    uint64_t size; /* of layer 0 */
    struct chain_map *map;
    struct chain_writing *writing;    /* NULL = not open for writing */
    bool snapshot_selected;           /* serves an internal snapshot */
    struct qimg_open_options options; /* strings are not kept */
};

/* The file that DATA and COMPRESSED extents of a layer point into. */
static inline struct io_file *layer_data_file(const struct layer *layer)
{
    return layer->image->data_file ? layer->image->data_file : layer->image->file;
}

#endif

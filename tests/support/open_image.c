/* SPDX-License-Identifier: Apache-2.0 */
#include "open_image.h"

#include <inttypes.h>
#include <stdlib.h>

#include "str.h"

struct image *open_bytes(const struct format_ops *ops, const void *bytes, size_t len,
                         const struct image_open_options *options, struct qimg_error *err)
{
    static const struct image_open_options read_only;
    const struct image_open_options *how = options ? options : &read_only;
    struct mem_file *file = mem_file_new(bytes, len, how->writable);
    struct image *image = NULL;

    qimg_error_clear(err);
    if (ops->open(&file->base, how, &image, err) < 0) {
        io_file_close(&file->base);
        return NULL;
    }
    return image;
}

struct image *open_built(const struct build_qcow2 *spec, const struct image_open_options *options,
                         struct qimg_error *err)
{
    struct built built = build_qcow2(spec);
    struct image *image = open_bytes(format_find("qcow2"), built.bytes, built.len, options, err);

    built_release(&built);
    return image;
}

static void print_extent(struct str *s, const struct extent *e)
{
    str_printf(s, "%s%" PRIu64 "+%" PRIu64 " %c", s->len ? ", " : "", e->guest_off, e->len,
               "ZDCBR"[e->kind]);
    if (e->host_off != QIMG_NO_OFFSET)
        str_printf(s, "@%" PRIu64, e->host_off);
    if (e->kind == EXTENT_COMPRESSED)
        str_printf(s, "/%" PRIu32, e->packed_len);
}

char *map_text(const struct image *image)
{
    struct extent_vec extents = { 0 };
    struct qimg_error err;
    struct str s = { 0 };

    if (image_map(image, (struct qimg_range){ 0, image->size }, &extents, &err) < 0)
        abort();
    for (size_t i = 0; i < extents.count; i++)
        print_extent(&s, &extents.items[i]);
    extent_vec_release(&extents);
    return str_take(&s);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What all formats share once they are open: a map with synchronous loads, and the end.
 */
#include "format.h"

#include <stdlib.h>

#include "checked.h"
#include "cleanup.h"

static int decode_table(const struct image *image, struct qimg_range want,
                        const struct table_ref *table, struct extent_vec *out,
                        struct qimg_error *err)
{
    AUTO_FREE uint8_t *raw = malloc(table->len ? table->len : 1);

    if (!raw)
        return qimg_fail_memory(err);
    const int rc = io_read_exact(image->file, table->host_off, raw, table->len, NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read mapping table at offset %llu",
                               (unsigned long long)table->host_off);
    if (image->ops->map_decode(image, want, table, raw, out) < 0)
        return qimg_fail_memory(err);
    return 0;
}

int image_map(const struct image *image, struct qimg_range want, struct extent_vec *out,
              struct qimg_error *err)
{
    AUTO(table_ref_vec_release) struct table_ref_vec tables = { 0 };

    want = range_clip(want, image->size);
    if (want.len == 0)
        return 0;
    if (!image->ops->map_plan) {
        const int rc = image->ops->map_direct(image, want, out);
        return rc < 0 ? qimg_fail_errno(err, -rc, "Could not map image") : 0;
    }
    if (image->ops->map_plan(image, want, &tables) < 0)
        return qimg_fail_memory(err);
    for (size_t i = 0; i < tables.count; i++)
        TRY(decode_table(image, want, &tables.items[i], out, err));
    return 0;
}

void image_close(struct image *image)
{
    if (image)
        image->ops->close(image);
}

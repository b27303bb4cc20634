/* SPDX-License-Identifier: Apache-2.0
 *
 * Re-pointing an image without looking at any content (rebase -u).
 */
#include <string.h>

#include "chain.h"

static int refuse(struct qimg_error *err, int code, const char *name, const char *reason)
{
    return qimg_fail(err, code, "Could not change the backing file to '%s': %s", name, reason);
}

int qimg_image_set_backing(struct qimg_image *image, const char *backing_name,
                           const char *backing_format, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    const char *name = backing_name ? backing_name : "";

    if (*name && !backing_format)
        return refuse(err, EINVAL, name, "backing format must be specified");
    if (!top->ops->set_backing)
        return refuse(err, ENOTSUP, name, strerror(ENOTSUP));
    const int rc =
        top->ops->set_backing(top, *name ? name : NULL, *name ? backing_format : NULL, err);
    if (rc == 0)
        return 0;
    if (rc == -ENOSPC)
        return refuse(err, ENOSPC, name, "No space left in the file header");
    return qimg_within(err, "Could not change the backing file to '%s'", name);
}

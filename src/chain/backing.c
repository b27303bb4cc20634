/* SPDX-License-Identifier: Apache-2.0
 *
 * Re-pointing an image without looking at any content (rebase -u), which is also the last step of
 * a rebase that does look.
 */
#include "backing.h"

#include <string.h>

static int refuse(struct qimg_error *err, int code, const char *name, const char *reason)
{
    return qimg_fail(err, code, "Could not change the backing file to '%s': %s", name, reason);
}

typedef int (*backing_op)(struct image *image, const char *name, const char *format,
                          struct qimg_error *err);

static int ask(struct qimg_image *image, backing_op op, const char *name, const char *format,
               struct qimg_error *err)
{
    const bool none = !name || *name == '\0';
    const char *shown = none ? "" : name;

    if (!none && !format)
        return refuse(err, EINVAL, shown, "backing format must be specified");
    if (!op)
        return refuse(err, ENOTSUP, shown, strerror(ENOTSUP));
    const int rc = op(image->layers[0].image, none ? NULL : name, none ? NULL : format, err);
    if (rc == 0)
        return 0;
    if (rc == -ENOSPC && op == image->layers[0].image->ops->backing_fits)
        return refuse(err, ENOSPC, shown, "No space left in the file header");
    return qimg_within(err, "Could not change the backing file to '%s'", shown);
}

int backing_check(struct qimg_image *image, const char *backing_name, const char *backing_format,
                  struct qimg_error *err)
{
    return ask(image, image->layers[0].image->ops->backing_fits, backing_name, backing_format, err);
}

int qimg_image_set_backing(struct qimg_image *image, const char *backing_name,
                           const char *backing_format, struct qimg_error *err)
{
    /* Later, it is the disk that is full. */
    TRY(backing_check(image, backing_name, backing_format, err));
    return ask(image, image->layers[0].image->ops->set_backing, backing_name, backing_format, err);
}

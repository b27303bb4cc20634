/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing persistent bitmaps of an open image.
 */
#include <string.h>

#include "bitmap_request.h"
#include "chain.h"
#include "cleanup.h"
#include "qimg/bitmap.h"

static const struct {
    enum bitmap_verb verb;
    const char *word; /* as QEMU calls the operation */
} verbs[] = {
    [QIMG_BITMAP_ADD] = { BITMAP_ADD, "add" },
    [QIMG_BITMAP_REMOVE] = { BITMAP_REMOVE, "remove" },
    [QIMG_BITMAP_CLEAR] = { BITMAP_CLEAR, "clear" },
    [QIMG_BITMAP_ENABLE] = { BITMAP_ENABLE, "enable" },
    [QIMG_BITMAP_DISABLE] = { BITMAP_DISABLE, "disable" },
    [QIMG_BITMAP_MERGE] = { BITMAP_MERGE, "merge" },
};

/* What formats without bitmaps answer, as QEMU does. */
static int refuse_step(const struct qimg_image *image, const struct bitmap_step *step,
                       struct qimg_error *err)
{
    if (step->verb != BITMAP_ADD)
        return qimg_fail(err, ENOENT, "Dirty bitmap '%s' not found", step->name);
    if (step->name[0] == '\0')
        return qimg_fail(err, EINVAL, "Bitmap name cannot be empty");
    return qimg_fail(err, ENOTSUP, "Can't store persistent bitmaps to %s: Operation not supported",
                     image->layers[0].name);
}

static int change(struct qimg_image *image, struct bitmap_request *request, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;

    if (!image->options.writable)
        return qimg_fail(err, EACCES, "The image is not open for writing");
    if (top->writing)
        return qimg_fail(err, EBUSY, "Bitmaps cannot be changed while guest data is written");
    if (top->ops->change_bitmaps)
        return top->ops->change_bitmaps(top, request, err);
    request->failed = 0;
    return refuse_step(image, &request->steps[0], err);
}

int qimg_image_change_bitmaps(struct qimg_image *image, const struct qimg_bitmap_action *actions,
                              size_t count, struct qimg_error *err)
{
    AUTO_FREE struct bitmap_step *steps = calloc(count + 1, sizeof(*steps));

    if (!steps)
        return qimg_fail_memory(err);
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const struct qimg_bitmap_action *a = &actions[i];
        steps[i] = (struct bitmap_step){
            .verb = verbs[a->verb].verb,
            .name = a->name,
            .granularity = a->granularity,
            .source_name = a->source,
            .source = a->source_image ? a->source_image->layers[0].image : NULL,
        };
    }
    struct bitmap_request request = {
        .steps = steps, .count = count, .shown = image->layers[0].name, .failed = count
    };
    const int rc = change(image, &request, err);
    if (rc < 0 && request.failed < count)
        return qimg_within(err, "Operation %s on bitmap %s failed",
                           verbs[actions[request.failed].verb].word, actions[request.failed].name);
    return rc;
}

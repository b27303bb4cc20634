/* SPDX-License-Identifier: Apache-2.0 */
#include "explain.h"

static void call_corrupt(const struct qimg_context *context, struct image *image, const char *why)
{
    if (!atomic_exchange(&image->called_corrupt, true))
        context_note(context, QIMG_NOTE_PLAIN,
                     "%s: Image is corrupt: %s; further non-fatal corruption events will be "
                     "suppressed",
                     image->ops->name, why);
}

int explain_run(struct qimg_image *image, const struct run *run, struct qimg_error *err)
{
    const struct layer *layer = &image->layers[run->layer];

    const int rc = layer->image->ops->explain(layer->image, run->guest_off, err);
    if (rc == -EBADMSG)
        call_corrupt(image->context, layer->image, err->text);
    return qimg_within(err, "%s", layer->name);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "extent.h"

/* Does @e begin where @last ends, in the guest and in the file? */
static bool continues(const struct extent *last, const struct extent *e)
{
    if (last->kind != e->kind || last->guest_off + last->len != e->guest_off)
        return false;
    if (last->host_off == QIMG_NO_OFFSET || e->host_off == QIMG_NO_OFFSET)
        return last->host_off == e->host_off;
    return last->host_off + last->len == e->host_off;
}

int extent_vec_add(struct extent_vec *v, struct extent e)
{
    struct extent *last = v->count ? &v->items[v->count - 1] : NULL;

    if (last && e.kind != EXTENT_COMPRESSED && continues(last, &e)) {
        last->len += e.len;
        return 0;
    }
    return extent_vec_push(v, e);
}

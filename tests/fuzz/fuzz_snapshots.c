/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as an image whose internal snapshots are made, applied and deleted, and which is
 * resized and amended between: see change.h.
 */
#include "change.h"
#include "qimg/admin.h"

static int amend(struct qimg_image *image, const char *key, const char *value,
                 struct qimg_error *err)
{
    const struct qimg_option option = { key, value };
    const struct qimg_amend_options how = { .options = &option, .option_count = 1 };

    return qimg_image_amend(image, &how, err);
}

static int resize(struct qimg_image *image, uint64_t size, struct qimg_error *err)
{
    const struct qimg_resize_options how = { .size = size, .shrink = true };

    return qimg_image_resize(image, &how, err);
}

bool change_once(struct qimg_image *image, uint8_t verb)
{
    static const char *const names[] = { "1", "2", "first", "new" };
    const char *name = names[verb / 8 % 4];
    struct qimg_error err = { 0 };
    int rc = 0;
    bool keeps = true;

    switch (verb % 8) {
    case 0:
    case 1:
        rc = qimg_snapshot_create(image, name, NULL, &err);
        break;
    case 2:
        rc = qimg_snapshot_delete(image, name, NULL, &err);
        break;
    case 3:
        rc = qimg_snapshot_apply(image, name, NULL, &err);
        keeps = rc < 0;
        break;
    case 4:
        rc = resize(image, 512 * (1 + verb / 8 * 17u), &err);
        keeps = rc < 0;
        break;
    case 5:
        rc = amend(image, "compat", verb & 8 ? "0.10" : "1.1", &err);
        break;
    case 6:
        rc = amend(image, "refcount_bits", verb & 8 ? "64" : "8", &err);
        break;
    default:
        rc = amend(image, "lazy_refcounts", verb & 8 ? "on" : "off", &err);
    }
    require(rc == 0 || err.text[0] != '\0');
    return keeps;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as an image with dirty bitmaps, whose verbs are run and which record what a guest
 * writes, zeroes and discards: see change.h.
 */
#include "change.h"
#include "qimg/bitmap.h"
#include "qimg/write.h"

static int change_bitmap(struct qimg_image *image, uint8_t verb, struct qimg_error *err)
{
    static const char *const names[] = { "b0", "longer name", "new", "" };
    const struct qimg_bitmap_action actions[] = {
        { .verb = (enum qimg_bitmap_verb)(verb % 8),
          .name = names[verb / 8 % 4],
          .granularity = verb & 32 ? 512 : 0,
          .source = names[verb / 16 % 4] },
        { .verb = QIMG_BITMAP_ADD, .name = "another" },
    };

    return qimg_image_change_bitmaps(image, actions, verb & 128 ? 2 : 1, err);
}

static int write_guest(struct qimg_image *image, uint8_t verb, struct qimg_error *err)
{
    static const uint8_t bytes[3000] = { 1, 2, 3 };
    const uint64_t size = qimg_image_size(image), off = size / 32 * (verb / 8);
    const uint64_t len = size - off < sizeof(bytes) ? size - off : sizeof(bytes);

    if (len == 0)
        return 0;
    if (verb & 64)
        return qimg_image_write_zeroes(image, off, len, verb & 8 ? QIMG_ZERO_MAY_UNMAP : 0, err);
    if (verb & 128)
        return qimg_image_discard(image, off, len, err);
    return qimg_image_write(image, off, bytes, len, err);
}

bool change_once(struct qimg_image *image, uint8_t verb)
{
    const bool guest = verb % 8 > QIMG_BITMAP_MERGE;
    struct qimg_error err = { 0 };
    const int rc = guest ? write_guest(image, verb, &err) : change_bitmap(image, verb, &err);

    require(rc == 0 || err.text[0] != '\0');
    return !guest;
}

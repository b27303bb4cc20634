/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens an image with the chain below it, prints where its first bytes come from, and reads its
 * first sector.                                              usage: read_chain IMAGE
 */
#include <inttypes.h>
#include <stdio.h>

#include "qimg/qimg.h"

static const char *kind_name(enum qimg_extent_kind kind)
{
    static const char *const names[] = {
        [QIMG_UNALLOCATED] = "nothing",
        [QIMG_ZERO] = "zeros",
        [QIMG_DATA] = "data",
        [QIMG_COMPRESSED] = "compressed",
    };

    return names[kind];
}

static int show(struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_range all = { 0, qimg_image_size(image) };
    struct qimg_extent extents[8];
    unsigned char sector[512];

    const int count = qimg_image_map(image, all, false, extents, 8, err);
    if (count < 0)
        return count;
    for (int i = 0; i < count; i++)
        printf("%10" PRIu64 " +%-10" PRIu64 " %-10s %s\n", extents[i].guest_off, extents[i].len,
               kind_name(extents[i].kind), qimg_image_file(image, extents[i].layer));

    if (all.len < sizeof(sector))
        return 0;
    const int rc = qimg_image_read(image, 0, sector, sizeof(sector), err);
    if (rc < 0)
        return rc;
    printf("first byte: 0x%02x\n", sector[0]);
    return 0;
}

int main(int argc, char **argv)
{
    struct qimg_context *context = NULL;
    struct qimg_image *image = NULL;
    struct qimg_error err;
    int rc;

    if (argc != 2) {
        fprintf(stderr, "usage: %s IMAGE\n", argv[0]);
        return 1;
    }
    qimg_error_clear(&err);
    rc = qimg_context_new(NULL, &context, &err);
    if (rc == 0)
        rc = qimg_image_open(context, argv[1], NULL, &image, &err);
    if (rc == 0)
        rc = show(image, &err);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n%s", argv[0], err.text, err.hint);
    qimg_image_close(image);
    qimg_context_free(context);
    return rc < 0 ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of a virtual machine in an open image, outside of its snapshots: for the time of one
 * request the format shows it as a part of the disk, and nobody else looks meanwhile.
 */
#include <string.h>

#include "chain_admin.h"
#include "qimg/admin.h"
#include "qimg/write.h"
#include "writing.h"

static int show(struct qimg_image *image, struct qimg_range state, bool writes, uint64_t *guest_off,
                struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    const struct format_admin_ops *admin = top->ops->admin;

    if (!admin || !admin->vm_state)
        return qimg_fail(err, ENOTSUP, "%s", strerror(ENOTSUP));
    TRY(admin->vm_state(top, state, writes, guest_off, err));
    chain_admin_end(image);
    return 0;
}

static void hide(struct qimg_image *image, uint64_t disk)
{
    image->layers[0].image->size = disk;
    chain_admin_end(image);
}

int qimg_vm_state_read(struct qimg_image *image, uint64_t off, void *buf, size_t len,
                       struct qimg_error *err)
{
    const uint64_t disk = image->layers[0].image->size;
    uint64_t guest_off;

    TRY(chain_writing_end(image, err));
    TRY(show(image, (struct qimg_range){ off, len }, false, &guest_off, err));
    const int rc = qimg_image_read(image, guest_off, buf, len, err);
    hide(image, disk);
    return rc;
}

int qimg_vm_state_write(struct qimg_image *image, uint64_t off, const void *buf, size_t len,
                        struct qimg_error *err)
{
    const uint64_t disk = image->layers[0].image->size;
    uint64_t guest_off;

    TRY(chain_admin_begin(image, err));
    TRY(show(image, (struct qimg_range){ off, len }, true, &guest_off, err));
    int rc = qimg_image_write(image, guest_off, buf, len, err);
    if (rc == 0)
        rc = chain_writing_end(image, err);
    hide(image, disk);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Records another backing file, so that a crash at any moment leaves the old name or the new one.
 *
 * "Sector 0" is bytes 0..511, which a disk writes whole or not at all. It holds the header, and
 * the extensions as far as they change; so one write of it flips the name's place and length,
 * the format and the feature bits together:
 *
 *   (1) the new name is written where neither the old header, its extensions nor the old name
 *       lie, behind the new end marker and below byte 33,280 (libvirt reads no further); sync;
 *   (2) sector 0 is written; sync.
 *
 * A name that fits sector 0 beside the rest needs no (1). What was there before and is not needed
 * any more stays as it is: no reader looks behind the end marker but for the name.
 *
 * head.c decides what stands where. Bitmaps stay valid: no guest data changes.
 *
 * Cases in which one sector cannot hold the change, and the whole of header, extensions and name
 * is written at once (after (1), where there was room for that):
 *
 *   - extensions that we must keep (unknown ones, a long data file name, more than 400 bytes of
 *     unknown header) reach beyond byte 511, and the format's extension appears, disappears or
 *     changes its padded length, so that they move. A torn write leaves a header whose
 *     extensions are cut: opening it fails with "Header extension too large" or misses one.
 *   - clusters of 1 KiB and 2 KiB whose old and new names do not fit beside each other. A torn
 *     write leaves a name with a wrong tail, or the new place with old bytes: opening the chain
 *     fails, guest data is untouched, and repeating the command mends it.
 *   - clusters of 512 bytes are one sector, and always flip at once.
 */
#include <assert.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "head.h"
#include "meta.h"

static int write_out(const struct qcow2_head *head)
{
    struct io_file *file = head->q->image.file;
    uint8_t sector[QCOW2_SECTOR];

    TRY(qcow2_head_stage(head)); /* (1) */
    if (head->flips) {
        qcow2_head_sector(head, sector);
        TRY(io_write_exact(file, 0, sector, sizeof(sector))); /* (2) */
    } else {
        TRY(qcow2_head_write_whole(head));
    }
    return io_sync(file);
}

static int check_request(const struct qcow2 *q, const char *name, const char *format)
{
    assert(q->writable);
    if (name && (q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
        return -EINVAL; /* the data file alone must tell the whole truth */
    if (name && strlen(name) > LIMIT_BACKING_NAME)
        return -EINVAL;
    if (format && strlen(format) > LIMIT_BACKING_FORMAT)
        return -EINVAL;
    return 0;
}

int qcow2_set_backing(struct image *image, const char *name, const char *format,
                      struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    AUTO(qcow2_head_release)
    struct qcow2_head head = {
        .q = q,
        .header = q->header,
        .set_backing = true,
        .name = name && *name ? name : NULL,
        .format = name && *name ? format : NULL,
    };

    int rc = check_request(q, head.name, head.format);
    if (rc < 0)
        return qimg_fail(err, -rc, "%s", strerror(-rc));
    if (q->meta) { /* what the guest reads must not depend on the old name when the new one stands
                    */
        TRY(meta_flush(q, err));
        head.header = q->header;
    }
    rc = qcow2_head_plan(&head);
    if (rc == 0)
        rc = write_out(&head);
    if (rc < 0)
        return qimg_fail(err, -rc, "%s", strerror(-rc));
    qcow2_head_adopt(&head, q);
    if (q->meta)
        meta_header_written(q);
    return 0;
}

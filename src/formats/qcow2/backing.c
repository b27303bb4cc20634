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

static int check_request(const struct qcow2 *q, const char *name, const char *format)
{
    if (name && (q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
        return -EINVAL; /* the data file alone must tell the whole truth */
    if (name && strlen(name) > LIMIT_BACKING_NAME)
        return -EINVAL;
    if (format && strlen(format) > LIMIT_BACKING_FORMAT)
        return -EINVAL;
    return 0;
}

/* Plans @head and makes it true. @flip_only: in one write of sector 0 or not at all. */
static int change_head(struct qcow2_head *head, struct qcow2 *q, bool flip_only,
                       struct qimg_error *err)
{
    if (q->meta) { /* what the guest reads must not depend on the old name when the new one stands
                    */
        TRY(meta_flush(q, err));
        head->header = q->header;
    }
    int rc = qcow2_head_plan(head);
    if (rc == 0 && flip_only && !head->flips)
        rc = -ENOSPC;
    if (rc == 0)
        rc = qcow2_head_write(head);
    if (rc < 0)
        return qimg_fail(err, -rc, "%s", strerror(-rc));
    qcow2_head_adopt(head, q);
    if (q->meta)
        meta_header_written(q);
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct qcow2_head head_with(const struct qcow2 *q, const char *name, const char *format)
{
    const bool none = !name || *name == '\0';

    return (struct qcow2_head){
        .q = q,
        .header = q->header,
        .set_backing = true,
        .name = none ? NULL : name,
        .format = none ? NULL : format,
        /* A fingerprint describes the file by that name. */
        .set_fingerprint = !same_text(none ? NULL : name, q->image.backing_name) ||
                           !same_text(none ? NULL : format, q->image.backing_format),
    };
}

int qcow2_backing_fits(struct image *image, const char *name, const char *format,
                       struct qimg_error *err)
{
    const struct qcow2 *q = qcow2_of(image);
    AUTO(qcow2_head_release) struct qcow2_head head = head_with(q, name, format);

    int rc = check_request(q, head.name, head.format);
    if (rc == 0)
        rc = qcow2_head_plan(&head);
    return rc < 0 ? qimg_fail(err, -rc, "%s", strerror(-rc)) : 0;
}

int qcow2_set_backing(struct image *image, const char *name, const char *format,
                      struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    AUTO(qcow2_head_release) struct qcow2_head head = head_with(q, name, format);

    assert(q->writable);
    const int rc = check_request(q, head.name, head.format);
    if (rc < 0)
        return qimg_fail(err, -rc, "%s", strerror(-rc));
    return change_head(&head, q, false, err);
}

/* --- with a fingerprint ---------------------------------------------------------------------- */

/* Whenever QEMU changes the header it writes all feature names, and the backing name behind the
 * extensions. Without room for that it could change nothing any more. */
static bool qemu_has_room(const struct qcow2 *q, const struct backing_seal *seal)
{
    const struct qcow2_extension_vec *list = &q->extensions.list;
    uint64_t need = q->header.header_length + QCOW2_EXT_HEADER_BYTES + strlen(seal->name) +
                    QCOW2_EXT_HEADER_BYTES + align_up(seal->format ? strlen(seal->format) : 0, 8) +
                    QCOW2_EXT_HEADER_BYTES + align_up(seal->fingerprint_len, 8);
    uint32_t names_len = 0;

    if (q->header.version >= 3) {
        (void)qcow2_feature_names(&names_len);
        need += QCOW2_EXT_HEADER_BYTES + names_len;
    }
    for (size_t i = 0; i < list->count; i++) {
        const uint32_t type = list->items[i].type;
        if (type != QCOW2_EXT_FEATURE_NAMES && type != QCOW2_EXT_BACKING_FORMAT &&
            type != QCOW2_EXT_FINGERPRINT)
            need += QCOW2_EXT_HEADER_BYTES + align_up(list->items[i].len, 8);
    }
    return need <= qcow2_cluster_size(q);
}

static int refuse_room(int rc, struct qimg_error *err)
{
    if (rc != -ENOSPC)
        return rc;
    return qimg_fail(err, ENOSPC, "the first cluster has no room for a fingerprint");
}

int qcow2_seal(struct image *image, const struct backing_seal *seal, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    AUTO(qcow2_head_release)
    struct qcow2_head head = {
        .q = q,
        .header = q->header,
        .set_backing = true,
        .name = seal->name,
        .format = seal->format,
        .set_fingerprint = true,
        .fingerprint = seal->fingerprint,
        .fingerprint_len = seal->fingerprint_len,
    };

    assert(q->writable);
    int rc = check_request(q, head.name, head.format);
    if (rc < 0)
        return qimg_fail(err, -rc, "%s", strerror(-rc));
    if (seal->fingerprint && !qemu_has_room(q, seal))
        return refuse_room(-ENOSPC, err);
    if (!seal->dry_run) {
        rc = change_head(&head, q, seal->fingerprint != NULL, err);
        return head.flips ? rc : refuse_room(rc, err); /* else it is the disk that is full */
    }
    rc = qcow2_head_plan(&head);
    if (rc == 0 && seal->fingerprint && !head.flips)
        rc = -ENOSPC;
    return rc == 0 || rc == -ENOSPC ? refuse_room(rc, err)
                                    : qimg_fail(err, -rc, "%s", strerror(-rc));
}

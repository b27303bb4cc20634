/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing features in place. All that can be refused is refused before anything changes; then
 * come the steps, in QEMU's order (version up, counts, data file, lazy refcounts, size, version
 * down), each of them durable: a crash between two leaves a good image with part of the features.
 */
#include "amend.h"

#include <string.h>

#include "cleanup.h"
#include "empty.h"
#include "head.h"
#include "resize.h"
#include "snapshot_write.h"
#include "vm_state.h"

#define V3_ONLY "compatibility level 1.1 and above (use compat=1.1 or greater)"

static unsigned new_version(const struct qcow2 *q, const struct amend_request *r)
{
    return r->version ? r->version : q->header.version;
}

static unsigned new_bits(const struct qcow2 *q, const struct amend_request *r)
{
    return r->refcount_bits ? r->refcount_bits : 1u << q->header.refcount_order;
}

/* --- what is refused ------------------------------------------------------------------------ */

static int check_data_file(const struct qcow2 *q, const struct amend_request *r,
                           struct qimg_error *err)
{
    const bool raw = q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;

    if (r->data_file && !q->geometry.data_file)
        return qimg_fail(err, EINVAL,
                         "data-file can only be set for images that use an external data file");
    if (r->set_data_file_raw && r->data_file_raw && !raw)
        return qimg_fail(err, EINVAL, "data-file-raw cannot be set on existing images");
    return 0;
}

static int check(struct qcow2 *q, const struct amend_request *r, struct qimg_error *err)
{
    const unsigned version = new_version(q, r), bits = new_bits(q, r);

    if (!is_pow2(bits) || bits > 64)
        return qimg_fail(err, EINVAL,
                         "Refcount width must be a power of two and may not exceed 64 bits");
    TRY(check_data_file(q, r, err));
    if (version < 3 && bits != 16 && bits != 1u << q->header.refcount_order)
        return qimg_fail(err, EINVAL,
                         "Refcount widths other than 16 bits require compatibility level 1.1 or "
                         "above (use compat=1.1 or greater)");
    if (r->set_lazy_refcounts && r->lazy_refcounts && version < 3)
        return qimg_fail(err, EINVAL, "Lazy refcounts only supported with " V3_ONLY);
    if (version < q->header.version)
        return qcow2_amend_check_downgrade(q, bits, r->set_size ? r->resize.size : q->image.size,
                                           err);
    return 0;
}

/* --- the header's own features -------------------------------------------------------------- */

static int change_failed(int rc, struct qimg_error *err)
{
    return qimg_fail_errno(err, -rc, "Failed to update the image header");
}

static int set_lazy(struct qcow2 *q, bool lazy, struct qimg_error *err)
{
    struct qcow2_header header = q->header;

    if (lazy)
        header.compatible |= QCOW2_COMPAT_LAZY_REFCOUNTS;
    else
        header.compatible &= ~QCOW2_COMPAT_LAZY_REFCOUNTS;
    if (header.compatible == q->header.compatible)
        return 0;
    const int rc = qcow2_flip_header(q, &header, NULL);
    return rc < 0 ? change_failed(rc, err) : qcow2_reload(q, err);
}

static int set_data_file(struct qcow2 *q, const struct amend_request *r, struct qimg_error *err)
{
    AUTO(qcow2_head_release) struct qcow2_head head = { .q = q, .header = q->header };

    if (!r->data_file && !r->set_data_file_raw)
        return 0;
    if (r->set_data_file_raw && !r->data_file_raw)
        head.header.autoclear &= ~QCOW2_AUTOCLEAR_DATA_FILE_RAW;
    head.set_data_file = r->data_file != NULL;
    head.data_file = r->data_file && *r->data_file ? r->data_file : NULL;
    int rc = qcow2_head_plan(&head);
    if (rc == 0)
        rc = qcow2_head_write(&head);
    return rc < 0 ? change_failed(rc, err) : qcow2_reload(q, err);
}

/* --- all of it ------------------------------------------------------------------------------ */

static int change(struct qcow2 *q, const struct amend_request *r, struct qimg_error *err)
{
    const unsigned version = new_version(q, r);
    const unsigned order = log2_u64(new_bits(q, r));

    if (version > q->header.version)
        TRY(qcow2_amend_upgrade(q, err));
    if (order != q->header.refcount_order)
        TRY(qcow2_amend_refcounts(q, order, r, err));
    TRY(set_data_file(q, r, err));
    if (r->set_lazy_refcounts && q->header.version >= 3)
        TRY(set_lazy(q, r->lazy_refcounts, err));
    if (r->set_size)
        TRY(qcow2_resize(&q->image, &r->resize, err));
    if (version < q->header.version)
        TRY(qcow2_amend_downgrade(q, r, err));
    return 0;
}

int qcow2_amend(struct image *image, const struct amend_request *request, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);

    qimg_error_clear(err);
    TRY(check(q, request, err));
    TRY(change(q, request, err));
    if (request->progress)
        (void)request->progress(request->user, 1, 1);
    return 0;
}

/* --- the verbs of admin.h ------------------------------------------------------------------- */

const struct format_admin_ops qcow2_admin_ops = {
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
    .empty = qcow2_empty,
    .resize = qcow2_resize,
    .amend = qcow2_amend,
    .vm_state = qcow2_vm_state,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Adding, removing, clearing, enabling, disabling and merging persistent bitmaps. All steps of a
 * request are done in memory first, each on what the ones before have made, and reach the disk
 * together: after a crash, or a failure of any step, the image has all of it or nothing.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "bitmap_store.h"
#include "bitmap_verbs.h"
#include "cleanup.h"
#include "meta.h"

#define MIN_GRANULARITY      UINT64_C(512)
#define MAX_GRANULARITY_BITS 31
#define DEFAULT_MIN          (4 * KiB)
#define DEFAULT_MAX          (64 * KiB)

/* --- may it be added? ------------------------------------------------------------------------- */

int bitmap_check_space(const struct qcow2 *q, uint64_t size, unsigned granularity_bits,
                       struct qimg_error *err)
{
    const uint64_t pieces = bitmap_piece_count(q, size, granularity_bits);

    if (pieces << q->header.cluster_bits >
        max_u64(LIMIT_QCOW2_BITMAP_DATA_BYTES, qcow2_cluster_size(q)))
        return qimg_fail(err, EFBIG,
                         "Too much space will be occupied by the bitmap. Use larger granularity");
    if (pieces == 0)
        return qimg_fail(err, EFBIG, "The disk is empty");
    return 0;
}

static int check_room(const struct bitmap_edit *edit, const char *name, struct qimg_error *err)
{
    uint64_t len = align_up(QCOW2_BITMAP_BYTES + strlen(name), 8);

    for (size_t i = 0; i < edit->list.count; i++)
        len += align_up(QCOW2_BITMAP_BYTES + strlen(edit->list.items[i].name), 8);
    if (edit->list.count == LIMIT_QCOW2_BITMAPS)
        return qimg_fail(err, EINVAL, "Maximum number of persistent bitmaps is already reached");
    if (len > LIMIT_QCOW2_BITMAP_DIR_BYTES)
        return qimg_fail(err, EINVAL, "Not enough space in the bitmap directory");
    return 0;
}

static int check_storable(const struct bitmap_edit *edit, const char *name,
                          unsigned granularity_bits, struct qimg_error *err)
{
    const struct qcow2 *q = edit->q;

    if (q->header.version < 3)
        return qimg_fail(err, EINVAL, "Cannot store dirty bitmaps in qcow2 v2 files");
    if (granularity_bits > MAX_GRANULARITY_BITS)
        return qimg_fail(err, EINVAL, "Granularity exceeds maximum (%u bytes)",
                         1u << MAX_GRANULARITY_BITS);
    TRY(bitmap_check_space(q, q->image.size, granularity_bits, err));
    if (strlen(name) > LIMIT_QCOW2_BITMAP_NAME)
        return qimg_fail(err, EINVAL, "Name length exceeds maximum (%d characters)",
                         LIMIT_QCOW2_BITMAP_NAME);
    return check_room(edit, name, err);
}

/* --- steps ---------------------------------------------------------------------------------- */

static int add(struct bitmap_edit *edit, const struct bitmap_step *step, const char *shown,
               struct qimg_error *err)
{
    uint64_t granularity = step->granularity;

    if (step->name[0] == '\0')
        return qimg_fail(err, EINVAL, "Bitmap name cannot be empty");
    if (granularity == 0)
        granularity = min_u64(max_u64(DEFAULT_MIN, edit->q->image.cluster_size), DEFAULT_MAX);
    if (granularity < MIN_GRANULARITY || !is_pow2(granularity) || granularity > UINT32_MAX)
        return qimg_fail(err, EINVAL, "Granularity must be power of 2 and at least 512");
    if (bitmap_edit_find(edit, step->name) >= 0)
        return qimg_fail(err, EEXIST, "Bitmap already exists: %s", step->name);
    if (check_storable(edit, step->name, log2_u64(granularity), err) < 0)
        return qimg_within(err, "Can't make bitmap '%s' persistent in '%s'", step->name, shown);

    struct qcow2_bitmap b = { .flags = QCOW2_BITMAP_AUTO,
                              .granularity_bits = (uint8_t)log2_u64(granularity) };
    TRY(qcow2_bitmap_vec_reserve(&edit->list, 1) < 0 ? qimg_fail_memory(err) : 0);
    b.bits = bitmap_bits_new(edit->q, b.granularity_bits);
    b.name = strdup(step->name);
    if (!b.bits || !b.name) {
        bitmap_bits_free(b.bits);
        free(b.name);
        return qimg_fail_memory(err);
    }
    return qcow2_bitmap_vec_push(&edit->list, b);
}

static int not_found(const char *name, struct qimg_error *err)
{
    return qimg_fail(err, ENOENT, "Dirty bitmap '%s' not found", name);
}

static int merge_bits(struct bitmap_bits *to, const struct bitmap_bits *from,
                      struct qimg_error *err)
{
    if (to->size != from->size)
        return qimg_fail(err, EINVAL,
                         "Bitmaps are of different sizes (destination size is %" PRIu64
                         ", source size is %" PRIu64 ") and can't be merged",
                         to->size, from->size);
    const int rc = bitmap_bits_merge(to, from);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not read bitmap from image") : 0;
}

/* From a bitmap of another image, which is only read. */
static int merge_foreign(struct bitmap_bits *to, const struct bitmap_step *step,
                         struct qimg_error *err)
{
    const struct qcow2_bitmap *found = NULL;
    struct bitmap_bits *from;

    if (step->source->ops == &qcow2_ops) {
        const struct qcow2 *source = qcow2_of_const(step->source);
        for (size_t i = 0; i < source->bitmaps.count; i++)
            if (strcmp(source->bitmaps.items[i].name, step->source_name) == 0)
                found = &source->bitmaps.items[i];
    }
    if (!found)
        return not_found(step->source_name, err);
    if (found->flags & QCOW2_BITMAP_IN_USE)
        return bitmap_refuse_inconsistent(found, err);
    TRY(bitmap_bits_load(qcow2_of_const(step->source), found, &from, err));
    const int rc = merge_bits(to, from, err);
    bitmap_bits_free(from);
    return rc;
}

static int merge(struct bitmap_edit *edit, size_t at, const struct bitmap_step *step,
                 struct qimg_error *err)
{
    struct bitmap_bits *to = edit->list.items[at].bits;

    if (step->source && step->source != &edit->q->image)
        return merge_foreign(to, step, err);
    const ssize_t from = bitmap_edit_find(edit, step->source_name);
    if (from < 0)
        return not_found(step->source_name, err);
    TRY(bitmap_edit_load(edit, (size_t)from, err));
    return (size_t)from == at ? 0 : merge_bits(to, edit->list.items[from].bits, err);
}

static int do_step(struct bitmap_edit *edit, const struct bitmap_step *step, const char *shown,
                   struct qimg_error *err)
{
    if (step->verb == BITMAP_ADD)
        return add(edit, step, shown, err);
    const ssize_t found = bitmap_edit_find(edit, step->name);
    if (found < 0)
        return not_found(step->name, err);
    const size_t at = (size_t)found;
    if (step->verb == BITMAP_REMOVE)
        return bitmap_edit_remove(edit, at, err);

    TRY(bitmap_edit_load(edit, at, err));
    struct qcow2_bitmap *b = &edit->list.items[at];
    switch (step->verb) {
    case BITMAP_CLEAR:
        bitmap_bits_clear(b->bits);
        return 0;
    case BITMAP_ENABLE:
        b->flags |= QCOW2_BITMAP_AUTO;
        return 0;
    case BITMAP_DISABLE:
        b->flags &= ~(uint32_t)QCOW2_BITMAP_AUTO;
        return 0;
    default:
        return merge(edit, at, step, err);
    }
}

/* --- the request ---------------------------------------------------------------------------- */

static int do_steps(struct bitmap_edit *edit, struct bitmap_request *request,
                    struct qimg_error *err)
{
    for (request->failed = 0; request->failed < request->count; request->failed++)
        TRY(do_step(edit, &request->steps[request->failed], request->shown, err));
    return 0;
}

/* All steps, up to what the next flush makes true. */
static int prepare(struct qcow2 *q, struct bitmap_request *request, struct qimg_error *err)
{
    AUTO(bitmap_edit_release) struct bitmap_edit edit = { 0 };
    const struct bitmap_space space = bitmap_space_of_meta(q);

    TRY(bitmap_edit_begin(&edit, q, err));
    TRY(do_steps(&edit, request, err));
    TRY(bitmap_edit_store(&edit, &space, err));
    TRY(bitmap_edit_publish(&edit, err));
    (void)!bitmap_edit_drop(&edit, &space); /* what is not given back leaks */
    bitmap_edit_adopt(&edit);
    return 0;
}

int qcow2_change_bitmaps(struct image *image, struct bitmap_request *request,
                         struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);

    request->failed = request->count;
    if (!q->writable)
        return qimg_fail(err, EACCES, "Block node is read-only");
    if (q->meta)
        return qimg_fail(err, EBUSY, "An earlier change of the image has failed");
    TRY(meta_open(q, err));
    int rc = prepare(q, request, err);
    if (rc < 0 && meta_failed(q) == 0) {
        meta_close(q); /* nothing happened */
        return rc;
    }
    if (rc == 0)
        rc = meta_settle(q, err);
    /* After a failed write nobody knows what the disk holds: the cache stays, and with it the
     * refusal of all further changes. */
    if (rc == 0)
        meta_close(q);
    return rc;
}

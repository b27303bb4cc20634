/* SPDX-License-Identifier: Apache-2.0
 *
 * Where packed clusters go: one behind the other, byte by byte, in host clusters that count one
 * reference for each packed cluster that touches them. A cluster whose count is at its maximum, or
 * that has too little room and no free neighbour, is left; the next one begins a fresh one.
 */
#include <assert.h>

#include "checked.h"
#include "meta_internal.h"

#define HOST_OFFSET_BITS 56

/* Tries to go on at packed_next: 1, or 0 where it takes a fresh cluster. */
static int go_on(struct qcow2 *q, uint32_t len, uint64_t *off)
{
    const uint64_t cs = qcow2_cluster_size(q), at = q->meta->packed_next;
    const struct qimg_range cluster = { align_down(at, cs), cs };
    uint64_t count;

    if (at == 0)
        return 0;
    TRY(refcount_raw(q, cluster.off >> q->header.cluster_bits, &count));
    if (count == 0 || count >= refcount_max(q))
        return 0;
    if (at + len > range_end(cluster)) {
        const int got = clusters_alloc_at(q, range_end(cluster));
        if (got <= 0)
            return got;
    }
    TRY(clusters_ref(q, cluster));
    *off = at;
    return 1;
}

static int place(struct qcow2 *q, uint32_t len, uint64_t *off)
{
    const uint64_t cs = qcow2_cluster_size(q);
    const int went_on = go_on(q, len, off);

    TRY(went_on);
    if (!went_on)
        TRY(clusters_alloc(q, 1, off));
    const uint64_t end = *off + len;
    q->meta->packed_next = is_aligned(end, cs) ? 0 : end;
    return 0;
}

/* Where packed bytes must end: by the bits of an entry, and by QEMU's greatest host offset. */
static uint64_t offset_end(const struct qcow2 *q)
{
    return UINT64_C(1) << min_u64(HOST_OFFSET_BITS,
                                  qcow2_packed_off_bits(q->geometry.cluster_bits));
}

static int packed_place(struct qcow2 *q, uint64_t guest_off, uint32_t len, uint64_t *off)
{
    const struct qimg_range cluster = { guest_off, qcow2_cluster_size(q) };
    struct cluster_view v;

    TRY(view_cluster(q, guest_off, &v));
    if (plans_free_until(q, cluster, false) == guest_off)
        return -EAGAIN;
    if (v.cluster.host_off != QIMG_NO_OFFSET)
        return -EIO; /* as QEMU: packing never replaces */
    TRY(l2_table_prepare(q, guest_off));
    TRY(place(q, len, off));
    if (*off + len <= offset_end(q))
        return 0;
    clusters_cancel(q, clusters_of(q, (struct qimg_range){ *off, len }));
    return -EFBIG;
}

int qcow2_packed_begin(struct image *image, uint64_t guest_off, uint32_t packed_len,
                       struct write_plan *plan, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    const uint64_t cs = qcow2_cluster_size(q);
    uint64_t off;

    assert(is_aligned(guest_off, cs) && guest_off < image->size);
    assert(packed_len > 0 && packed_len < cs);
    TRY(write_enter(q, err));
    if (!image->packs)
        return write_result(q, -ENOTSUP, "write", err);
    const int rc = packed_place(q, guest_off, packed_len, &off);
    if (rc < 0)
        return write_result(q, rc, "write", err);
    *plan = (struct write_plan){
        .guest = range_clip((struct qimg_range){ guest_off, cs }, image->size),
        .host_off = off,
        .clusters = { guest_off, cs },
        .packed_len = packed_len,
        .how = WRITE_PACKED,
    };
    plan->linked = plan->guest;
    plan_add(q, plan);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of a virtual machine: bytes in the same tables as the disk, from the first L2 table on
 * that describes nothing of it. Who reads or writes them is shown a longer disk; the header's size
 * stays. A longer L1 table is built beside the old one (shadow.h).
 */
#include "vm_state.h"

#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "tree.h"

static int build(struct shadow *s, uint64_t count)
{
    const struct qcow2_header *h = &s->q->header;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };

    TRY(tree_l1_load(s->q, h->l1_off, h->l1_count, &l1));
    uint64_t *words = reallocarray(l1.words, count, sizeof(*words));
    if (!words)
        return -ENOMEM;
    l1.words = words;
    memset(words + l1.count, 0, (count - l1.count) * sizeof(*words));
    TRY(tree_l1_replace(s, words, count));
    return shadow_commit(s);
}

/* An L1 table for guest bytes up to @end, and for half as much again: states are appended to. */
static int make_room(struct qcow2 *q, uint64_t end, struct qimg_error *err)
{
    const uint64_t most = LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES;
    const uint64_t needed = div_up(end, UINT64_C(1) << qcow2_l2_coverage_bits(&q->geometry));
    const uint64_t now = q->header.l1_count;
    struct shadow s;

    if (needed <= now)
        return 0;
    if (needed > most)
        return qimg_fail_errno(err, EFBIG, "Failed to grow the L1 table");
    int rc = shadow_begin(&s, q, SHADOW_BEHIND);
    if (rc == 0)
        rc = build(&s, min_u64(max_u64(needed, now + now / 2), most));
    return shadow_finish(&s, rc, "Failed to grow the L1 table", err);
}

int qcow2_vm_state(struct image *image, struct qimg_range state, bool room, uint64_t *guest_off,
                   struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    const uint64_t coverage = UINT64_C(1) << qcow2_l2_coverage_bits(&q->geometry);
    const uint64_t behind_disk = align_up(image->size, coverage);

    qimg_error_clear(err);
    if (behind_disk > INT64_MAX || !range_within(state, INT64_MAX - behind_disk))
        return qimg_fail_errno(err, EIO, "the VM state would end behind what an image can hold");
    const uint64_t end = align_up(behind_disk + range_end(state), qcow2_cluster_size(q));
    if (room)
        TRY(make_room(q, end, err));
    image->size = end;
    *guest_off = behind_disk + state.off;
    return 0;
}

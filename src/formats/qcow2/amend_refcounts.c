/* SPDX-License-Identifier: Apache-2.0
 *
 * Reference counts of another width: all blocks and the table anew, in a shadow.
 */
#include <inttypes.h>

#include "amend.h"
#include "cleanup.h"

struct conversion {
    struct shadow *s;
    struct shadow_counts new;
    const struct amend_request *request;
    struct qimg_error *err;
};

static int too_narrow(const struct conversion *c, uint64_t cluster, uint64_t count)
{
    return qimg_fail(c->err, EINVAL,
                     "Cannot decrease refcount entry width to %u bits: Cluster at offset %#" PRIx64
                     " has a refcount of %" PRIu64,
                     1u << c->new.order, cluster << c->new.cluster_bits, count);
}

/* The counts of one old block. */
static int convert_block(struct conversion *c, uint64_t index)
{
    struct shadow_counts *old = &c->s->counts;
    const uint64_t first = index << old->block_bits;

    for (uint64_t i = 0; i < UINT64_C(1) << old->block_bits; i++) {
        uint64_t count;
        TRY(shadow_counts_get(old, first + i, &count));
        if (count == 0)
            continue;
        const int rc = shadow_counts_set(&c->new, first + i, count);
        if (rc == -EINVAL)
            return too_narrow(c, first + i, count);
        TRY(rc);
    }
    return 0;
}

static int convert(struct conversion *c)
{
    AUTO(blanks_release) struct blanks blanks = { 0 };
    struct shadow_counts *old = &c->s->counts;
    const struct amend_request *r = c->request;

    for (size_t i = 0; i < old->count; i++) {
        bool none;
        if (r->progress && r->progress(r->user, i, old->count))
            return -ECANCELED;
        TRY(shadow_counts_none_in(old, i, &blanks, &none));
        if (!none)
            TRY(convert_block(c, i));
    }
    return 0;
}

/* The new counts become the shadow's, and the old blocks are not counted any more. */
static int adopt(struct conversion *c)
{
    struct shadow *s = c->s;
    const uint64_t cluster = UINT64_C(1) << c->new.cluster_bits;
    struct shadow_counts old = s->counts;
    int rc = 0;

    s->counts = c->new;
    c->new = (struct shadow_counts){ 0 };
    for (size_t i = 0; i < old.count && rc == 0; i++)
        if (old.blocks[i].off)
            rc = shadow_unref(s, (struct qimg_range){ old.blocks[i].off, cluster });
    shadow_counts_release(&old);
    s->header.refcount_order = s->counts.order;
    s->in_place = true; /* where QEMU has it too */
    return rc < 0 ? rc : shadow_commit(s);
}

int qcow2_amend_refcounts(struct qcow2 *q, unsigned order, const struct amend_request *request,
                          struct qimg_error *err)
{
    struct shadow s;
    struct conversion c = { .s = &s, .request = request, .err = err };
    int rc = shadow_begin(&s, q, SHADOW_BEHIND);

    shadow_counts_init(&c.new, q, order);
    c.new.place = shadow_place_block;
    c.new.user = &s;
    if (rc == 0)
        rc = convert(&c);
    if (rc == 0)
        rc = adopt(&c);
    shadow_counts_release(&c.new);
    return shadow_finish(&s, rc, "Failed to change the refcount width", err);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * From host clusters back to the guest: which part of the active disk lies in a cluster that a
 * finding names. One more walk over the tables, for all findings at once.
 */
#include <stdlib.h>

#include "check.h"
#include "cleanup.h"
#include "vec.h"

struct wanted {
    uint64_t cluster;
    size_t found; /* index in check.found */
};

static int by_cluster(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;

    return x->cluster != y->cluster ? compare_u64(x->cluster, y->cluster)
                                    : compare_u64(x->found, y->found);
}

/* The first of the sorted list at or behind @cluster. */
static size_t lower_bound(const struct check *c, uint64_t cluster)
{
    return LOWER_BOUND(c->wanted, c->wanted_count, cluster, cluster);
}

/* Guest bytes that lie in these clusters: the first range found, grown by what follows it. */
static void note(struct check *c, struct qimg_range host, struct qimg_range guest)
{
    const uint64_t last = check_cluster_of(c, host.off + host.len - 1);
    size_t i = lower_bound(c, check_cluster_of(c, host.off));

    for (; i < c->wanted_count && c->wanted[i].cluster <= last; i++) {
        struct qimg_range *known = &c->found.items[c->wanted[i].found].guest;
        if (known->len == 0)
            *known = guest;
        else if (known->off + known->len == guest.off)
            known->len += guest.len;
    }
}

static int before_table(struct check *c, uint64_t l1_index, uint64_t word, bool active)
{
    const struct qcow2_geometry *g = &c->q->geometry;
    const uint64_t coverage = UINT64_C(1) << qcow2_l2_coverage_bits(g);
    const struct qimg_range guest = { l1_index * coverage, coverage };

    (void)active;
    note(c, (struct qimg_range){ word & QCOW2_OFFSET_MASK, qcow2_cluster_size(c->q) }, guest);
    return 0;
}

static int note_table(struct check *c, struct walked_table *table)
{
    const struct qcow2_geometry *g = &c->q->geometry;
    const uint64_t guest = table->l1_index << qcow2_l2_coverage_bits(g);

    if (g->data_file)
        return 0;
    for (uint64_t i = 0; i < UINT64_C(1) << g->l2_bits; i++) {
        struct qcow2_l2_entry e = { load_be64(table->bytes + (i << g->entry_bits)), 0 };
        const uint64_t guest_off = guest + (i << g->cluster_bits);
        if (e.word == 0)
            continue;
        if (g->extended_l2)
            e.bitmap = load_be64(table->bytes + (i << g->entry_bits) + 8);
        const struct qcow2_cluster cluster = qcow2_l2_decode(e, guest_off, g);
        if (cluster.host_off == QIMG_NO_OFFSET)
            continue;
        const uint64_t len = cluster.packed_len ? cluster.packed_len : qcow2_cluster_size(c->q);
        note(c, (struct qimg_range){ cluster.host_off, len },
             (struct qimg_range){ guest_off, qcow2_cluster_size(c->q) });
    }
    return 0;
}

static int pass_over(struct check *c, const struct walked_table *table, int rc)
{
    (void)c;
    (void)table;
    (void)rc;
    return 0;
}

/* The first link to a table says where its clusters are. */
static uint64_t wants(struct check *c, uint64_t l2_off)
{
    struct census_table *known = census_find(&c->census, l2_off);

    if (!known)
        return !c->census.frozen; /* nothing was looked at yet */
    const bool first = !known->explained;
    known->explained = true;
    return first;
}

static int walk_active(struct check *c)
{
    struct table_walk w = {
        .wants = wants, .before = before_table, .visit = note_table, .failed = pass_over
    };

    for (size_t i = 0; i < c->census.count; i++)
        c->census.tables[i].explained = false;
    return check_walk_active(c, &w);
}

int check_explain(struct check *c)
{
    AUTO_FREE struct wanted *wanted = calloc(c->found.count ? c->found.count : 1, sizeof(*wanted));

    if (!wanted)
        return -ENOMEM;
    c->wanted_count = 0;
    for (size_t i = 0; i < c->found.count; i++) {
        const struct found *f = &c->found.items[i];
        if (f->host_off != QIMG_NO_OFFSET && f->guest.len == 0)
            wanted[c->wanted_count++] = (struct wanted){ check_cluster_of(c, f->host_off), i };
    }
    if (c->wanted_count == 0)
        return 0;
    qsort(wanted, c->wanted_count, sizeof(*wanted), by_cluster);
    c->wanted = wanted;
    const int rc = walk_active(c);
    c->wanted = NULL;
    c->wanted_count = 0;
    return rc;
}

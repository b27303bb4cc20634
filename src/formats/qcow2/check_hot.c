/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot clusters: those with more references than their counts can hold. QEMU complains of each
 * reference for which there is no room any more, in the order in which it meets them. So do we,
 * without going through a table for each of the thousands of references before:
 *
 *   A table with L links, which leads to clusters of at most T references where counts end at M,
 *   overflows none of them at its first L - (T - M) visits, since T - M references to each are
 *   still to come then. Nothing else overflows them before the last of these visits, so that all
 *   of them are counted at that one.
 *
 * So there are no more visits one by one than there are findings.
 */
#include <stdlib.h>

#include "check.h"

static int by_cluster(const void *a, const void *b)
{
    const struct hot_cluster *x = a, *y = b;

    return compare_u64(x->cluster, y->cluster);
}

int check_hot_add(struct check *c, uint64_t cluster)
{
    return hot_cluster_vec_push(&c->hot, (struct hot_cluster){ .cluster = cluster });
}

/* The first hot cluster at or behind @cluster. */
static size_t first_hot(const struct check *c, uint64_t cluster)
{
    return LOWER_BOUND(c->hot.items, c->hot.count, cluster, cluster);
}

bool check_is_hot(const struct check *c, uint64_t first, uint64_t n)
{
    const size_t i = first_hot(c, first);

    return i < c->hot.count && c->hot.items[i].cluster - first < n;
}

static void count(struct check *c, struct hot_cluster *hot, struct place place)
{
    const uint64_t fit = min_u64(c->weight, c->refcount_max - hot->count);

    hot->count += fit;
    for (uint64_t i = fit; i < c->weight; i++) {
        REPORT(c, COUNT_OVERFLOW, place, false, hot->cluster << c->q->header.cluster_bits);
        c->res->corruptions++;
    }
}

void check_hot_refer(struct check *c, uint64_t first, uint64_t n, struct place place)
{
    for (size_t i = first_hot(c, first); i < c->hot.count && c->hot.items[i].cluster - first < n;
         i++) {
        if (c->phase == CHECK_WEIGHING)
            c->heaviest = max_u64(c->heaviest, c->hot.items[i].total);
        else
            count(c, &c->hot.items[i], place);
    }
}

/* --- tables --------------------------------------------------------------------------------- */

static uint64_t wants_quiet(struct check *c, uint64_t l2_off)
{
    return !census_find(&c->census, l2_off)->loud;
}

static int weigh(struct check *c, struct walked_table *table)
{
    struct census_table *known = census_find(&c->census, table->l2_off);

    c->heaviest = 0;
    TRY(check_l2_table(c, table));
    if (c->heaviest <= c->refcount_max)
        return 0;
    const uint64_t silent = known->links - min_u64(known->links, c->heaviest - c->refcount_max);
    known->hot = true;
    return hot_table_vec_push(&c->hot_tables, (struct hot_table){ known->off, silent, silent });
}

static int unreadable(struct check *c, const struct walked_table *table, int rc)
{
    struct census_table *known = census_find(&c->census, table->l2_off);

    known->loud = true;
    known->rc = (int16_t)rc;
    return 0;
}

int check_hot_weigh(struct check *c)
{
    struct table_walk w = {
        .check = c, .wants = wants_quiet, .visit = weigh, .failed = unreadable
    };
    int rc = 0;

    if (c->hot.count == 0)
        return 0;
    qsort(c->hot.items, c->hot.count, sizeof(*c->hot.items), by_cluster);
    for (size_t i = 0; i < c->hot.count; i++)
        c->hot.items[i].total = counts_get(&c->mem, c->hot.items[i].cluster);
    c->phase = CHECK_WEIGHING;
    for (size_t i = 0; rc == 0 && i < c->census.count; i++)
        rc = table_walk_add(&w, i, c->census.tables[i].off);
    if (rc == 0)
        rc = table_walk_end(&w);
    table_walk_release(&w);
    return rc;
}

static int by_off(const void *key, const void *item)
{
    return compare_u64(*(const uint64_t *)key, ((const struct hot_table *)item)->off);
}

uint64_t check_hot_visit(struct check *c, uint64_t table_off)
{
    struct hot_table *table =
        bsearch(&table_off, c->hot_tables.items, c->hot_tables.count, sizeof(*table), by_off);

    if (table->left == 0)
        return 1;
    return --table->left == 0 ? table->silent : 0;
}

int check_hot_clip(struct check *c)
{
    for (size_t i = 0; i < c->hot.count; i++)
        TRY(counts_set(&c->mem, c->hot.items[i].cluster, c->refcount_max));
    return 0;
}

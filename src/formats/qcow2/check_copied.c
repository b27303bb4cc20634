/* SPDX-License-Identifier: Apache-2.0
 *
 * COPIED flags of the active L1 and L2 tables: set exactly where the count is 1. Goes by the
 * counts as they are once repaired, so that it comes last; and only where counting saw something
 * to suspect, since it reads all tables once more.
 */
#include "check.h"

#define PAGE (4 * KiB)

static bool may_mend(const struct check *c)
{
    const struct qimg_check_result *r = c->res;

    if (c->fix_errors)
        return true;
    return c->fix_leaks && !r->check_errors && !r->corruptions && !r->leaks;
}

static uint64_t flagged(uint64_t word, uint64_t count)
{
    return count == 1 ? word | QCOW2_COPIED : word & ~QCOW2_COPIED;
}

static int before_table(struct check *c, uint64_t l1_index, uint64_t word, bool active)
{
    const struct qcow2_geometry *g = &c->q->geometry;
    struct place place = AT(c->l1_off + l1_index * QCOW2_L1_ENTRY_BYTES);
    uint64_t count;
    uint8_t raw[8];

    (void)active;
    if (check_disk_count(c, check_cluster_of(c, word & QCOW2_OFFSET_MASK), &count) < 0)
        return 1; /* reported already */
    if (word == flagged(word, count))
        return 0;
    const bool mend = c->mend_flags && repair_may_write(c, place.host_off, REPAIR_L1);
    place.guest = (struct qimg_range){ l1_index << qcow2_l2_coverage_bits(g),
                                       UINT64_C(1) << qcow2_l2_coverage_bits(g) };
    REPORT(c, L1_COPIED, place, mend, check_verb(mend), (unsigned)l1_index, word, count);
    if (!mend) {
        c->res->corruptions++;
        return 0;
    }
    store_be64(raw, flagged(word, count));
    const int rc = repair_entry(c, place.host_off, raw, sizeof(raw), REPAIR_L1);
    if (rc < 0) {
        c->res->corruptions++;
        c->res->check_errors++;
        return rc == -EEXIST ? -EIO : rc;
    }
    c->res->corruptions_fixed++;
    return 0;
}

/* Has this entry a cluster whose count COPIED speaks of? */
static bool has_cluster(const struct check *c, uint64_t word)
{
    if (word & QCOW2_COMPRESSED)
        return false;
    if (word & QCOW2_OFFSET_MASK)
        return true;
    return c->q->geometry.data_file && word & QCOW2_COPIED &&
           !(word & QCOW2_ZERO && !c->q->geometry.extended_l2);
}

static bool is_right(struct check *c, uint64_t word, uint64_t *count)
{
    *count = 1;
    if (!has_cluster(c, word))
        return true;
    if (!c->q->geometry.data_file &&
        check_disk_count(c, check_cluster_of(c, word & QCOW2_OFFSET_MASK), count) < 0)
        return true;
    return word == flagged(word, *count);
}

static int stage_pages(struct check *c, const struct walked_table *table, uint64_t dirty_pages)
{
    const uint64_t size = min_u64(PAGE, qcow2_cluster_size(c->q));
    const uint64_t pages = qcow2_cluster_size(c->q) / size;
    /* One bit a page up to 64 pages; beyond, one bit stands for several. */
    const uint64_t unit = pages <= 64 ? 1 : pages / 64;

    for (uint64_t i = 0; i < pages; i += unit)
        if (dirty_pages >> (i / unit) & 1)
            TRY(mender_stage(&c->mender, table->l2_off + i * size, table->bytes + i * size,
                             unit * size));
    c->l2_mends++;
    return 0;
}

static int check_table(struct check *c, struct walked_table *table)
{
    const struct qcow2_geometry *g = &c->q->geometry;
    const uint64_t entries = UINT64_C(1) << g->l2_bits;
    const uint64_t guest = table->l1_index << qcow2_l2_coverage_bits(g);
    const uint64_t per_bit =
        max_u64(min_u64(PAGE, qcow2_cluster_size(c->q)), qcow2_cluster_size(c->q) / 64);
    uint64_t wrong = 0, dirty_pages = 0;
    bool mend = false;

    for (uint64_t i = 0; i < entries; i++) {
        const uint64_t at = i << g->entry_bits, word = load_be64(table->bytes + at);
        uint64_t count;
        if (word == 0 || is_right(c, word, &count))
            continue;
        const struct place place = { table->l2_off + at,
                                     { guest + (i << g->cluster_bits), qcow2_cluster_size(c->q) } };
        if (wrong == 0)
            mend = c->mend_flags && repair_may_write(c, table->l2_off, REPAIR_L2);
        REPORT(c, L2_COPIED, place, mend, check_verb(mend), word, count);
        store_be64(table->bytes + at, flagged(word, count));
        dirty_pages |= UINT64_C(1) << at / per_bit;
        wrong++;
    }
    if (wrong == 0) {
        census_find(&c->census, table->l2_off)->copied_right = true;
        return 0;
    }
    if (!mend) {
        c->res->corruptions += wrong;
        return 0;
    }
    c->res->corruptions_fixed += wrong;
    return stage_pages(c, table, dirty_pages);
}

/* Where all flags are right they still are at the next link to the table. */
static uint64_t wants(struct check *c, uint64_t l2_off)
{
    const struct census_table *known = census_find(&c->census, l2_off);

    return known && !known->copied_right;
}

static int unreadable(struct check *c, const struct walked_table *table, int rc)
{
    (void)table;
    REPORT(c, L2_COPIED_UNREADABLE, NOWHERE, false, strerror(-rc));
    c->res->check_errors++;
    return rc;
}

int check_copied(struct check *c)
{
    struct table_walk w = {
        .wants = wants, .before = before_table, .visit = check_table, .failed = unreadable
    };

    if (c->suspects == 0 && !c->disk_changed)
        return 0;
    c->phase = CHECK_TELLING;
    c->l1_off = c->q->header.l1_off;
    c->mend_flags = may_mend(c);
    return check_walk_active(c, &w);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

#define LINKS 5

static const struct build_cluster one = { .index = 0, .fill = 1, .shared = true };
static const struct build_qcow2 spec = {
    .size = LINKS * UINT64_C(64) * 512, .cluster_bits = 9, .clusters = &one, .cluster_count = 1
};

/* The image with all entries of L1 leading to its one table, and further patches. */
static struct checked check_linked(struct build_patch more, struct build_patch and_more)
{
    struct built built = build_qcow2(&spec);
    struct build_patch patches[LINKS + 1] = { more, and_more };
    struct build_qcow2 linked = spec;

    for (unsigned i = 1; i < LINKS; i++)
        patches[i + 1] =
            (struct build_patch){ built.l1_off + 8 * i, 8,
                                  load_be64(built.bytes + built.l1_off) & ~QCOW2_COPIED };
    linked.patches = patches;
    linked.patch_count = LINKS + 1;
    built_release(&built);
    return check_built(&linked, (struct check_how){ 0 });
}

Test(qcow2_check_look, a_table_counts_as_often_as_it_is_linked)
{
    struct built built = build_qcow2(&spec);
    const uint64_t entry = built_l2_entry_off(&built, &spec, 0);
    const struct build_patch same = { entry, 8, load_be64(built.bytes + entry) };
    char table[80], data[80];

    (void)snprintf(table, sizeof(table), "cluster %" PRIu64 " refcount=1 reference=5\n",
                   entry / 512);
    (void)snprintf(data, sizeof(data), "cluster %" PRIu64 " refcount=1 reference=5\n",
                   (same.value & QCOW2_OFFSET_MASK) / 512);
    struct checked c = check_linked(same, same);
    cr_expect_not_null(strstr(c.said, table), "%s\nnot %s", c.said, table);
    cr_expect_not_null(strstr(c.said, data), "%s\nnot %s", c.said, data);
    cr_expect_eq(c.result.allocated_clusters, LINKS);
    checked_release(&c);
    built_release(&built);
}

Test(qcow2_check_look, what_is_wrong_in_a_shared_table_is_told_at_each_link)
{
    struct built built = build_qcow2(&spec);
    const uint64_t entry = built_l2_entry_off(&built, &spec, 0);
    const struct build_patch same = { entry, 8, load_be64(built.bytes + entry) };
    const struct build_patch wrong = { entry + 8, 8, UINT64_C(1) << 61 };
    unsigned told = 0;

    struct checked c = check_linked(same, wrong);
    for (const char *at = c.said; (at = strstr(at, "l2-reserved-bits:")); at++)
        told++;
    cr_expect_eq(told, LINKS, "%s", c.said);
    checked_release(&c);
    built_release(&built);
}

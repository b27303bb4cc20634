/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

Test(qcow2_check_explain, a_wrong_count_names_the_guest_bytes_in_that_cluster)
{
    const struct build_cluster clusters[] = { { .index = 5, .fill = 1, .count = 3 } };
    struct build_qcow2 spec = { .size = MiB, .clusters = clusters, .cluster_count = 1 };
    struct built built = build_qcow2(&spec);
    uint64_t entry, block;

    memcpy(&entry, built.bytes + built_l2_entry_off(&built, &spec, 6), 8);
    const uint64_t data = be64toh(entry) & QCOW2_OFFSET_MASK;
    memcpy(&block, built.bytes + built.reftable_off, 8);
    const struct build_patch patch = { be64toh(block) + 2 * (data >> 16), 2, 3 };
    spec.patches = &patch;
    spec.patch_count = 1;
    struct checked c = check_built(&spec, (struct check_how){ .explain = true });
    char want[128];
    snprintf(want, sizeof(want), "leaked-cluster@%llu+%u+65536: Leaked cluster",
             (unsigned long long)data, 6 * 65536);
    cr_expect_eq(strncmp(c.said, want, strlen(want)), 0, "%s\nnot %s", c.said, want);
    cr_expect_not_null(strstr(c.said, "l2-copied@"), "%s", c.said);
    checked_release(&c);
    built_release(&built);
}

Test(qcow2_check_explain, a_lost_table_names_all_that_it_maps)
{
    const struct build_cluster clusters[] = { { .index = 5, .fill = 1 } };
    struct build_qcow2 spec = { .size = GiB, .clusters = clusters, .cluster_count = 1 };
    struct built built = build_qcow2(&spec);
    uint64_t l2, block;

    memcpy(&l2, built.bytes + built.l1_off, 8);
    memcpy(&block, built.bytes + built.reftable_off, 8);
    const uint64_t table = be64toh(l2) & QCOW2_OFFSET_MASK;
    const struct build_patch patch = { be64toh(block) + 2 * (table >> 16), 2, 0 };
    spec.patches = &patch;
    spec.patch_count = 1;
    struct checked c = check_built(&spec, (struct check_how){ .explain = true });
    char want[128];
    snprintf(want, sizeof(want), "refcount-too-low@%llu+0+536870912: ERROR cluster",
             (unsigned long long)table);
    cr_expect_eq(strncmp(c.said, want, strlen(want)), 0, "%s\nnot %s", c.said, want);
    checked_release(&c);
    built_release(&built);
}

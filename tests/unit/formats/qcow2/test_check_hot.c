/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

#define LINKS 9

/* Nine entries of L1 lead to one table, which leads to one cluster; counts end at 3. Each has the
 * rest of the nine to tell, and in the order of the links: the table, then what it leads to. */
Test(qcow2_check_hot, what_does_not_fit_is_told_at_the_last_links_in_their_order)
{
    const struct build_cluster one = { .index = 0, .fill = 1 };
    struct build_qcow2 spec = { .size = LINKS * UINT64_C(64) * 512,
                                .cluster_bits = 9,
                                .clusters = &one,
                                .cluster_count = 1,
                                .refcount_bits = 2 };
    struct build_patch patches[LINKS - 1];
    struct built built = build_qcow2(&spec);
    const uint64_t word = load_be64(built.bytes + built.l1_off);
    const uint64_t data = load_be64(built.bytes + built_l2_entry_off(&built, &spec, 0));
    char *want = NULL, *more;

    for (unsigned i = 1; i < LINKS; i++)
        patches[i - 1] = (struct build_patch){ built.l1_off + 8 * i, 8, word };
    spec.patches = patches;
    spec.patch_count = LINKS - 1;
    for (unsigned i = 3; i < LINKS; i++)
        for (unsigned k = 0; k < 2; k++, free(want), want = more)
            cr_assert_gt(asprintf(&more,
                                  "%srefcount-overflow: ERROR: overflow cluster "
                                  "offset=0x%" PRIx64 "\n"
                                  "Use qemu-img amend to increase "
                                  "the refcount entry width or qemu-img convert to create a "
                                  "clean copy if the image cannot be opened for writing\n",
                                  want ? want : "", (k ? data : word) & QCOW2_OFFSET_MASK),
                         0);
    struct checked c = check_built(&spec, (struct check_how){ 0 });
    cr_expect_eq(strncmp(c.said, want, strlen(want)), 0, "%s\nnot %s", c.said, want);
    cr_expect_null(strstr(c.said + strlen(want), "refcount-overflow"));
    cr_expect_eq(c.result.allocated_clusters, LINKS);
    checked_release(&c);
    built_release(&built);
    free(want);
}

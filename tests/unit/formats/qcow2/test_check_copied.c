/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

static const struct build_cluster clusters[] = {
    { .index = 0, .fill = 1, .shared = true }, /* the flag is missing */
    { .index = 1, .fill = 2 },
};

static const struct build_qcow2 spec = { .size = MiB, .clusters = clusters, .cluster_count = 2 };

Test(qcow2_check_copied, a_missing_flag_is_a_corruption_and_is_mended_by_either_repair)
{
    for (int fix = QIMG_CHECK_FIX_NONE; fix <= QIMG_CHECK_FIX_ALL; fix++) {
        struct checked c =
            check_built(&spec, (struct check_how){ .fix = (enum qimg_check_fix)fix });
        const bool mends = fix != QIMG_CHECK_FIX_NONE;
        cr_expect_not_null(strstr(c.said, mends ? "l2-copied: Repairing OFLAG_COPIED data cluster"
                                                : "l2-copied: ERROR OFLAG_COPIED data cluster"),
                           "%s", c.said);
        cr_expect_eq(c.result.corruptions, !mends);
        cr_expect_eq(c.result.corruptions_fixed, mends);
        checked_release(&c);
    }
}

Test(qcow2_check_copied, repair_of_leaks_leaves_flags_alone_where_more_is_wrong)
{
    const struct build_cluster bad[] = {
        { .index = 0, .fill = 1, .shared = true },
        { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(1) << 61 }, /* a reserved bit */
    };
    const struct build_qcow2 s = { .size = MiB, .clusters = bad, .cluster_count = 2 };
    struct checked c = check_built(&s, (struct check_how){ .fix = QIMG_CHECK_FIX_LEAKS });

    cr_expect_not_null(strstr(c.said, "l2-copied: ERROR"), "%s", c.said);
    cr_expect_eq(c.result.corruptions_fixed, 0);
    checked_release(&c);
}

Test(qcow2_check_copied, flags_of_l1_are_looked_at_too)
{
    struct built built = build_qcow2(&spec);
    const struct build_patch patch = { built.l1_off, 1, 0 }; /* COPIED gone */
    struct build_qcow2 s = spec;

    s.patches = &patch;
    s.patch_count = 1;
    struct checked c = check_built(&s, (struct check_how){ 0 });
    cr_expect_not_null(strstr(c.said, "l1-copied: ERROR OFLAG_COPIED L2 cluster: l1_index=0"), "%s",
                       c.said);
    cr_expect_eq(c.result.corruptions, 2);
    checked_release(&c);
    struct io_engine *engine = check_machine(&s);
    check_repairs(engine);
    io_engine_free(engine);
    built_release(&built);
}

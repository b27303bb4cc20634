/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding, taking and giving back clusters; counts of every width.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "guest_rig.h"
#include "qcow2_verify.h"

Test(qcow2_alloc, counts_of_every_width_go_up_to_their_maximum_and_down_again)
{
    for (unsigned bits = 1; bits <= 64; bits *= 2) {
        struct io_engine *engine;
        const struct walk_layout l = plain_layout(4096, bits);
        struct guest g = fresh_guest(&l, &engine);
        struct qcow2 *q = qcow2_of(g.image);
        const uint64_t top = min_u64(refcount_max(q), 300);
        uint64_t off, left;

        cr_assert_eq(clusters_alloc(q, 3, &off), 0);
        for (uint64_t n = 2; n <= top; n++)
            cr_assert_eq(clusters_ref(q, cluster_range(q, off + 4096)), 0, "%u bits: %lu", bits,
                         (unsigned long)n);
        cr_expect_eq(count_at(q, off + 4096), top, "%u bits", bits);
        cr_expect_eq(count_at(q, off), 1, "%u bits: neighbours stay", bits);
        cr_expect_eq(count_at(q, off + 8192), 1, "%u bits: neighbours stay", bits);
        if (top == refcount_max(q))
            cr_expect_eq(clusters_ref(q, (struct qimg_range){ off, 3 * 4096 }), -EINVAL);
        cr_expect_eq(count_at(q, off), 1, "%u bits: all or nothing", bits);
        for (uint64_t n = top; n > 0; n--)
            cr_assert_eq(refcount_lower(q, (off >> 12) + 1, &left), 0);
        cr_expect_eq(left, 0);
        cr_expect_eq(count_at(q, off) + count_at(q, off + 8192), 2, "%u bits", bits);
        guest_drop(&g);
        io_engine_free(engine);
    }
}

Test(qcow2_alloc, long_runs_are_contiguous_however_small_the_blocks)
{
    static const uint64_t counts[] = { 2, 63, 64, 65, 500, 4096 };

    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        struct io_engine *engine;
        const struct walk_layout l = plain_layout(512, 64);
        struct guest g = fresh_guest(&l, &engine);
        struct qcow2 *q = qcow2_of(g.image);
        uint64_t off;

        cr_assert_eq(clusters_alloc(q, counts[i], &off), 0);
        for (uint64_t c = 0; c < counts[i]; c++)
            cr_assert_eq(count_at(q, off + c * 512), 1, "%lu: cluster %lu",
                         (unsigned long)counts[i], (unsigned long)c);
        clusters_cancel(q, (struct qimg_range){ off, counts[i] * 512 });
        cr_assert_eq(guest_close(&g), 0);
        const struct verdict v = qcow2_verify_file(engine, "disk");
        cr_expect_eq(v.corruptions + v.leaks, 0, "%lu: %s", (unsigned long)counts[i], v.first);
        io_engine_free(engine);
    }
}

Test(qcow2_alloc, a_cancelled_cluster_is_the_next_one_taken)
{
    struct io_engine *engine;
    const struct walk_layout l = plain_layout(4096, 16);
    struct guest g = fresh_guest(&l, &engine);
    struct qcow2 *q = qcow2_of(g.image);
    uint64_t first, second, again;

    cr_assert_eq(clusters_alloc(q, 1, &first), 0);
    cr_expect(clusters_fresh(q, first));
    cr_assert_eq(clusters_alloc(q, 1, &second), 0);
    clusters_cancel(q, cluster_range(q, first));
    cr_assert_eq(clusters_alloc(q, 1, &again), 0);
    cr_expect_eq(again, first);
    cr_expect_not(clusters_fresh(q, again), "somebody may have written there");
    cr_expect_eq(clusters_alloc_at(q, second), 0, "taken");
    cr_expect_eq(clusters_alloc_at(q, second + 4096), 1);
    guest_drop(&g);
    io_engine_free(engine);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_image.h"

/* 300 tables of 512 bytes, an unaligned cluster in every one: told in the order of the guest,
 * although the simulator completes reads in a random one. */
Test(qcow2_check_walk, tables_are_visited_in_order_however_reads_arrive)
{
    static struct build_cluster clusters[300];
    const struct build_qcow2 spec = { .size = 300 * 64 * 512,
                                      .cluster_bits = 9,
                                      .clusters = clusters,
                                      .cluster_count = 300,
                                      .refcount_bits = 16 };

    for (unsigned i = 0; i < 300; i++)
        clusters[i] = (struct build_cluster){ .index = 64u * i + i % 64,
                                              .kind = BUILD_WORD,
                                              .word = UINT64_C(1) << 61 };
    struct checked c = check_built(&spec, (struct check_how){ .explain = true });
    uint64_t last = 0;
    unsigned n = 0;
    for (const char *line = c.said; (line = strstr(line, "l2-reserved-bits@")); line++, n++) {
        const uint64_t guest = strtoull(strchr(line, '+') + 1, NULL, 10);
        cr_expect(n == 0 || guest > last, "line %u", n);
        last = guest;
    }
    cr_expect_eq(n, 300);
    checked_release(&c);
}

Test(qcow2_check_walk, a_table_that_cannot_be_read_ends_the_check)
{
    const struct build_cluster clusters[] = { { .index = 0, .fill = 1 } };
    const struct build_qcow2 spec = { .size = MiB, .clusters = clusters, .cluster_count = 1 };
    bool told = false;

    for (uint64_t at = 1; at < 12; at++) {
        struct io_engine *engine = check_machine(&spec);
        io_sim_fault(engine, at, IO_SIM_EIO, false);
        struct checked c = check_disk(engine, (struct check_how){ 0 });
        cr_expect(c.rc < 0 || c.result.check_errors || c.result.corruptions == 0, "operation %u",
                  (unsigned)at);
        told |= strstr(c.said, "l2-unreadable: ERROR: I/O error in check_refcounts_l2\n") != NULL;
        checked_release(&c);
        io_engine_free(engine);
    }
    cr_expect(told);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_rig.h"

#include <criterion/criterion.h>

#include "qcow2_verify.h"

struct walk_layout plain_layout(uint32_t cluster_size, unsigned refcount_bits)
{
    return (struct walk_layout){
        .title = "plain",
        .size = MiB,
        .spec = { .version = 3, .cluster_size = cluster_size, .refcount_bits = refcount_bits }
    };
}

struct guest fresh_guest(const struct walk_layout *layout, struct io_engine **engine)
{
    struct guest g;

    *engine = walk_fresh(layout, 1);
    cr_assert_eq(walk_open(&g, layout, *engine), 0);
    return g;
}

void finish_guest(struct guest *g, struct io_engine *engine)
{
    cr_expect_eq(guest_differs(g), -1);
    cr_assert_eq(guest_close(g), 0);
    const struct verdict v = qcow2_verify_file(engine, "disk");
    cr_expect_eq(v.corruptions + v.leaks, 0, "%s", v.first);
    io_engine_free(engine);
}

uint64_t count_at(struct qcow2 *q, uint64_t off)
{
    const struct released_vec *waiting = &q->meta->released;
    const uint64_t cluster = off >> q->header.cluster_bits;
    uint64_t count;

    cr_assert_eq(refcount_raw(q, cluster, &count), 0);
    for (size_t i = 0; i < waiting->count; i++) {
        const struct released *r = &waiting->items[i];
        count -= cluster >= r->cluster && cluster - r->cluster < r->count;
    }
    return count;
}

struct qimg_range cluster_range(const struct qcow2 *q, uint64_t off)
{
    return (struct qimg_range){ off, qcow2_cluster_size(q) };
}

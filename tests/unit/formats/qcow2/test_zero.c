/* SPDX-License-Identifier: Apache-2.0
 *
 * What zeroing and discarding make of each kind of cluster: QEMU's table (docs/formats/qcow2.md),
 * all columns.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "meta_internal.h"
#include "qcow2_verify.h"
#include "qcow2_walk.h"

#define CS 16384

enum op { ZERO, UNMAP, DISCARD };

/* A kind of cluster, as set up and as found: absent, zero, reserved (zero with space), data,
 * packed, Zeros (data that is zeros). */
static const struct rule {
    bool v2, backing;
    enum op op;
    char absent, zero, reserved, data, packed; /* what each becomes; '-' = cannot be */
} rules[] = {
    { .op = ZERO, .absent = 'z', .zero = 'z', .reserved = 'r', .data = 'r', .packed = 'z' },
    { .op = UNMAP, .absent = 'z', .zero = 'z', .reserved = 'z', .data = 'z', .packed = 'z' },
    { .op = DISCARD, .absent = 'a', .zero = 'z', .reserved = 'z', .data = 'z', .packed = 'z' },
    { .backing = true, .op = ZERO, 'z', 'z', 'r', 'r', 'z' },
    { .backing = true, .op = UNMAP, 'z', 'z', 'z', 'z', 'z' },
    { .backing = true, .op = DISCARD, 'z', 'z', 'z', 'z', 'z' },
    { .v2 = true, .op = ZERO, 'a', '-', '-', 'a', 'a' },
    { .v2 = true, .op = UNMAP, 'a', '-', '-', 'a', 'a' },
    { .v2 = true, .op = DISCARD, 'a', '-', '-', 'a', 'a' },
    { .v2 = true, .backing = true, .op = ZERO, 'Z', '-', '-', 'Z', 'Z' },
    { .v2 = true, .backing = true, .op = UNMAP, 'Z', '-', '-', 'Z', 'Z' },
    { .v2 = true, .backing = true, .op = DISCARD, 'a', '-', '-', 'd', 'p' },
};

static struct walk_layout layout_of(const struct rule *r, bool extended)
{
    return (struct walk_layout){ .title = extended ? "subclusters" : "standard",
                                 .size = 6 * CS,
                                 .spec = { .version = r->v2 ? 2 : 3,
                                           .cluster_size = CS,
                                           .refcount_bits = 16,
                                           .extended_l2 = extended },
                                 .backing = r->backing };
}

static struct qimg_range cluster(unsigned index)
{
    return (struct qimg_range){ (uint64_t)index * CS, CS };
}

/* Guest clusters 0..4 are absent, zero, reserved, data, packed. */
static void set_up(struct guest *g, const struct rule *r)
{
    cr_assert_eq(guest_write(g, cluster(3), 0x33), 0);
    cr_assert_eq(guest_write_packed(g, (uint64_t)4 * CS, 0x44), 0);
    if (r->v2)
        return;
    cr_assert_eq(guest_zero(g, cluster(1), WRITE_MAY_UNMAP), 0);
    cr_assert_eq(guest_write(g, cluster(2), 0x22), 0);
    cr_assert_eq(guest_zero(g, cluster(2), 0), 0);
}

static char kind_now(struct guest *g, unsigned index)
{
    struct qcow2 *q = qcow2_of(g->image);
    struct cluster_view v;

    cr_assert_eq(view_cluster(q, cluster(index).off, &v), 0);
    switch (v.cluster.kind) {
    case QCOW2_KIND_ABSENT:
        return 'a';
    case QCOW2_KIND_ZERO:
        return v.cluster.host_off == QIMG_NO_OFFSET ? 'z' : 'r';
    case QCOW2_KIND_DATA:
        return g->model[cluster(index).off] ? 'd' : 'Z';
    case QCOW2_KIND_COMPRESSED:
        return 'p';
    default:
        return '?';
    }
}

static int apply_op(struct guest *g, enum op op, struct qimg_range range)
{
    if (op == DISCARD)
        return guest_discard(g, range);
    return guest_zero(g, range, op == UNMAP ? WRITE_MAY_UNMAP : 0);
}

static void expect_clean_end(struct guest *g, struct io_engine *engine)
{
    cr_expect_eq(guest_differs(g), -1);
    cr_assert_eq(guest_close(g), 0);
    const struct verdict v = qcow2_verify_file(engine, "disk");
    cr_expect_eq(v.corruptions + v.leaks, 0, "%s", v.first);
    io_engine_free(engine);
}

/* Returns how many clusters became something else than the rule says. */
static unsigned try_rule(const struct rule *r, bool extended, bool each)
{
    const struct walk_layout l = layout_of(r, extended);
    struct io_engine *engine = walk_fresh(&l, 1);
    const char want[] = { r->absent, r->zero, r->reserved, r->data, r->packed };
    unsigned wrong = 0;
    struct guest g;

    cr_assert_eq(walk_open(&g, &l, engine), 0);
    set_up(&g, r);
    if (!each)
        cr_assert_eq(apply_op(&g, r->op, (struct qimg_range){ 0, 5 * CS }), 0);
    for (unsigned i = 0; i < 5; i++) {
        if (each)
            cr_assert_eq(apply_op(&g, r->op, cluster(i)), 0);
        if (want[i] == '-' || kind_now(&g, i) == want[i])
            continue;
        wrong++;
        cr_log_warn("rule %d, %s: cluster %u is %c, not %c", (int)(r - rules), l.title, i,
                    kind_now(&g, i), want[i]);
    }
    expect_clean_end(&g, engine);
    return wrong;
}

Test(qcow2_zero, each_kind_becomes_what_QEMU_makes_of_it)
{
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
        cr_expect_eq(try_rule(&rules[i], false, true), 0u, "rule %zu, one by one", i);
        cr_expect_eq(try_rule(&rules[i], false, false), 0u, "rule %zu, all at once", i);
        if (!rules[i].v2)
            cr_expect_eq(try_rule(&rules[i], true, true), 0u, "rule %zu, subclusters", i);
    }
}

Test(qcow2_zero, parts_of_clusters_are_never_discarded_but_at_the_end_of_the_image)
{
    const struct rule r = { .op = DISCARD };
    struct walk_layout l = layout_of(&r, false);
    struct guest g;

    l.size = 2 * CS + 1024;
    struct io_engine *engine = walk_fresh(&l, 1);
    cr_assert_eq(walk_open(&g, &l, engine), 0);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, l.size }, 7), 0);
    cr_assert_eq(guest_discard(&g, (struct qimg_range){ 512, CS - 512 }), 0);
    cr_expect_eq(kind_now(&g, 0), 'd');
    cr_assert_eq(guest_discard(&g, (struct qimg_range){ 512, 2 * CS + 512 }), 0);
    cr_expect_eq(kind_now(&g, 0), 'd');
    cr_expect_eq(kind_now(&g, 1), 'z');
    cr_expect_eq(kind_now(&g, 2), 'z', "it is whole up to the end");
    expect_clean_end(&g, engine);
}

Test(qcow2_zero, a_part_becomes_a_zero_cluster_where_the_rest_reads_as_zeros)
{
    const struct rule r = { 0 };
    const struct walk_layout l = layout_of(&r, false);
    struct io_engine *engine = walk_fresh(&l, 1);
    struct guest g;

    cr_assert_eq(walk_open(&g, &l, engine), 0);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 512, 1024 }, 0), 0);
    cr_expect_eq(kind_now(&g, 0), 'z');
    cr_assert_eq(guest_write(&g, cluster(1), 9), 0);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ CS + 512, 1024 }, 0), 0);
    cr_expect_eq(kind_now(&g, 1), 'd');
    expect_clean_end(&g, engine);
}

Test(qcow2_zero, subclusters_are_zeroed_by_their_bits)
{
    const struct rule r = { .backing = true };
    const struct walk_layout l = layout_of(&r, true);
    struct io_engine *engine = walk_fresh(&l, 1);
    struct qcow2_l2_entry e;
    struct guest g;

    cr_assert_eq(walk_open(&g, &l, engine), 0);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 1024, 2048 }, 5), 0);
    cr_assert_eq(l2_entry_get(qcow2_of(g.image), 0, &e), 0);
    cr_expect_eq(e.bitmap, 0x3c, "%#lx: only what was written", (unsigned long)e.bitmap);
    cr_assert_eq(guest_zero(&g, (struct qimg_range){ 1536, 4096 }, 0), 0);
    cr_assert_eq(l2_entry_get(qcow2_of(g.image), 0, &e), 0);
    cr_expect_eq(e.bitmap, 0x000007f800000004, "%#lx", (unsigned long)e.bitmap);
    cr_assert_eq(guest_write(&g, (struct qimg_range){ 1024, 3072 }, 6), 0);
    cr_assert_eq(l2_entry_get(qcow2_of(g.image), 0, &e), 0);
    cr_expect_eq(e.bitmap, 0x00000700000000fc, "%#lx", (unsigned long)e.bitmap);
    expect_clean_end(&g, engine);
}

/* --- no memory ------------------------------------------------------------------------------ */

/* Of the next list whose items have this size; 0 = all get what they ask for. */
static size_t no_room_for;

/* In place of the C library's, in this whole program. */
void *reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;

    if (size == no_room_for || __builtin_mul_overflow(count, size, &bytes)) {
        no_room_for = 0;
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, bytes);
}

/* The entry is changed by then: to say that nothing happened would be wrong. */
Test(qcow2_zero, space_that_cannot_be_released_is_leaked_and_hides_no_change)
{
    const struct rule r = { 0 };
    const struct walk_layout l = layout_of(&r, false);

    for (unsigned discards = 0; discards < 2; discards++) {
        struct io_engine *engine = walk_fresh(&l, 1);
        struct guest g;

        cr_assert_eq(walk_open(&g, &l, engine), 0);
        cr_assert_eq(guest_write(&g, (struct qimg_range){ 0, 3 * CS }, 0x11), 0);
        cr_assert_eq(guest_flush(&g), 0);
        no_room_for = sizeof(struct released);
        const int rc =
            discards ? guest_discard(&g, cluster(1)) : guest_zero(&g, cluster(1), WRITE_MAY_UNMAP);
        cr_expect_eq(no_room_for, 0u, "nothing asked for room");
        no_room_for = 0;
        cr_expect_eq(rc, 0, "%s", g.err.text);
        cr_expect_eq(kind_now(&g, 0), 'd');
        cr_expect_eq(kind_now(&g, 1), 'z');
        cr_expect_eq(qcow2_of(g.image)->meta->released.count, 0u, "the release did not fail");
        cr_assert_eq(guest_close(&g), 0);
        const struct verdict v = qcow2_verify_file(engine, "disk");
        cr_expect_eq(v.corruptions, 0, "%s", v.first);
        cr_expect_eq(v.leaks, 1, "%s", v.first);
        io_engine_free(engine);
    }
}

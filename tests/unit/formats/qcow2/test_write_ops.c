/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may write, plans that wait for each other, and plans that are taken back.
 */
#include <criterion/criterion.h>

#include "meta_internal.h"
#include "qcow2_verify.h"
#include "qcow2_walk.h"

static const struct walk_layout layout = {
    .title = "plans",
    .size = MiB,
    .spec = { .version = 3, .cluster_size = 65536, .refcount_bits = 16 },
};

static struct guest open_fresh(struct io_engine **engine)
{
    struct guest g;

    *engine = walk_fresh(&layout, 1);
    cr_assert_eq(walk_open(&g, &layout, *engine), 0);
    return g;
}

static void end(struct guest *g, struct io_engine *engine)
{
    cr_assert_eq(guest_close(g), 0);
    const struct verdict v = qcow2_verify_file(engine, "disk");
    cr_expect_eq(v.corruptions + v.leaks, 0, "%s", v.first);
    io_engine_free(engine);
}

Test(qcow2_write_ops, plans_for_one_cluster_wait_for_each_other)
{
    const struct format_write_ops *ops = &qcow2_write_ops;
    struct io_engine *engine;
    struct guest g = open_fresh(&engine);
    struct write_plan a, b, c;
    struct write_zeroed zeroed;
    struct qimg_error err;
    uint64_t done;

    cr_assert_eq(ops->write_begin(g.image, (struct qimg_range){ 65536, 512 }, &a, &err), 0);
    cr_expect_eq(ops->write_begin(g.image, (struct qimg_range){ 66560, 512 }, &b, &err), -EAGAIN);
    cr_expect_eq(ops->zero(g.image, (struct qimg_range){ 65536, 512 }, 0, &zeroed, &err), -EAGAIN);
    cr_expect_eq(ops->discard(g.image, (struct qimg_range){ 65536, 65536 }, &done, &err), -EAGAIN);
    cr_expect_eq(ops->packed_begin(g.image, 65536, 100, &c, &err), -EAGAIN);
    cr_assert_eq(ops->write_begin(g.image, (struct qimg_range){ 0, 131072 }, &b, &err), 0);
    cr_expect_eq(b.guest.len, 65536, "up to the cluster that is taken");
    ops->write_abort(g.image, &b);
    cr_assert_eq(ops->write_commit(g.image, &a, &err), 0);
    cr_assert_eq(ops->write_begin(g.image, (struct qimg_range){ 65536, 512 }, &a, &err), 0);
    cr_assert_eq(ops->write_begin(g.image, (struct qimg_range){ 66560, 512 }, &b, &err), 0);
    cr_expect(a.in_place && b.in_place, "plans in place do not wait");
    cr_expect_eq(ops->discard(g.image, (struct qimg_range){ 65536, 65536 }, &done, &err), -EAGAIN,
                 "but nobody takes their place away");
    cr_assert_eq(ops->write_commit(g.image, &b, &err), 0);
    cr_assert_eq(ops->write_commit(g.image, &a, &err), 0);
    end(&g, engine);
}

Test(qcow2_write_ops, what_is_taken_back_leaves_nothing)
{
    struct io_engine *engine;
    struct guest g = open_fresh(&engine);
    struct write_plan plan;
    struct qimg_error err;

    cr_assert_eq(qcow2_write_begin(g.image, (struct qimg_range){ 0, 300000 }, &plan, &err), 0);
    cr_assert_eq(guest_flush(&g), 0, "a flush may come at any time");
    qcow2_write_abort(g.image, &plan);
    cr_assert_eq(qcow2_packed_begin(g.image, 0, 1000, &plan, &err), 0);
    qcow2_write_abort(g.image, &plan);
    cr_expect_eq(guest_differs(&g), -1);
    end(&g, engine);
}

Test(qcow2_write_ops, edges_are_filled_only_where_they_must)
{
    struct io_engine *engine;
    struct guest g = open_fresh(&engine);
    struct write_plan plan;
    struct qimg_error err;

    cr_assert_eq(qcow2_write_begin(g.image, (struct qimg_range){ 1024, 512 }, &plan, &err), 0);
    cr_expect_eq(plan.head.len + plan.tail.len, 0, "a new file reads as zeros");
    cr_expect_eq(plan.host_off % 65536, 1024);
    cr_expect_eq(plan.linked.len, 65536);
    qcow2_write_abort(g.image, &plan);
    cr_assert_eq(qcow2_write_begin(g.image, (struct qimg_range){ 1024, 512 }, &plan, &err), 0);
    cr_expect_eq(plan.head.len, 1024, "somebody may have written there");
    cr_expect_eq(plan.head.fill, WRITE_FILL_ZEROS);
    cr_expect_eq(plan.tail.len, 64000);
    qcow2_write_abort(g.image, &plan);
    end(&g, engine);
}

Test(qcow2_write_ops, who_may_not_write_is_told_so)
{
    struct io_engine *engine = walk_fresh(&layout, 1);
    const struct image_open_options as = { .writable = false };
    const struct io_open_options how = { 0 };
    struct qimg_error err;
    struct io_file *file;
    struct image *image;

    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    cr_assert_eq(qcow2_ops.open(file, &as, &image, &err), 0);
    cr_expect_eq(qcow2_write_ops.begin(image, &err), -EACCES);
    cr_expect_str_eq(err.text, "Block node is read-only");
    image_close(image);
    io_engine_free(engine);
}

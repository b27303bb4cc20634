/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may write, plans that wait for each other, and plans that are taken back.
 */
#include <criterion/criterion.h>

#include "guest_rig.h"

Test(qcow2_write_ops, plans_for_one_cluster_wait_for_each_other)
{
    const struct format_write_ops *ops = &qcow2_write_ops;
    struct io_engine *engine;
    const struct walk_layout l = plain_layout(65536, 16);
    struct guest g = fresh_guest(&l, &engine);
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
    finish_guest(&g, engine);
}

Test(qcow2_write_ops, what_is_taken_back_leaves_nothing)
{
    struct io_engine *engine;
    const struct walk_layout l = plain_layout(65536, 16);
    struct guest g = fresh_guest(&l, &engine);
    struct write_plan plan;
    struct qimg_error err;

    cr_assert_eq(qcow2_write_begin(g.image, (struct qimg_range){ 0, 300000 }, &plan, &err), 0);
    cr_assert_eq(guest_flush(&g), 0, "a flush may come at any time");
    qcow2_write_abort(g.image, &plan);
    cr_assert_eq(qcow2_packed_begin(g.image, 0, 1000, &plan, &err), 0);
    qcow2_write_abort(g.image, &plan);
    cr_expect_eq(guest_differs(&g), -1);
    finish_guest(&g, engine);
}

Test(qcow2_write_ops, edges_are_filled_only_where_they_must)
{
    struct io_engine *engine;
    const struct walk_layout l = plain_layout(65536, 16);
    struct guest g = fresh_guest(&l, &engine);
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
    finish_guest(&g, engine);
}

Test(qcow2_write_ops, who_may_not_write_is_told_so)
{
    const struct walk_layout l = plain_layout(65536, 16);
    struct io_engine *engine = walk_fresh(&l, 1);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "copy.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "copy_worker.h"
#include "sim_rig.h"

#define BLOCK 4096u

/* A job that copies image to target, a block a slot. */
struct test_job {
    struct copy_job job; /* first member */
    struct qimg_image *image;
    uint64_t at;
    uint64_t fail_plan_at, alone_at, decide_at; /* 0 = nowhere */
    unsigned under_way, most_under_way;
    unsigned finished;
    uint64_t order[64]; /* offsets as finished */
    unsigned cancel_after;
};

static int plan(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct test_job *t = (struct test_job *)job;

    if (t->fail_plan_at && t->at >= t->fail_plan_at)
        return qimg_fail(err, EBADMSG, "no plan beyond %u", (unsigned)(t->at / BLOCK));
    if (t->at == t->image->size)
        return 0;
    const struct run run = {
        .guest_off = t->at, .len = BLOCK, .host_off = t->at, .kind = RUN_DATA
    };
    cr_assert_not_null(copy_slot_fetch(slot, t->image, &run, t->at));
    slot->work = BLOCK;
    slot->alone = t->alone_at && t->at == t->alone_at;
    if (slot->alone)
        cr_expect_eq(t->under_way, t->under_way);
    t->at += BLOCK;
    if (++t->under_way > t->most_under_way)
        t->most_under_way = t->under_way;
    return 1;
}

static int transform(const struct copy_job *job, struct copy_slot *slot)
{
    const struct copy_piece *piece = &slot->pieces.items[0];
    const struct test_job *t = (const struct test_job *)job;

    if (slot->alone || (t->alone_at && piece->off == t->alone_at))
        cr_expect_eq(t->finished, t->alone_at / BLOCK, "all before it are finished");
    const struct copy_write write = { .range = { piece->off, BLOCK }, .data = piece->buf };
    return copy_write_vec_push(&slot->writes, write);
}

static int finish(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct test_job *t = (struct test_job *)job;

    t->under_way--;
    if (slot->result < 0)
        return qimg_fail_errno(err, -slot->result, "%s at %u",
                               slot->write_failed ? "writing" : "reading",
                               (unsigned)(slot->failed_off / BLOCK));
    t->order[t->finished++] = slot->pieces.items[0].off;
    return t->decide_at && slot->pieces.items[0].off == t->decide_at;
}

static int progress(void *user, uint64_t done, uint64_t total)
{
    const struct test_job *t = user;

    cr_expect_eq(total, t->image->size);
    return t->cancel_after && done >= t->cancel_after * BLOCK;
}

static const struct copy_ops ops = { plan, transform, finish };

#define SOURCE "abcdefghijklmnopqrstuvwxyzABCDEF"

static struct sim_rig *rig_with_source(uint64_t seed)
{
    struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .seed = seed });

    sim_rig_raw(rig, "source", SOURCE);
    sim_rig_raw(rig, "target", "");
    return rig;
}

static void job_open(struct test_job *t, struct sim_rig *rig)
{
    const struct io_open_options how = { .writable = true };

    t->image = sim_rig_open(rig, "source", NULL);
    t->job.ops = &ops;
    t->job.context = rig->context;
    t->job.slot_size = BLOCK;
    t->job.window = 4;
    t->job.total = t->image->size;
    t->job.progress = progress;
    t->job.user = t;
    cr_assert_eq(io_file_open(rig->engine, "target", &how, &t->job.target), 0);
}

static void job_close(struct test_job *t)
{
    io_file_close(t->job.target);
    qimg_image_close(t->image);
}

Test(copy, bytes_arrive_and_slots_finish_in_guest_order_whatever_the_timing)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct sim_rig *rig = rig_with_source(seed);
        struct test_job t = { .job.any_order = seed % 2 };
        struct qimg_error err;

        job_open(&t, rig);
        cr_assert_eq(copy_run(&t.job, &err), 0, "seed %lu: %s", (unsigned long)seed, err.text);
        char *got = sim_rig_pattern(rig, "target");
        cr_expect_str_eq(got, SOURCE, "seed %lu", (unsigned long)seed);
        cr_expect_eq(t.finished, strlen(SOURCE));
        for (unsigned i = 0; i < t.finished; i++)
            cr_expect_eq(t.order[i], i * BLOCK);
        cr_expect_eq(t.most_under_way, 4, "the window is used, and bounded");
        cr_expect_eq(t.job.ledger.read, t.image->size);
        cr_expect_eq(t.job.ledger.written, t.image->size);
        cr_expect_eq(t.job.done, t.image->size);
        free(got);
        job_close(&t);
        sim_rig_free(rig);
    }
}

Test(copy, the_first_failure_in_guest_order_is_told)
{
    /* Reads and writes from operation n on fail; whichever is hit first in time, the lowest
     * offset that failed is named, and nothing behind it is finished. */
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct sim_rig *rig = rig_with_source(seed);
        struct test_job t = { 0 };
        struct qimg_error err;

        job_open(&t, rig);
        io_sim_fault(rig->engine, io_sim_operations(rig->engine) + 1 + seed, IO_SIM_EIO, true);
        cr_expect_eq(copy_run(&t.job, &err), -EIO, "seed %lu", (unsigned long)seed);
        const char *at = strstr(err.text, " at ");
        cr_assert_not_null(at, "%s", err.text);
        cr_expect_eq(strtoul(at + 4, NULL, 10), t.finished, "seed %lu: %s", (unsigned long)seed,
                     err.text);
        job_close(&t);
        sim_rig_free(rig);
    }
}

Test(copy, a_failing_plan_is_told_after_what_was_planned_before)
{
    struct sim_rig *rig = rig_with_source(7);
    struct test_job t = { .fail_plan_at = 10 * BLOCK };
    struct qimg_error err;

    job_open(&t, rig);
    cr_expect_eq(copy_run(&t.job, &err), -EBADMSG);
    cr_expect_str_eq(err.text, "no plan beyond 10");
    cr_expect_eq(t.finished, 10);
    job_close(&t);
    sim_rig_free(rig);
}

Test(copy, a_decided_job_stops)
{
    struct sim_rig *rig = rig_with_source(3);
    struct test_job t = { .decide_at = 5 * BLOCK };
    struct qimg_error err;

    job_open(&t, rig);
    cr_expect_eq(copy_run(&t.job, &err), 0);
    cr_expect_eq(t.finished, 6);
    cr_expect_leq(t.at, 10 * BLOCK, "no more than the window was planned");
    job_close(&t);
    sim_rig_free(rig);
}

Test(copy, progress_can_cancel)
{
    struct sim_rig *rig = rig_with_source(3);
    struct test_job t = { .cancel_after = 8 };
    struct qimg_error err;

    job_open(&t, rig);
    cr_expect_eq(copy_run(&t.job, &err), -ECANCELED);
    cr_expect_eq(t.finished, 8);
    job_close(&t);
    sim_rig_free(rig);
}

Test(copy, a_slot_that_wants_to_be_alone_starts_after_all_before_it)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct sim_rig *rig = rig_with_source(seed);
        struct test_job t = { .alone_at = 13 * BLOCK };
        struct qimg_error err;

        job_open(&t, rig);
        cr_assert_eq(copy_run(&t.job, &err), 0, "%s", err.text);
        char *got = sim_rig_pattern(rig, "target");
        cr_expect_str_eq(got, SOURCE);
        free(got);
        job_close(&t);
        sim_rig_free(rig);
    }
}

Test(copy, neighbours_in_file_and_buffer_are_one_request)
{
    struct sim_rig *rig = rig_with_source(1);
    struct qimg_image *image = sim_rig_open(rig, "source", NULL);
    struct copy_job job = { .slot_size = 16 * BLOCK };
    struct copy_slot slot = { .job = &job, .buf = calloc(16, BLOCK) };
    struct run run = { .len = BLOCK, .kind = RUN_DATA };

    cr_assert_not_null(slot.buf);
    for (unsigned i = 0; i < 4; i++) {
        run.host_off = i < 3 ? i * BLOCK : 9 * BLOCK;
        cr_assert_not_null(copy_slot_fetch(&slot, image, &run, i * 10 * BLOCK));
    }
    struct run merged;
    cr_expect_eq(copy_group(&slot, 0, &merged), 3);
    cr_expect_eq(merged.len, 3 * BLOCK);
    cr_expect_eq(copy_group(&slot, 3, &merged), 4);
    cr_expect_eq(merged.len, BLOCK);
    copy_piece_vec_release(&slot.pieces);
    free(slot.buf);
    qimg_image_close(image);
    sim_rig_free(rig);
}

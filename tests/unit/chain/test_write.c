/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes through whole chains on the simulator, against a model of the disk: what is read at
 * once, after opening again, after a power cut, and after a failure.
 */
#include "write.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "qcow2_verify.h"
#include "qimg/write.h"
#include "sim_rig.h"

#define SIZE    (512 * KiB)
#define SECTOR  512u
#define SECTORS (SIZE / SECTOR)
#define BACKING (300 * KiB) /* shorter than the disk, and no multiple of clusters */

struct layout {
    const char *name;
    struct qimg_option options[2];
    size_t option_count;
    bool backing;
    uint64_t cluster; /* what a discard turns into zeros; 0 = nothing is said */
};

static const struct layout layouts[] = {
    { .name = "plain", .cluster = 64 * KiB },
    { .name = "overlay", .backing = true, .cluster = 64 * KiB },
    { .name = "small clusters",
      .options = { { "cluster_size", "512" } },
      .option_count = 1,
      .backing = true,
      .cluster = 512 },
    { .name = "version 2",
      .options = { { "compat", "0.10" } },
      .option_count = 1,
      .backing = true },
    { .name = "subclusters",
      .options = { { "extended_l2", "on" }, { "cluster_size", "16k" } },
      .option_count = 2,
      .backing = true,
      .cluster = 16 * KiB },
    { .name = "1 bit",
      .options = { { "refcount_bits", "1" }, { "cluster_size", "4k" } },
      .option_count = 2,
      .backing = true,
      .cluster = 4 * KiB },
};

static uint8_t model[SIZE];

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static struct qimg_image *open_top(struct sim_rig *rig, bool writable)
{
    struct qimg_image *image = NULL;
    struct qimg_error err;
    const struct qimg_open_options how = { .format = "qcow2", .writable = writable };
    cr_assert_eq(qimg_image_open(rig->context, "top", &how, &image, &err), 0, "%s", err.text);
    return image;
}

/* "top" above "base", which has letters in turns; the model says so. */
static struct sim_rig *make(const struct layout *layout, const struct io_sim_options *options)
{
    struct sim_rig *rig = sim_rig_new(options);
    struct qimg_error err;
    char pattern[BACKING / 4096 + 1] = { 0 };
    memset(model, 0, sizeof(model));
    for (size_t i = 0; i < BACKING / 4096; i++) {
        pattern[i] = ".ab0c.de"[i % 8];
        const bool zero = pattern[i] == '.' || pattern[i] == '0';
        memset(model + i * 4096, layout->backing && !zero ? pattern[i] : 0, 4096);
    }
    sim_rig_raw(rig, "base", pattern);
    const struct qimg_create_options how = { .format = "qcow2",
                                             .backing_name = layout->backing ? "base" : NULL,
                                             .backing_format = layout->backing ? "raw" : NULL,
                                             .sync = true,
                                             .has_size = true,
                                             .size = SIZE,
                                             .options = layout->options,
                                             .option_count = layout->option_count };
    cr_assert_eq(qimg_create(rig->context, "top", &how, &err), 0, "%s", err.text);
    return rig;
}

static void expect_model(struct qimg_image *image, const char *what, uint32_t seed)
{
    static uint8_t disk[SIZE];
    struct qimg_error err;
    cr_assert_eq(qimg_image_read(image, 0, disk, SIZE, &err), 0, "%s: %s", what, err.text);
    for (size_t i = 0; i < SIZE; i++)
        cr_assert_eq(disk[i], model[i], "%s, seed %u: byte %zu is %u, not %u", what, seed, i,
                     disk[i], model[i]);
}

static void expect_consistent(struct io_engine *engine, const char *what, uint32_t seed)
{
    const struct verdict verdict = qcow2_verify_file(engine, "top");
    cr_assert_eq(verdict.corruptions, 0u, "%s, seed %u: %s", what, seed, verdict.first);
}

/* --- random changes ------------------------------------------------------------------------- */

enum op { OP_WRITE, OP_ZERO, OP_UNMAP, OP_DISCARD, OP_FLUSH, OP_READ };

struct change {
    enum op op;
    struct qimg_range range;
    uint8_t fill;
};

/* @unit: everything begins and ends at multiples of it. */
static struct change random_change(uint32_t *seed, uint32_t unit)
{
    static const uint32_t most[] = { 2048, 40000, 200000 };
    static const enum op ops[] = { OP_WRITE, OP_WRITE, OP_WRITE,   OP_WRITE, OP_ZERO,
                                   OP_ZERO,  OP_UNMAP, OP_DISCARD, OP_FLUSH, OP_READ };
    const uint64_t limit = most[next_random(seed) % 3];
    const uint64_t len = 1 + next_random(seed) % limit;
    struct change c = { .op = ops[next_random(seed) % 10], .range = { 0, align_up(len, unit) } };
    c.range.off = align_down(next_random(seed) % (SIZE - c.range.len + 1), unit);
    c.fill = (uint8_t)(1 + next_random(seed) % 255);
    return c;
}

static int apply(struct qimg_image *image, const struct change *c, struct qimg_error *err)
{
    static uint8_t bytes[SIZE];
    switch (c->op) {
    case OP_WRITE:
        memset(bytes, c->fill, c->range.len);
        return qimg_image_write(image, c->range.off, bytes, c->range.len, err);
    case OP_ZERO:
    case OP_UNMAP:
        return qimg_image_write_zeroes(image, c->range.off, c->range.len,
                                       c->op == OP_UNMAP ? QIMG_ZERO_MAY_UNMAP : 0, err);
    case OP_DISCARD:
        return qimg_image_discard(image, c->range.off, c->range.len, err);
    case OP_FLUSH:
        return qimg_image_flush(image, err);
    case OP_READ:
        return qimg_image_read(image, c->range.off, bytes, c->range.len, err);
    }
    return -1;
}

/* What @c, done whole, makes of the disk: bytes [*changed). */
static struct qimg_range effect(const struct layout *layout, const struct change *c)
{
    if (c->op == OP_FLUSH || c->op == OP_READ)
        return (struct qimg_range){ 0 };
    if (c->op != OP_DISCARD)
        return c->range;
    const uint64_t begin = align_up(c->range.off, layout->cluster);
    const uint64_t end = align_down(c->range.off + c->range.len, layout->cluster);
    return (struct qimg_range){ begin, begin < end ? end - begin : 0 };
}

static void into_model(const struct layout *layout, const struct change *c)
{
    const struct qimg_range r = effect(layout, c);
    memset(model + r.off, c->op == OP_WRITE ? c->fill : 0, r.len);
}

/* Returns how often the whole disk was compared. */
static unsigned run_random(const struct layout *layout, uint32_t seed, unsigned count)
{
    struct sim_rig *rig = make(layout, &(struct io_sim_options){ .seed = seed, .no_log = true });
    struct qimg_image *image = open_top(rig, true);
    struct qimg_error err;
    uint32_t state = seed;
    unsigned compared = 2;
    for (unsigned i = 0; i < count; i++) {
        const struct change c = random_change(&state, next_random(&state) % 2 ? 1 : 4096);
        if (c.op == OP_DISCARD && layout->cluster == 0)
            continue;
        cr_assert_eq(apply(image, &c, &err), 0, "%s, seed %u, change %u: %s", layout->name, seed, i,
                     err.text);
        into_model(layout, &c);
        if (i % 4 == 0) {
            expect_model(image, layout->name, seed);
            compared++;
        }
    }
    expect_model(image, layout->name, seed);
    cr_assert_eq(qimg_image_finish(image, &err), 0, "%s", err.text);
    qimg_image_close(image);
    expect_consistent(rig->engine, layout->name, seed);
    image = open_top(rig, false);
    expect_model(image, layout->name, seed);
    qimg_image_close(image);
    sim_rig_free(rig);
    return compared;
}

Test(write, random_changes_over_a_chain_read_as_the_model_says)
{
    for (size_t i = 0; i < ARRAY_COUNT(layouts); i++)
        for (uint32_t seed = 1; seed <= 6; seed++)
            cr_assert_gt(run_random(&layouts[i], seed, 60), 8u, "%s", layouts[i].name);
}

/* --- crashes -------------------------------------------------------------------------------- */

/* For each sector the values that it may have: bit @fill. */
static uint8_t allowed[SECTORS][32];

static void allow(uint64_t sector, uint8_t fill)
{
    allowed[sector][fill / 8] |= (uint8_t)(1u << (fill % 8));
}

static void allow_only_now(void)
{
    memset(allowed, 0, sizeof(allowed));
    for (uint64_t s = 0; s < SECTORS; s++)
        allow(s, model[s * SECTOR]);
}

static void expect_allowed(struct qimg_image *image, const char *what, uint32_t seed)
{
    static uint8_t disk[SIZE];
    struct qimg_error err;
    cr_assert_eq(qimg_image_read(image, 0, disk, SIZE, &err), 0, "%s: %s", what, err.text);
    for (uint64_t s = 0; s < SECTORS; s++) {
        const uint8_t fill = disk[s * SECTOR];
        cr_assert(allowed[s][fill / 8] & (1u << (fill % 8)),
                  "%s, seed %u: sector %llu holds %u, which was never there", what, seed,
                  (unsigned long long)s, fill);
        for (unsigned k = 1; k < SECTOR; k++)
            cr_assert_eq(disk[s * SECTOR + k], fill, "%s: torn sector", what);
    }
}

/* Does changes until the machine stops; what may be on the disk then is in allowed. Returns
 * whether it got to the end. */
static bool run_until_stop(const struct layout *layout, struct sim_rig *rig, uint32_t seed)
{
    struct qimg_image *image = open_top(rig, true);
    struct qimg_error err;
    uint32_t state = seed;
    int rc = 0;
    for (unsigned i = 0; i < 12 && rc == 0; i++) {
        const struct change c = random_change(&state, SECTOR);
        if (c.op == OP_DISCARD && layout->cluster == 0)
            continue;
        const struct qimg_range r = effect(layout, &c);
        for (uint64_t s = r.off / SECTOR; s < (r.off + r.len) / SECTOR; s++)
            allow(s, c.op == OP_WRITE ? c.fill : 0);
        rc = apply(image, &c, &err);
        if (rc == 0)
            into_model(layout, &c);
        if (rc == 0 && c.op == OP_FLUSH)
            allow_only_now();
    }
    const int finished = qimg_image_finish(image, &err);
    if (rc == 0 && finished == 0)
        allow_only_now();
    qimg_image_close(image);
    return rc == 0 && finished == 0;
}

static void look_after_cut(struct sim_rig *rig, const struct io_sim_cut *cut, const char *what)
{
    struct sim_rig *after = sim_rig_new(NULL);
    io_engine_free(after->engine);
    cr_assert_eq(io_sim_power_cut(rig->engine, cut, &after->engine), 0);
    after->context->engine = after->engine;
    expect_consistent(after->engine, what, (uint32_t)cut->seed);
    struct qimg_image *image = open_top(after, false);
    expect_allowed(image, what, (uint32_t)cut->seed);
    qimg_image_close(image);
    sim_rig_free(after);
}

/* Returns how many cuts were looked at. */
static unsigned cut_everywhere(const struct layout *layout, uint32_t seed, uint64_t step)
{
    bool finished = false;
    unsigned cuts = 0;
    for (uint64_t n = 0; !finished; n += step, cuts += 5) {
        struct sim_rig *rig = make(layout, &(struct io_sim_options){ .seed = seed });
        allow_only_now();
        io_sim_stop_after(rig->engine, io_sim_operations(rig->engine) + 40 + n);
        finished = run_until_stop(layout, rig, seed);
        look_after_cut(rig, &(struct io_sim_cut){ .survivors = IO_SIM_ALL }, layout->name);
        look_after_cut(rig, &(struct io_sim_cut){ .survivors = IO_SIM_NONE }, layout->name);
        for (uint64_t k = 0; k < 3; k++)
            look_after_cut(rig,
                           &(struct io_sim_cut){
                               .survivors = IO_SIM_RANDOM, .seed = seed * 100 + k, .torn = k == 2 },
                           layout->name);
        sim_rig_free(rig);
    }
    return cuts;
}

Test(write, after_a_crash_each_sector_is_old_or_new_and_the_image_consistent)
{
    for (size_t i = 0; i < ARRAY_COUNT(layouts); i++)
        cr_assert_gt(cut_everywhere(&layouts[i], 7 + (uint32_t)i, 11), 0u, "%s", layouts[i].name);
}

/* --- failures ------------------------------------------------------------------------------- */

Test(write, a_full_disk_is_told_and_the_image_stays_in_use)
{
    const struct io_sim_options options = { .space = 1200 * KiB };
    struct sim_rig *rig = make(&layouts[1], &options);
    struct qimg_image *image = open_top(rig, true);
    static uint8_t bytes[SIZE];
    struct qimg_error err;
    const struct qimg_create_options how = { .sync = true, .has_size = true, .size = SIZE };
    cr_assert_eq(qimg_create(rig->context, "other", &how, &err), 0);
    struct qimg_open_options writable = { .format = "raw", .writable = true };
    struct qimg_image *other;
    memset(bytes, 9, sizeof(bytes));
    cr_assert_eq(qimg_image_open(rig->context, "other", &writable, &other, &err), 0);
    cr_assert_eq(qimg_image_write(other, 0, bytes, SIZE, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_write(image, 0, bytes, SIZE, &err), -ENOSPC);
    cr_expect_eq(qimg_image_discard(other, 0, SIZE, &err), 0);
    cr_expect_eq(qimg_image_write(image, 0, bytes, SIZE, &err), 0, "%s", err.text);
    memset(model, 9, SIZE);
    expect_model(image, "after there is room again", 0);
    cr_expect_eq(qimg_image_finish(image, &err), 0);
    qimg_image_close(image);
    qimg_image_close(other);
    expect_consistent(rig->engine, "full", 0);
    sim_rig_free(rig);
}

/* The first write is lost wherever an operation fails, or it is there; never anything else. */
Test(write, any_operation_may_fail)
{
    bool finished = false;
    for (uint64_t n = 1; !finished; n++) {
        struct sim_rig *rig = make(&layouts[1], NULL);
        struct qimg_image *image = open_top(rig, true);
        struct qimg_error err;
        uint8_t bytes[5000];
        memset(bytes, 77, sizeof(bytes));
        allow_only_now();
        for (uint64_t s = 20; s < 30; s++)
            allow(s, 77);
        const uint64_t begin = io_sim_operations(rig->engine);
        io_sim_fault(rig->engine, begin + n, IO_SIM_EIO, false);
        const int rc = qimg_image_write(image, 20 * SECTOR, bytes, 9 * SECTOR, &err);
        const int end = qimg_image_finish(image, &err);
        finished = io_sim_operations(rig->engine) < begin + n;
        io_sim_fault(rig->engine, 0, IO_SIM_EIO, false);
        qimg_image_close(image);
        expect_consistent(rig->engine, "fault", (uint32_t)n);
        image = open_top(rig, false);
        expect_allowed(image, "fault", (uint32_t)n);
        if (rc == 0 && end == 0) {
            uint8_t now[9 * SECTOR];
            cr_assert_eq(qimg_image_read(image, 20 * SECTOR, now, sizeof(now), &err), 0);
            cr_expect_eq(memcmp(now, bytes, sizeof(now)), 0, "fault %llu", (unsigned long long)n);
        }
        qimg_image_close(image);
        sim_rig_free(rig);
    }
}

/* --- many at once --------------------------------------------------------------------------- */

static void wait_all(struct qimg_queue *queue, unsigned count)
{
    struct qimg_completion done[64];
    while (count > 0) {
        const int got = qimg_queue_wait(queue, done, 64, 1);
        cr_assert_gt(got, 0);
        for (int i = 0; i < got; i++)
            cr_assert_eq(done[i].result, 0, "%s", strerror(-done[i].result));
        count -= (unsigned)got;
    }
}

Test(write, requests_for_parts_of_one_cluster_take_turns)
{
    for (size_t l = 0; l < ARRAY_COUNT(layouts); l++)
        for (uint32_t seed = 1; seed <= 4; seed++) {
            struct sim_rig *rig = make(&layouts[l], &(struct io_sim_options){ .seed = seed });
            struct qimg_image *image = open_top(rig, true);
            struct qimg_queue *queue;
            struct qimg_error err;
            uint32_t state = seed;
            cr_assert_eq(qimg_queue_new(image, 64, &queue, &err), 0);
            for (unsigned round = 0; round < 3; round++) {
                for (uint64_t i = 0; i < 64; i++) { /* pieces of 1500 bytes, none overlapping */
                    const uint64_t off = (i * 37 % 64 + round * 64) * 1500 + 100;
                    memset(model + off, (int)next_random(&state) % 256, 1500);
                    cr_assert_eq(qimg_queue_write(queue, off, model + off, 1500, NULL), 0);
                }
                wait_all(queue, 64);
                expect_model(image, layouts[l].name, seed);
            }
            cr_assert_eq(qimg_queue_flush(queue, NULL), 0);
            wait_all(queue, 1);
            qimg_queue_free(queue);
            qimg_image_close(image);
            expect_consistent(rig->engine, layouts[l].name, seed);
            sim_rig_free(rig);
        }
}

Test(write, overlapping_requests_leave_one_of_them)
{
    static uint8_t bytes[16][8 * SECTOR];
    uint8_t now[8 * SECTOR];
    struct sim_rig *rig = make(&layouts[1], &(struct io_sim_options){ .seed = 3 });
    struct qimg_image *image = open_top(rig, true);
    struct qimg_queue *queue;
    struct qimg_error err;
    cr_assert_eq(qimg_queue_new(image, 16, &queue, &err), 0);
    for (int i = 0; i < 16; i++) {
        memset(bytes[i], i + 1, sizeof(bytes[i]));
        cr_assert_eq(qimg_queue_write(queue, 10 * SECTOR, bytes[i], sizeof(bytes[i]), NULL), 0);
    }
    wait_all(queue, 16);
    cr_assert_eq(qimg_image_read(image, 10 * SECTOR, now, sizeof(now), &err), 0);
    for (size_t s = 0; s < 8; s++)
        cr_expect_eq(memcmp(now + s * SECTOR, bytes[now[s * SECTOR] - 1], SECTOR), 0);
    qimg_queue_free(queue);
    qimg_image_close(image);
    sim_rig_free(rig);
}

Test(write, past_the_end_is_refused_on_queues_too)
{
    struct sim_rig *rig = make(&layouts[0], NULL);
    struct qimg_image *image = open_top(rig, true);
    struct qimg_queue *queue;
    struct qimg_completion done;
    struct qimg_error err;
    uint8_t byte = 0;
    cr_assert_eq(qimg_queue_new(image, 1, &queue, &err), 0);
    cr_assert_eq(qimg_queue_write(queue, SIZE, &byte, 1, &byte), 0);
    cr_expect_eq(qimg_queue_discard(queue, 0, 1, NULL), -EAGAIN, "the queue is full");
    cr_assert_eq(qimg_queue_wait(queue, &done, 1, 1), 1);
    cr_expect_eq(done.result, -EINVAL);
    cr_expect_eq(done.tag, &byte);
    qimg_queue_free(queue);
    qimg_image_close(image);
    sim_rig_free(rig);
}

/* Zeros over a part of a cluster whose rest reads as zeros anyway are metadata only; what shows
 * that no data was written is the refusal that would have come. */
Test(write, zeros_spread_over_a_cluster_that_reads_as_zeros)
{
    struct sim_rig *rig = make(&layouts[1], NULL);
    struct qimg_image *image = open_top(rig, true);
    struct qimg_error err;
    const uint64_t behind = 448 * KiB; /* the backing file ends before */
    cr_expect_eq(qimg_image_write_zeroes(image, behind + 512, 1024, QIMG_ZERO_NO_FALLBACK, &err), 0,
                 "%s", err.text);
    cr_expect_eq(qimg_image_write_zeroes(image, 512, 1024, QIMG_ZERO_NO_FALLBACK, &err), -ENOTSUP);
    expect_model(image, "zeros over zeros", 0);
    qimg_image_close(image);
    sim_rig_free(rig);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The pipeline into images: through queues on the simulator, in which everything completes in a
 * random order, and by worker threads on real files.
 */
#include "copy_sink.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "codec.h"
#include "qcow2_verify.h"
#include "qimg/write.h"
#include "scratch.h"
#include "sim_rig.h"
#include "writing.h"

#define BLOCK  4096u
#define BLOCKS 512u
#define SIZE   (BLOCKS * BLOCK)

/* Copies source to target, the blocks of which `plan_of` speaks; zero blocks are zeroed. */
struct sink_job {
    struct copy_job job; /* first member */
    struct qimg_image *source;
    const unsigned *cuts; /* blocks in slots, in turns; ends with 0 */
    unsigned cut;
    uint64_t at;
    uint64_t fail_at; /* transform fails there; 0 = nowhere */
    bool packs;
};

static int plan(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    struct sink_job *t = (struct sink_job *)job;

    (void)err;
    if (t->at == SIZE)
        return 0;
    const uint64_t len = min_u64((uint64_t)t->cuts[t->cut] * BLOCK, SIZE - t->at);
    const struct run run = { .guest_off = t->at, .len = len, .host_off = t->at, .kind = RUN_DATA };
    cr_assert_not_null(copy_slot_fetch(slot, t->source, &run, t->at));
    if (t->cuts[++t->cut] == 0)
        t->cut = 0;
    t->at += len;
    slot->alone = t->at == SIZE;
    return 1;
}

static int pack(struct copy_slot *slot, const struct copy_piece *piece)
{
    const ssize_t len =
        codec_pack(CODEC_DEFLATE, piece->buf, piece->run.len, slot->scratch, piece->run.len - 1);
    const struct copy_write write = {
        .range = { piece->off, piece->run.len },
        .data = len > 0 ? slot->scratch : piece->buf,
        .packed_len = len > 0 ? (uint32_t)len : 0,
    };
    return copy_write_vec_push(&slot->writes, write);
}

static int transform(const struct copy_job *job, struct copy_slot *slot)
{
    const struct sink_job *t = (const struct sink_job *)job;
    const struct copy_piece *piece = &slot->pieces.items[0];

    if (t->fail_at && piece->off >= t->fail_at)
        return -EBADMSG;
    if (t->packs)
        return pack(slot, piece);
    for (uint64_t at = 0; at < piece->run.len; at += BLOCK) {
        const uint8_t *data = piece->buf + at;
        const struct copy_write write = { .range = { piece->off + at, BLOCK },
                                          .data = *data ? data : NULL };
        if (copy_write_vec_push(&slot->writes, write) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int finish(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    (void)job;
    if (slot->result == 0)
        return 0;
    return qimg_fail_errno(err, -slot->result, "%s at %u", slot->write_failed ? "write" : "read",
                           (unsigned)(slot->failed_off / BLOCK));
}

static const struct copy_ops ops = { plan, transform, finish };

/* --- files ---------------------------------------------------------------------------------- */

static uint8_t guest[SIZE];

static void fill_guest(void)
{
    uint32_t state = 5;

    for (size_t b = 0; b < BLOCKS; b++) {
        state = state * 1664525u + 1013904223u;
        const uint8_t first = state >> 28 < 6 ? 0 : (uint8_t)(1 + b % 200);
        for (size_t i = 0; i < BLOCK; i++) {
            const uint8_t noise = (uint8_t)((i * 2654435761u * (b + 1)) >> 24);
            guest[b * BLOCK + i] = !first ? 0 : i == 0 ? first : b % 7 ? first : noise;
        }
    }
}

static struct qimg_image *open_image(struct qimg_context *context, const char *name,
                                     const char *format, bool writable)
{
    const struct qimg_open_options how = { .format = format, .writable = writable };
    struct qimg_image *image;
    struct qimg_error err;

    cr_assert_eq(qimg_image_open(context, name, &how, &image, &err), 0, "%s", err.text);
    return image;
}

static void make_files(struct qimg_context *context, const char *backing)
{
    const struct qimg_option cluster = { "cluster_size", "16k" };
    const struct qimg_create_options raw = {
        .format = "raw", .sync = true, .has_size = true, .size = SIZE
    };
    const struct qimg_create_options top = { .format = "qcow2",
                                             .backing_name = backing,
                                             .backing_format = backing ? "raw" : NULL,
                                             .sync = true,
                                             .has_size = true,
                                             .size = SIZE,
                                             .options = &cluster,
                                             .option_count = 1 };
    struct qimg_error err;

    fill_guest();
    cr_assert_eq(qimg_create(context, "source", &raw, &err), 0, "%s", err.text);
    struct qimg_image *image = open_image(context, "source", "raw", true);
    cr_assert_eq(qimg_image_write(image, 0, guest, SIZE, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_finish(image, &err), 0, "%s", err.text);
    qimg_image_close(image);
    if (backing)
        cr_assert_eq(qimg_create(context, backing, &raw, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_create(context, "target", &top, &err), 0, "%s", err.text);
}

static uint8_t *file_bytes(struct qimg_context *context, const char *name, size_t *len)
{
    const struct io_open_options how = { .writable = false };
    struct io_file *file;
    struct io_stat st;

    cr_assert_eq(io_file_open(context->engine, name, &how, &file), 0);
    cr_assert_eq(io_stat(file, &st), 0);
    uint8_t *bytes = malloc(st.size);
    cr_assert_not_null(bytes);
    cr_assert_eq(io_read_exact(file, 0, bytes, st.size, NULL), 0);
    io_file_close(file);
    *len = st.size;
    return bytes;
}

static void expect_guest(struct qimg_context *context, const char *what)
{
    static uint8_t got[SIZE];
    struct qimg_image *image = open_image(context, "target", "qcow2", false);
    struct qimg_error err;
    size_t len;

    cr_assert_eq(qimg_image_read(image, 0, got, SIZE, &err), 0, "%s: %s", what, err.text);
    for (size_t i = 0; i < SIZE; i++)
        cr_assert_eq(got[i], guest[i], "%s: byte %zu is %u, not %u", what, i, got[i], guest[i]);
    qimg_image_close(image);
    uint8_t *bytes = file_bytes(context, "target", &len);
    const struct verdict verdict = qcow2_verify(bytes, len);
    cr_expect(verdict.corruptions + verdict.leaks == 0, "%s: %s", what, verdict.first);
    free(bytes);
}

static int run_job(struct qimg_context *context, struct sink_job *t, struct qimg_error *err)
{
    t->source = open_image(context, "source", "raw", false);
    t->job.image = open_image(context, "target", "qcow2", true);
    t->job.ops = &ops;
    t->job.context = context;
    t->job.slot_size = 64 * BLOCK;
    t->job.scratch_size = 64 * BLOCK;
    t->job.window = 8;
    int rc = copy_run(&t->job, err);
    if (rc == 0)
        rc = chain_writing_end(t->job.image, err);
    qimg_image_close(t->job.image);
    qimg_image_close(t->source);
    return rc;
}

/* --- cases ---------------------------------------------------------------------------------- */

static const unsigned whole_clusters[] = { 4, 8, 4, 60, 0 };
static const unsigned torn_clusters[] = { 1, 2, 3, 7, 5, 13, 0 };
static const unsigned one_cluster[] = { 4, 0 };

struct sink_case {
    const char *name, *backing;
    const unsigned *cuts;
    bool packs;
};

static const struct sink_case cases[] = {
    { "whole clusters", NULL, whole_clusters, false },
    { "torn clusters", NULL, torn_clusters, false },
    { "overlay", "base", torn_clusters, false },
    { "packed", NULL, one_cluster, true },
};

/* The job's file, after its content was looked at. */
static uint8_t *bytes_of_case(struct qimg_context *context, const struct sink_case *c, size_t *len)
{
    struct sink_job t = { .cuts = c->cuts, .packs = c->packs };
    struct qimg_error err;

    make_files(context, c->backing);
    cr_assert_eq(run_job(context, &t, &err), 0, "%s: %s", c->name, err.text);
    expect_guest(context, c->name);
    return file_bytes(context, "target", len);
}

static uint8_t *simulated(const struct sink_case *c, uint64_t seed, size_t *len)
{
    struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .seed = seed, .no_log = true });
    uint8_t *bytes = bytes_of_case(rig->context, c, len);

    sim_rig_free(rig);
    return bytes;
}

static struct qimg_context *real_context(unsigned threads)
{
    const struct qimg_context_options how = { .engine = QIMG_ENGINE_THREADS, .threads = threads };
    struct qimg_context *context;
    struct qimg_error err;

    cr_assert_eq(qimg_context_new(&how, &context, &err), 0, "%s", err.text);
    return context;
}

static uint8_t *threaded(const struct sink_case *c, unsigned threads, size_t *len)
{
    char *dir = scratch_new();

    cr_assert_eq(chdir(dir), 0);
    struct qimg_context *context = real_context(threads);
    uint8_t *bytes = bytes_of_case(context, c, len);
    qimg_context_free(context);
    cr_assert_eq(chdir("/"), 0);
    scratch_remove(dir);
    return bytes;
}

Test(copy_sink, files_have_the_same_bytes_whatever_engine_threads_and_timing)
{
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t first_len, len;
        uint8_t *first = simulated(&cases[i], 1, &first_len);
        for (unsigned turn = 0; turn < 7; turn++) {
            uint8_t *other = turn < 5 ? simulated(&cases[i], turn + 2, &len)
                                      : threaded(&cases[i], (turn - 4) * 3, &len);
            cr_assert(len == first_len && memcmp(first, other, len) == 0, "%s, turn %u",
                      cases[i].name, turn);
            free(other);
        }
        free(first);
    }
}

Test(copy_sink, what_fails_is_told_and_what_came_before_stays_consistent)
{
    char *dir = scratch_new();
    struct sink_job t = { .cuts = torn_clusters, .fail_at = SIZE / 2 };
    struct qimg_error err;
    size_t len;

    cr_assert_eq(chdir(dir), 0);
    struct qimg_context *context = real_context(4);
    make_files(context, NULL);
    cr_expect_eq(run_job(context, &t, &err), -EBADMSG);
    uint8_t *bytes = file_bytes(context, "target", &len);
    cr_expect_eq(qcow2_verify(bytes, len).corruptions, 0u);
    free(bytes);
    qimg_context_free(context);
    cr_assert_eq(chdir("/"), 0);
    scratch_remove(dir);
}

Test(copy_sink, failing_writes_are_told_in_guest_order)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .seed = seed });
        struct sink_job t = { .cuts = whole_clusters };
        struct qimg_error err;

        make_files(rig->context, NULL);
        io_sim_fault(rig->engine, io_sim_operations(rig->engine) + 10 + seed, IO_SIM_EIO, true);
        cr_expect_eq(run_job(rig->context, &t, &err), -EIO, "seed %lu", (unsigned long)seed);
        sim_rig_free(rig);
    }
}

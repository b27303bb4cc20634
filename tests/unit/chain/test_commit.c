/* SPDX-License-Identifier: Apache-2.0
 *
 * Commit as a plan: what is copied and what is left alone, in which order files change, and what a
 * failure leaves. Crash states of the whole job are in tests/crash/crash_commit.c.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "qimg/commit.h"
#include "qimg/write.h"
#include "scratch.h"
#include "sim_rig.h"

#define CLUSTER (64 * KiB)
#define SIZE    (16 * CLUSTER)

static void create(struct sim_rig *rig, const char *name, const char *backing)
{
    const struct qimg_create_options how = { .format = "qcow2",
                                             .backing_name = backing,
                                             .backing_format = backing ? "qcow2" : NULL,
                                             .has_size = true,
                                             .size = SIZE };
    struct qimg_error err;

    cr_assert_eq(qimg_create(rig->context, name, &how, &err), 0, "%s", err.text);
}

static struct qimg_image *open_image(struct sim_rig *rig, const char *name, bool writable)
{
    const struct qimg_open_options how = { .format = "qcow2", .writable = writable };
    struct qimg_image *image;
    struct qimg_error err;

    cr_assert_eq(qimg_image_open(rig->context, name, &how, &image, &err), 0, "%s", err.text);
    return image;
}

/* @pattern: a letter a cluster; '.' nothing, '0' zeros by metadata. */
static void fill(struct sim_rig *rig, const char *name, const char *pattern)
{
    struct qimg_image *image = open_image(rig, name, true);
    struct qimg_error err;
    uint8_t buf[CLUSTER];

    for (size_t i = 0; pattern[i]; i++) {
        memset(buf, pattern[i], sizeof(buf));
        if (pattern[i] == '0')
            cr_assert_eq(qimg_image_write_zeroes(image, i * CLUSTER, CLUSTER, 0, &err), 0);
        else if (pattern[i] != '.')
            cr_assert_eq(qimg_image_write(image, i * CLUSTER, buf, CLUSTER, &err), 0);
    }
    cr_assert_eq(qimg_image_finish(image, &err), 0);
    qimg_image_close(image);
}

/* What the guest sees, as such a pattern. */
static void expect(struct sim_rig *rig, const char *name, const char *pattern)
{
    struct qimg_image *image = open_image(rig, name, false);
    struct qimg_error err;
    uint8_t buf[CLUSTER];

    for (size_t i = 0; pattern[i]; i++) {
        const uint8_t want = pattern[i] == '.' ? 0 : (uint8_t)pattern[i];
        cr_assert_eq(qimg_image_read(image, i * CLUSTER, buf, CLUSTER, &err), 0, "%s", err.text);
        cr_expect(buf[0] == want && buf[CLUSTER - 1] == want, "%s: cluster %zu has %#x", name, i,
                  buf[0]);
    }
    qimg_image_close(image);
}

static struct sim_rig *chain(void)
{
    struct sim_rig *rig = sim_rig_new(NULL);

    create(rig, "base", NULL);
    create(rig, "mid", "base");
    create(rig, "top", "mid");
    fill(rig, "base", "aaaaaaaa");
    fill(rig, "mid", ".bb0....bb");
    fill(rig, "top", "..c..c0...c");
    return rig;
}

static int commit(struct sim_rig *rig, const char *base, bool keep,
                  struct qimg_commit_result *result, struct qimg_error *err)
{
    const struct qimg_commit_options options = {
        .name = "top", .open.format = "qcow2", .base = base, .keep_overlay = keep
    };

    qimg_error_clear(err);
    return qimg_commit(rig->context, &options, result, err);
}

Test(commit, only_what_the_overlays_have_is_copied)
{
    static const struct {
        const char *base;
        uint64_t copied, zeroed;
        const char *into;
        bool emptied;
    } cases[] = {
        { NULL, 3, 1, "mid", true },
        { "mid", 3, 1, "mid", false },
        { "base", 6, 2, "base", false },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sim_rig *rig = chain();
        struct qimg_commit_result got;
        struct qimg_error err;

        expect(rig, "top", "abc.ac.abbc");
        cr_assert_eq(commit(rig, cases[i].base, false, &got, &err), 0, "%zu: %s", i, err.text);
        cr_expect_eq(got.copied, cases[i].copied * CLUSTER, "%zu: %lu", i,
                     (unsigned long)(got.copied / CLUSTER));
        cr_expect_eq(got.zeroed, cases[i].zeroed * CLUSTER, "%zu: %lu", i,
                     (unsigned long)(got.zeroed / CLUSTER));
        cr_expect_eq(got.emptied, cases[i].emptied, "%zu", i);
        expect(rig, cases[i].into, "abc.ac.abbc");
        sim_rig_free(rig);
    }
}

Test(commit, whatever_fails_the_overlay_is_as_it_was)
{
    struct sim_rig *rig = chain();
    struct qimg_commit_result got;
    struct qimg_error err;
    size_t count;

    cr_assert_eq(commit(rig, NULL, true, &got, &err), 0, "%s", err.text);
    cr_expect(!got.emptied);
    const uint64_t whole = io_sim_operations(rig->engine);
    sim_rig_free(rig);
    /* Every operation fails in turn: without success the overlay's file is never written. */
    for (uint64_t at = 1; at <= whole; at += 7) {
        rig = chain();
        const uint64_t begun = io_sim_operations(rig->engine);
        io_sim_fault(rig->engine, begun + at, IO_SIM_EIO, true);
        const int rc = commit(rig, NULL, true, &got, &err);
        const struct io_sim_entry *log = io_sim_log(rig->engine, &count);
        for (size_t i = begun; i < count; i++)
            cr_expect(strcmp(log[i].name, "top") != 0 || log[i].op != IO_SIM_WRITE, "at %lu",
                      (unsigned long)at);
        if (rc == 0) { /* the fault was behind the end */
            sim_rig_free(rig);
            break;
        }
        cr_expect(err.text[0], "at %lu: nothing is said", (unsigned long)at);
        io_sim_fault(rig->engine, 0, IO_SIM_EIO, false);
        expect(rig, "top", "abc.ac.abbc");
        sim_rig_free(rig);
    }
}

Test(commit, the_base_is_synced_before_the_overlay_is_written)
{
    struct sim_rig *rig = chain();
    struct qimg_commit_result got;
    struct qimg_error err;
    size_t count, last_write = 0, sync = 0, empties = 0;
    const size_t begun = io_sim_operations(rig->engine);

    cr_assert_eq(commit(rig, NULL, false, &got, &err), 0, "%s", err.text);
    const struct io_sim_entry *log = io_sim_log(rig->engine, &count);
    for (size_t i = begun; i < count; i++) {
        const bool base = strcmp(log[i].name, "mid") == 0, write = log[i].op == IO_SIM_WRITE;
        if (base && write)
            last_write = i;
        if (base && log[i].op == IO_SIM_SYNC)
            sync = i;
        if (!base && write && !empties)
            empties = i;
    }
    cr_expect(last_write > 0 && last_write < sync && sync < empties, "%zu, %zu, %zu", last_write,
              sync, empties);
    sim_rig_free(rig);
}

static int stop_at_once(void *user, uint64_t done, uint64_t total)
{
    *(uint64_t *)user = total;
    return done > 0;
}

Test(commit, a_stopped_job_leaves_the_overlay_and_its_work_is_what_it_copies)
{
    struct sim_rig *rig = chain();
    uint64_t total = 0;
    const struct qimg_commit_options options = {
        .name = "top", .open.format = "qcow2", .progress = stop_at_once, .user = &total
    };
    struct qimg_commit_result got;
    struct qimg_error err;

    cr_expect_eq(qimg_commit(rig->context, &options, &got, &err), -ECANCELED);
    cr_expect_eq(total, 4 * CLUSTER);
    cr_expect(!got.emptied);
    expect(rig, "top", "abc.ac.abbc");
    sim_rig_free(rig);
}

Test(commit, a_base_that_cannot_be_found_is_named)
{
    struct sim_rig *rig = chain();
    struct qimg_commit_result got;
    struct qimg_error err;

    cr_expect_eq(commit(rig, "nox", false, &got, &err), -ENOENT);
    cr_expect_str_eq(err.text, "Did not find 'nox' in the backing chain of 'top'");
    sim_rig_free(rig);
}

/* --- on real files -------------------------------------------------------------------------- */

#define LARGE (40 * MiB)

static void create_large(struct qimg_context *context, const char *name, const char *backing)
{
    const struct qimg_create_options how = { .format = "qcow2",
                                             .backing_name = backing,
                                             .backing_format = backing ? "qcow2" : NULL,
                                             .has_size = true,
                                             .size = LARGE };
    const struct qimg_open_options writable = { .format = "qcow2", .writable = true };
    struct qimg_image *image;
    struct qimg_error err;

    cr_assert_eq(qimg_create(context, name, &how, &err), 0, "%s", err.text);
    if (!backing)
        return;
    uint8_t *buf = malloc(MiB);
    cr_assert_not_null(buf);
    memset(buf, 7, MiB);
    cr_assert_eq(qimg_image_open(context, name, &writable, &image, &err), 0, "%s", err.text);
    for (uint64_t off = 0; off < LARGE; off += MiB)
        cr_assert_eq(qimg_image_write(image, off, buf, MiB, &err), 0);
    cr_assert_eq(qimg_image_finish(image, &err), 0);
    qimg_image_close(image);
    free(buf);
}

/* So that the sync at the end has little to wait for. */
Test(commit, the_disk_begins_while_more_is_copied_unless_nothing_is_to_be_durable)
{
    static const enum qimg_cache modes[] = { QIMG_CACHE_WRITEBACK, QIMG_CACHE_UNSAFE };

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        const struct qimg_context_options threads = { .engine = QIMG_ENGINE_THREADS };
        const struct qimg_commit_options options = {
            .name = "top", .open = { .format = "qcow2", .cache = modes[i] }
        };
        struct qimg_context *context;
        struct qimg_commit_result got;
        struct qimg_error err;
        char *dir = scratch_new();

        cr_assert_eq(chdir(dir), 0);
        cr_assert_eq(qimg_context_new(&threads, &context, &err), 0);
        create_large(context, "base", NULL);
        create_large(context, "top", "base");
        const atomic_uint_least64_t *told = &context->engine->stats.write_backs;
        const uint64_t before = atomic_load(told);
        cr_expect_gt(before, 0, "the writes to the overlay");
        cr_assert_eq(qimg_commit(context, &options, &got, &err), 0, "%s", err.text);
        cr_expect_eq(got.copied, LARGE);
        cr_expect_eq(atomic_load(told) > before, i == 0);
        qimg_context_free(context);
        cr_assert_eq(chdir("/"), 0);
        scratch_remove(dir);
    }
}

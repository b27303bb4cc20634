/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole commit, broken off everywhere: in every state that a crash may leave, both images are
 * sound, each sector of the base is old or new, its bitmap knows what is new, and the overlay reads
 * as before; once the job has returned, the base has all of it. After a fault at any operation the
 * same holds, and the job can be run again to its end. Without the barrier before the overlay is
 * emptied some state must be wrong, or this program would see nothing.
 *
 * "disk" is the overlay, "data" its base. QIMG_LONG=1: more random states, every fault.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "job_rig.h"
#include "judge.h"
#include "meta.h"
#include "qcow2_verify.h"
#include "qimg/bitmap.h"
#include "qimg/commit.h"
#include "states.h"

#define STATES_FLOOR 840 /* distinct, over all pairs; three quarters of what was counted */
#define FAULTS_FLOOR 220

static const struct pair {
    const char *name;
    const char *base_cluster, *top_cluster; /* base NULL: raw */
    const char *base_compat;
    uint64_t base_size, top_size;
    bool bitmap;
} pairs[] = {
    { "4k on 4k", "4k", "4k", "v3", 160 * KiB, 160 * KiB, false },
    { "4k on 64k, grown", "64k", "4k", "v3", 100 * KiB, 170 * KiB, false },
    { "64k on 4k with a bitmap", "4k", "64k", "v3", 200 * KiB, 160 * KiB, true },
    { "4k on version 2", "4k", "4k", "v2", 120 * KiB, 160 * KiB, false },
    { "512 on 512", "512", "512", "v3", 32 * KiB, 40 * KiB, false },
    { "4k on raw", NULL, "4k", NULL, 160 * KiB, 160 * KiB, false },
    { "4k on raw, grown", NULL, "4k", NULL, 100 * KiB, 160 * KiB, false },
};

struct job {
    const struct pair *pair;
    struct qimg_context *context;
    struct content base, top; /* before */
    struct tape tape;
    struct qimg_error err;
};

/* --- the images --------------------------------------------------------------------------------
 */

static void create(struct job *j, const char *name, const char *cluster, uint64_t size)
{
    const bool top = strcmp(name, "disk") == 0;
    const struct qimg_option options[] = { { "cluster_size", cluster },
                                           { "compat", top ? "v3" : j->pair->base_compat } };
    const struct qimg_create_options how = {
        .format = cluster ? "qcow2" : "raw",
        .backing_name = top ? "data" : NULL,
        .backing_format = !top                    ? NULL
                          : j->pair->base_cluster ? "qcow2"
                                                  : "raw",
        .has_size = true,
        .size = size,
        .options = options,
        .option_count = cluster ? 2 : 0,
    };

    must(qimg_create(j->context, name, &how, &j->err), &j->err);
}

static const char *format_of(const struct job *j, const char *name)
{
    return strcmp(name, "data") == 0 && !j->pair->base_cluster ? "raw" : "qcow2";
}

static struct qimg_image *open_image(const struct job *j, const char *name)
{
    return rig_open(j->context, name, format_of(j, name), true);
}

static void add_bitmap(struct job *j)
{
    const struct qimg_bitmap_action add = { .verb = QIMG_BITMAP_ADD,
                                            .name = "b",
                                            .granularity = 4096 };
    struct qimg_image *base = open_image(j, "data");

    must(qimg_image_change_bitmaps(base, &add, 1, &j->err), &j->err);
    qimg_image_close(base);
}

static void fill_images(struct job *j)
{
    const uint64_t unit = j->pair->top_size / 40;
    struct qimg_image *base = open_image(j, "data");

    rig_put(base, 0, 10 * unit, 0xb1);
    rig_put(base, 14 * unit, 6 * unit, 0xb2);
    rig_finish(base);
    if (j->pair->bitmap)
        add_bitmap(j);
    struct qimg_image *top = open_image(j, "disk");
    rig_put(top, unit, 2 * unit, 0x71);
    rig_put(top, 5 * unit, 3 * unit, 0);
    rig_put(top, 12 * unit + 512, 1024, 0x72);
    rig_put(top, 16 * unit, unit, 0x73);
    rig_put(top, 30 * unit, 5 * unit, 0x74);
    rig_put(top, j->pair->top_size - 512, 512, 0x75);
    rig_finish(top);
}

static void job_open(struct job *j, const struct pair *pair)
{
    struct io_engine *engine;

    *j = (struct job){ .pair = pair };
    if (io_sim_new(NULL, NULL, &engine) < 0)
        abort();
    j->context = context_on(engine);
    create(j, "data", pair->base_cluster, pair->base_size);
    create(j, "disk", pair->top_cluster, pair->top_size);
    fill_images(j);
    settle(&j->context);
    j->base = rig_read(j->context, "data", format_of(j, "data"));
    j->top = rig_read(j->context, "disk", "qcow2");
}

static void job_close(struct job *j)
{
    tape_release(&j->tape);
    free(j->base.bytes);
    free(j->top.bytes);
    qimg_context_free(j->context);
}

static int commit(struct job *j)
{
    const struct qimg_commit_options options = { .name = "disk", .open.format = "qcow2" };
    struct qimg_commit_result result;

    qimg_error_clear(&j->err);
    const int rc = qimg_commit(j->context, &options, &result, &j->err);
    return rc == 0 && !result.emptied ? -EINVAL : rc;
}

/* --- the judge ---------------------------------------------------------------------------------
 */

/* A disk whose image is the base; it borrows everything. */
static struct disk base_of(const struct disk *disk)
{
    return (struct disk){ .files = { disk->files[1] } };
}

static bool is_sound(struct judge *judge, const struct disk *disk, const char *name)
{
    const struct verdict v = qcow2_verify(disk->files[0].bytes, disk->files[0].size);
    struct qimg_error err;

    if (v.corruptions == 0 && (v.leaks == 0 || !judge->no_leaks) &&
        view_check(disk, !judge->no_leaks, &err) == 0)
        return true;
    (void)snprintf(judge->text, sizeof(judge->text), "%s: %u corruptions, %u leaks: %.200s", name,
                   v.corruptions, v.leaks, v.first);
    return false;
}

static bool sound(struct judge *judge, const struct disk *disk)
{
    const struct job *j = judge->user;
    const struct disk base = base_of(disk);

    return is_sound(judge, disk, "overlay") &&
           (!j->pair->base_cluster || is_sound(judge, &base, "base"));
}

static void view_base(struct view *view, const struct job *j, const struct disk *disk)
{
    const struct disk base = base_of(disk);
    struct qimg_error err;

    if (j->pair->base_cluster) {
        must(view_take(view, &base, (struct backing){ 0 }, false, &err), &err);
        return;
    }
    *view = (struct view){ .size = base.files[0].size };
    view->bytes = malloc(view->size);
    if (!view->bytes)
        abort();
    memcpy(view->bytes, base.files[0].bytes, view->size);
}

static bool PRINTF_LIKE(2, 3) wrong(struct judge *judge, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(judge->text, sizeof(judge->text), fmt, args);
    va_end(args);
    return false;
}

/* Sector @off of the base as it was (zeros where it has grown), or as it shall be. */
static bool is_known(const struct job *j, const struct view *view, uint64_t off, bool ended)
{
    static const uint8_t zeros[DISK_SECTOR];
    const uint8_t *old = off < j->base.size ? j->base.bytes + off : zeros;
    const uint8_t *new = off < j->top.size ? j->top.bytes + off : old;

    return memcmp(view->bytes + off, new, DISK_SECTOR) == 0 ||
           (!ended && memcmp(view->bytes + off, old, DISK_SECTOR) == 0);
}

static bool judge_base(struct judge *judge, const struct disk *disk, const struct view *view,
                       bool ended)
{
    const struct job *j = judge->user;
    const uint64_t size = max_u64(j->base.size, j->top.size);
    const struct disk base = base_of(disk);

    if (view->size != size && (ended || view->size != j->base.size))
        return wrong(judge, "the base has %" PRIu64 " bytes", view->size);
    for (uint64_t off = 0; off < view->size; off += DISK_SECTOR)
        if (!is_known(j, view, off, ended))
            return wrong(judge, "base: sector at %" PRIu64 " begins with %#x", off,
                         view->bytes[off]);
    if (!j->pair->bitmap)
        return true;
    const int64_t at = view_unrecorded(view, &base, j->base.bytes, j->base.size);
    return at == -1 || wrong(judge, "the base's bitmap does not know of %" PRId64, at);
}

static bool judge_overlay(struct judge *judge, const struct disk *disk, const struct view *below)
{
    const struct job *j = judge->user;
    const struct backing backing = { below->bytes, below->size };
    struct qimg_error err;
    struct view view;
    bool fine = true;

    if (view_take(&view, disk, backing, true, &err) < 0)
        fine = wrong(judge, "the overlay does not open: %.200s", err.text);
    else if (view.size != j->top.size || memcmp(view.bytes, j->top.bytes, view.size) != 0)
        fine = wrong(judge, "the overlay reads differently");
    view_release(&view);
    return fine;
}

static bool content(struct judge *judge, const struct disk *disk, const struct tape *tape,
                    struct span span)
{
    struct view base;

    (void)tape;
    view_base(&base, judge->user, disk);
    const bool fine =
        judge_base(judge, disk, &base, span.first > 0) && judge_overlay(judge, disk, &base);
    view_release(&base);
    return fine;
}

static struct judge judge_for(struct job *j)
{
    return (struct judge){ .sound = sound, .content = content, .user = j };
}

struct moment {
    const char *name;
    bool ended; /* all was done */
    bool whole; /* and nothing was broken off before: no leaks */
};

static bool judge_engine(struct job *j, struct io_engine *engine, const struct moment *moment)
{
    struct judge judge = judge_for(j);
    const struct span span = { moment->ended, 1 };
    struct disk disk;

    disk_load(&disk, engine);
    judge.no_leaks = moment->whole;
    const bool fine = judge_sound(&judge, &disk) && judge_content(&judge, &disk, &j->tape, span);
    disk_release(&disk);
    if (!fine)
        printf("%s: %s: %s\n", j->pair->name, moment->name, judge.text);
    return fine;
}

static const struct moment at_the_end = { "at the end", true, true };
static const struct moment after_fault = { "after a fault, as it stands", false, false };
static const struct moment after_both = { "after a fault and a power cut", false, false };
static const struct moment run_again = { "run again", true, false };

/* --- crash states ------------------------------------------------------------------------------
 */

struct totals {
    uint64_t states, faults, reported, wrong;
    bool is_long;
};

/* Records a commit and searches all that a crash may leave of it. */
static struct states_result search(const struct pair *pair, struct totals *totals, bool stop)
{
    const struct states_how how = { .random = totals->is_long ? 300 : 8,
                                    .tears = totals->is_long ? 0 : 15,
                                    .seed = 1,
                                    .stop = stop };
    struct states_result result;
    struct disk start;
    struct job j;

    job_open(&j, pair);
    disk_load(&start, j.context->engine);
    tape_mark(&j.tape, j.top.bytes, j.top.size, "", true);
    tape_record(&j.tape, j.context->engine);
    must(commit(&j), &j.err);
    tape_mark(&j.tape, j.top.bytes, j.top.size, "", true);
    totals->wrong += !stop && !judge_engine(&j, j.context->engine, &at_the_end);
    for (size_t i = 0; i < j.tape.events.count; i++)
        disk_reserve(&start, &j.tape.events.items[i].change);
    struct judge judge = judge_for(&j);
    states_of(&j.tape, &start, &judge, &how, &result);
    disk_release(&start);
    job_close(&j);
    return result;
}

static void try_states(const struct pair *pair, struct totals *totals)
{
    const struct states_result result = search(pair, totals, false);

    printf("%s: %" PRIu64 " distinct states of %" PRIu64 "\n", pair->name, result.distinct,
           result.tried);
    if (result.wrong)
        printf("  WRONG %" PRIu64 ": %s\n", result.wrong, result.first);
    totals->states += result.distinct;
    totals->wrong += result.wrong;
}

/* --- faults ------------------------------------------------------------------------------------
 */

/* Returns whether the operation was reached. */
static bool inject(const struct pair *pair, struct totals *totals, uint64_t at, bool forever)
{
    struct job j;

    job_open(&j, pair);
    struct io_engine *engine = j.context->engine;
    const uint64_t n = io_sim_operations(engine) + at;
    io_sim_fault(engine, n, at % 2 ? IO_SIM_EIO : IO_SIM_ENOSPC, forever);
    const int rc = commit(&j);
    const bool reached = io_sim_operations(engine) >= n;
    io_sim_fault(engine, 0, IO_SIM_EIO, false);
    totals->faults += reached;
    totals->reported += rc < 0;
    if (rc < 0 && j.err.text[0] == '\0') {
        printf("%s: a fault at %" PRIu64 " says nothing\n", pair->name, at);
        totals->wrong++;
    }
    struct io_engine *cut = after_cut(engine, IO_SIM_RANDOM, at);
    totals->wrong += !judge_engine(&j, engine, &after_fault);
    totals->wrong += !judge_engine(&j, cut, &after_both);
    qimg_context_free(j.context);
    j.context = context_on(cut);
    const int again = commit(&j);
    if (again < 0) {
        printf("%s: after a fault at %" PRIu64 ": %s\n", pair->name, at, j.err.text);
        totals->wrong++;
    } else {
        totals->wrong += !judge_engine(&j, cut, &run_again);
    }
    job_close(&j);
    return reached;
}

static void try_faults(const struct pair *pair, struct totals *totals)
{
    const uint64_t step = totals->is_long ? 1 : 3;

    for (unsigned forever = 0; forever < 2; forever++)
        for (uint64_t at = 1 + forever; inject(pair, totals, at, forever); at += step)
            continue;
}

/* --- the barrier that counts -------------------------------------------------------------------
 */

static bool is_missed(struct totals *totals)
{
    meta_test_dropped = 1u << META_FLUSHED;
    const struct states_result result = search(&pairs[0], totals, true);
    meta_test_dropped = 0;
    printf("without the barrier behind the base: %s\n", result.wrong ? result.first : "NOT MISSED");
    return result.wrong > 0;
}

int main(void)
{
    struct totals totals = { .is_long = getenv("QIMG_LONG") != NULL };

    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        try_states(&pairs[i], &totals);
        try_faults(&pairs[i], &totals);
        (void)fflush(stdout);
    }
    const bool missed = is_missed(&totals);
    printf("%" PRIu64 " distinct states, %" PRIu64 " faults, %" PRIu64 " reported, %" PRIu64
           " wrong\n",
           totals.states, totals.faults, totals.reported, totals.wrong);
    return totals.wrong || !missed || totals.states < STATES_FLOOR || totals.faults < FAULTS_FLOOR;
}

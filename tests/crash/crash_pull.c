/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole rebases and streams, broken off everywhere: in every state that a crash may leave, the
 * image is sound, has the old backing file or the new one, and reads over it as before; once the
 * job has returned it has the new one. After a fault at any operation the same holds, and the job
 * can be run again to its end. Without the barrier before the new name is written some state must
 * be wrong, or this program would see nothing.
 *
 * "disk" is the image; what lies below never changes. QIMG_LONG=1: more random states, every fault.
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
#include "qimg/rebase.h"
#include "states.h"

#define STATES_FLOOR 1270 /* distinct, over all cases; three quarters of what was counted */
#define FAULTS_FLOOR 230

#define SIZE (160 * KiB)

/* disk -> old -> root, and new -> root beside it. */
static const struct job_case {
    const char *name, *cluster, *compat, *extended;
    const char *onto; /* NULL: nothing */
    bool stream, compress, bitmap;
} cases[] = {
    { "onto a sibling", "4k", "v3", "off", "new", false, false, false },
    { "onto a sibling, 64k", "64k", "v3", "off", "new", false, false, true },
    { "onto a sibling, 512", "512", "v3", "off", "new", false, false, false },
    { "onto a sibling, subclusters", "16k", "v3", "on", "new", false, false, false },
    { "onto a sibling, version 2", "4k", "v2", "off", "new", false, false, false },
    { "onto the root", "4k", "v3", "off", "root", false, false, false },
    { "onto nothing", "4k", "v3", "off", NULL, false, false, true },
    { "onto nothing, compressed", "4k", "v3", "off", NULL, false, true, false },
    { "stream to the root", "4k", "v3", "off", "root", true, false, false },
    { "stream all", "16k", "v3", "on", NULL, true, false, false },
    { "stream all, version 2", "4k", "v2", "off", NULL, true, false, false },
};

static const char *const below[] = { "root", "old", "new" };

struct job {
    const struct job_case *is;
    struct qimg_context *context;
    struct content guest;                       /* what the image reads as, always */
    struct content backing[ARRAY_COUNT(below)]; /* what each of these does */
    struct tape tape;
    struct qimg_error err;
};

/* --- the images --------------------------------------------------------------------------------
 */

static const char *format_of(const char *name)
{
    return strcmp(name, "root") == 0 ? "raw" : "qcow2";
}

static void create(struct job *j, const char *name, const char *backing, uint64_t size)
{
    const struct qimg_option options[] = { { "cluster_size", j->is->cluster },
                                           { "compat", j->is->compat },
                                           { "extended_l2", j->is->extended } };
    const struct qimg_create_options how = {
        .format = format_of(name),
        .backing_name = backing,
        .backing_format = backing ? format_of(backing) : NULL,
        .has_size = true,
        .size = size,
        .options = options,
        .option_count = strcmp(name, "root") == 0 ? 0 : ARRAY_COUNT(options),
    };

    must(qimg_create(j->context, name, &how, &j->err), &j->err);
}

static void add_bitmap(struct job *j)
{
    const struct qimg_bitmap_action add = { .verb = QIMG_BITMAP_ADD,
                                            .name = "b",
                                            .granularity = 4096 };
    struct qimg_image *image = rig_open(j->context, "disk", "qcow2", true);

    must(qimg_image_change_bitmaps(image, &add, 1, &j->err), &j->err);
    qimg_image_close(image);
}

/* What differs: data and data, data and nothing, zeros and data; and the old base is shorter. */
static void fill_images(struct job *j)
{
    const uint64_t unit = SIZE / 40;
    struct qimg_image *image = rig_open(j->context, "root", "raw", true);

    rig_put(image, 0, SIZE, 0xa1);
    rig_finish(image);
    image = rig_open(j->context, "old", "qcow2", true);
    rig_put(image, 2 * unit, 3 * unit, 0xb1);
    rig_put(image, 8 * unit, 2 * unit, 0);
    rig_put(image, 20 * unit + 512, 1024, 0xb2);
    rig_finish(image);
    image = rig_open(j->context, "new", "qcow2", true);
    rig_put(image, 3 * unit, 3 * unit, 0xc1);
    rig_put(image, 24 * unit, 2 * unit, 0);
    rig_finish(image);
    image = rig_open(j->context, "disk", "qcow2", true);
    rig_put(image, 4 * unit + 512, 2048, 0xd1);
    rig_put(image, 12 * unit, unit, 0);
    rig_finish(image);
    if (j->is->bitmap)
        add_bitmap(j);
}

static void job_open(struct job *j, const struct job_case *is)
{
    struct io_engine *engine;

    *j = (struct job){ .is = is };
    if (io_sim_new(NULL, NULL, &engine) < 0)
        abort();
    j->context = context_on(engine);
    create(j, "root", NULL, SIZE);
    create(j, "old", "root", SIZE - 20 * KiB);
    create(j, "new", "root", SIZE);
    create(j, "disk", "old", SIZE - 512);
    fill_images(j);
    settle(&j->context);
    j->guest = rig_read(j->context, "disk", "qcow2");
    for (size_t i = 0; i < ARRAY_COUNT(below); i++)
        j->backing[i] = rig_read(j->context, below[i], format_of(below[i]));
}

static void job_close(struct job *j)
{
    tape_release(&j->tape);
    free(j->guest.bytes);
    for (size_t i = 0; i < ARRAY_COUNT(below); i++)
        free(j->backing[i].bytes);
    qimg_context_free(j->context);
}

static int rebase(const struct job *j, struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_rebase_options options = {
        .backing_name = j->is->onto,
        .backing_format = j->is->onto ? format_of(j->is->onto) : NULL,
        .pull.compress = j->is->compress,
    };
    struct qimg_pull_result result;

    return qimg_rebase(image, &options, &result, err);
}

static int stream(const struct job *j, struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_stream_options options = { .base = j->is->onto };
    struct qimg_pull_result result;

    return qimg_stream(image, &options, &result, err);
}

static int run(struct job *j)
{
    const struct qimg_open_options how = { .format = "qcow2", .writable = true };
    struct qimg_image *image;

    qimg_error_clear(&j->err);
    TRY(qimg_image_open(j->context, "disk", &how, &image, &j->err));
    const int rc = j->is->stream ? stream(j, image, &j->err) : rebase(j, image, &j->err);
    qimg_image_close(image);
    return rc;
}

/* --- the judge ---------------------------------------------------------------------------------
 */

static bool PRINTF_LIKE(2, 3) wrong(struct judge *judge, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(judge->text, sizeof(judge->text), fmt, args);
    va_end(args);
    return false;
}

/* The recorded backing name of @view: the first line of its text. */
static void name_of(const struct view *view, char name[32])
{
    if (sscanf(view->text.text, "backing %31s", name) != 1)
        abort();
}

/* What stands below it. False: a name that nobody has written. */
static bool find_backing(const struct job *j, const char *name, struct backing *out)
{
    *out = (struct backing){ 0 };
    if (strcmp(name, "-") == 0)
        return true;
    for (size_t i = 0; i < ARRAY_COUNT(below); i++)
        if (strcmp(name, below[i]) == 0)
            *out = (struct backing){ j->backing[i].bytes, j->backing[i].size };
    return out->bytes != NULL;
}

static bool judge_name(struct judge *judge, const char *name, bool ended)
{
    const struct job *j = judge->user;
    const char *onto = j->is->onto ? j->is->onto : "-";

    if (strcmp(name, onto) == 0 || (!ended && strcmp(name, "old") == 0))
        return true;
    return wrong(judge, "the backing file is '%s'", name);
}

/* @view is of the image over nothing: what it reads over what it names? */
static bool judge_bytes(struct judge *judge, const struct disk *disk, const char *name)
{
    const struct job *j = judge->user;
    struct backing backing;
    struct qimg_error err;
    struct view view;
    bool fine = true;

    if (!find_backing(j, name, &backing))
        return wrong(judge, "the backing file is '%s'", name);
    must(view_take(&view, disk, backing, false, &err), &err);
    if (view.size != j->guest.size)
        fine = wrong(judge, "it has %" PRIu64 " bytes", view.size);
    for (uint64_t i = 0; fine && i < view.size; i++)
        if (view.bytes[i] != j->guest.bytes[i])
            fine = wrong(judge, "over '%s': byte %" PRIu64 " is %#x", name, i, view.bytes[i]);
    view_release(&view);
    return fine;
}

static bool content(struct judge *judge, const struct disk *disk, const struct tape *tape,
                    struct span span)
{
    struct qimg_error err;
    struct view view;
    char name[32];

    (void)tape;
    if (view_take(&view, disk, (struct backing){ 0 }, false, &err) < 0) {
        view_release(&view);
        return wrong(judge, "it does not open: %.200s", err.text);
    }
    name_of(&view, name);
    view_release(&view);
    return judge_name(judge, name, span.first > 0) && judge_bytes(judge, disk, name);
}

static struct judge judge_for(struct job *j)
{
    return (struct judge){ .content = content, .user = j };
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
        printf("%s: %s: %s\n", j->is->name, moment->name, judge.text);
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

/* Records a job and searches all that a crash may leave of it. */
static struct states_result search(const struct job_case *is, struct totals *totals, bool stop)
{
    const struct states_how how = { .random = totals->is_long ? 300 : 8,
                                    .tears = totals->is_long ? 0 : 15,
                                    .seed = 1,
                                    .stop = stop };
    struct states_result result;
    struct disk start;
    struct job j;

    job_open(&j, is);
    disk_load(&start, j.context->engine);
    tape_mark(&j.tape, j.guest.bytes, j.guest.size, "", true);
    tape_record(&j.tape, j.context->engine);
    must(run(&j), &j.err);
    tape_mark(&j.tape, j.guest.bytes, j.guest.size, "", true);
    totals->wrong += !stop && !judge_engine(&j, j.context->engine, &at_the_end);
    for (size_t i = 0; i < j.tape.events.count; i++)
        disk_reserve(&start, &j.tape.events.items[i].change);
    struct judge judge = judge_for(&j);
    states_of(&j.tape, &start, &judge, &how, &result);
    disk_release(&start);
    job_close(&j);
    return result;
}

static void try_states(const struct job_case *is, struct totals *totals)
{
    const struct states_result result = search(is, totals, false);

    printf("%s: %" PRIu64 " distinct states of %" PRIu64 "\n", is->name, result.distinct,
           result.tried);
    if (result.wrong)
        printf("  WRONG %" PRIu64 ": %s\n", result.wrong, result.first);
    totals->states += result.distinct;
    totals->wrong += result.wrong;
}

/* --- faults ------------------------------------------------------------------------------------
 */

/* What failed must be told, and a job that says nothing must be done. */
static bool judge_answer(struct job *j, int rc, uint64_t at)
{
    static const struct moment said_done = { "said to be done", true, false };

    if (rc == 0)
        return judge_engine(j, j->context->engine, &said_done);
    if (j->err.text[0] != '\0')
        return true;
    printf("%s: a fault at %" PRIu64 " says nothing\n", j->is->name, at);
    return false;
}

/* Returns whether the operation was reached. */
static bool inject(const struct job_case *is, struct totals *totals, uint64_t at, bool forever)
{
    struct job j;

    job_open(&j, is);
    struct io_engine *engine = j.context->engine;
    const uint64_t n = io_sim_operations(engine) + at;
    io_sim_fault(engine, n, at % 2 ? IO_SIM_EIO : IO_SIM_ENOSPC, forever);
    const int rc = run(&j);
    const bool reached = io_sim_operations(engine) >= n;
    io_sim_fault(engine, 0, IO_SIM_EIO, false);
    totals->faults += reached;
    totals->reported += rc < 0;
    totals->wrong += !judge_answer(&j, rc, at);
    struct io_engine *cut = after_cut(engine, IO_SIM_RANDOM, at);
    totals->wrong += !judge_engine(&j, engine, &after_fault);
    totals->wrong += !judge_engine(&j, cut, &after_both);
    qimg_context_free(j.context);
    j.context = context_on(cut);
    const int again = run(&j);
    if (again < 0) {
        printf("%s: after a fault at %" PRIu64 ": %s\n", is->name, at, j.err.text);
        totals->wrong++;
    } else {
        totals->wrong += !judge_engine(&j, cut, &run_again);
    }
    job_close(&j);
    return reached;
}

static void try_faults(const struct job_case *is, struct totals *totals)
{
    const uint64_t step = totals->is_long ? 1 : 3;

    for (unsigned forever = 0; forever < 2; forever++)
        for (uint64_t at = 1 + forever; inject(is, totals, at, forever); at += step)
            continue;
}

/* --- the barrier that counts -------------------------------------------------------------------
 */

static bool is_missed(struct totals *totals)
{
    meta_test_dropped = 1u << META_FLUSHED;
    const struct states_result result = search(&cases[0], totals, true);
    meta_test_dropped = 0;
    printf("without the barrier before the name: %s\n", result.wrong ? result.first : "NOT MISSED");
    return result.wrong > 0;
}

int main(void)
{
    struct totals totals = { .is_long = getenv("QIMG_LONG") != NULL };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        try_states(&cases[i], &totals);
        try_faults(&cases[i], &totals);
        (void)fflush(stdout);
    }
    const bool missed = is_missed(&totals);
    printf("%" PRIu64 " distinct states, %" PRIu64 " faults, %" PRIu64 " reported, %" PRIu64
           " wrong\n",
           totals.states, totals.faults, totals.reported, totals.wrong);
    return totals.wrong || !missed || totals.states < STATES_FLOOR || totals.faults < FAULTS_FLOOR;
}

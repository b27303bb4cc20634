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
#include "break_off.h"
#include "qcow2_verify.h"
#include "qimg/bitmap.h"
#include "qimg/rebase.h"

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
    struct breakable as; /* first member */
    const struct job_case *is;
    struct content guest;                       /* what the image reads as, always */
    struct content backing[ARRAY_COUNT(below)]; /* what each of these does */
};

/* --- the images ----------------------------------------------------------------------------- */

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

    must(qimg_create(j->as.context, name, &how, &j->as.err), &j->as.err);
}

static void add_bitmap(struct job *j)
{
    const struct qimg_bitmap_action add = { .verb = QIMG_BITMAP_ADD,
                                            .name = "b",
                                            .granularity = 4096 };
    struct qimg_image *image = rig_open(j->as.context, "disk", "qcow2", true);

    must(qimg_image_change_bitmaps(image, &add, 1, &j->as.err), &j->as.err);
    qimg_image_close(image);
}

/* What differs: data and data, data and nothing, zeros and data; and the old base is shorter. */
static void fill_images(struct job *j)
{
    const uint64_t unit = SIZE / 40;
    struct qimg_image *image = rig_open(j->as.context, "root", "raw", true);

    rig_put(image, 0, SIZE, 0xa1);
    rig_finish(image);
    image = rig_open(j->as.context, "old", "qcow2", true);
    rig_put(image, 2 * unit, 3 * unit, 0xb1);
    rig_put(image, 8 * unit, 2 * unit, 0);
    rig_put(image, 20 * unit + 512, 1024, 0xb2);
    rig_finish(image);
    image = rig_open(j->as.context, "new", "qcow2", true);
    rig_put(image, 3 * unit, 3 * unit, 0xc1);
    rig_put(image, 24 * unit, 2 * unit, 0);
    rig_finish(image);
    image = rig_open(j->as.context, "disk", "qcow2", true);
    rig_put(image, 4 * unit + 512, 2048, 0xd1);
    rig_put(image, 12 * unit, unit, 0);
    rig_finish(image);
    if (j->is->bitmap)
        add_bitmap(j);
}

static struct breakable *job_open(size_t index)
{
    const struct job_case *is = &cases[index];
    struct job *j = calloc(1, sizeof(*j));
    struct io_engine *engine;

    if (!j || io_sim_new(NULL, NULL, &engine) < 0)
        abort();
    *j = (struct job){ .as = { .name = is->name, .guest = &j->guest }, .is = is };
    j->as.context = context_on(engine);
    create(j, "root", NULL, SIZE);
    create(j, "old", "root", SIZE - 20 * KiB);
    create(j, "new", "root", SIZE);
    create(j, "disk", "old", SIZE - 512);
    fill_images(j);
    settle(&j->as.context);
    j->guest = rig_read(j->as.context, "disk", "qcow2");
    for (size_t i = 0; i < ARRAY_COUNT(below); i++)
        j->backing[i] = rig_read(j->as.context, below[i], format_of(below[i]));
    return &j->as;
}

static void job_close(struct breakable *b)
{
    struct job *j = (struct job *)b;

    tape_release(&j->as.tape);
    free(j->guest.bytes);
    for (size_t i = 0; i < ARRAY_COUNT(below); i++)
        free(j->backing[i].bytes);
    qimg_context_free(j->as.context);
    free(j);
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

static int run(struct breakable *b)
{
    struct job *j = (struct job *)b;
    const struct qimg_open_options how = { .format = "qcow2", .writable = true };
    struct qimg_image *image;

    qimg_error_clear(&j->as.err);
    TRY(qimg_image_open(j->as.context, "disk", &how, &image, &j->as.err));
    const int rc = j->is->stream ? stream(j, image, &j->as.err) : rebase(j, image, &j->as.err);
    qimg_image_close(image);
    return rc;
}

/* --- the judge ------------------------------------------------------------------------------ */

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
    return judge_wrong(judge, "the backing file is '%s'", name);
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
        return judge_wrong(judge, "the backing file is '%s'", name);
    must(view_take(&view, disk, backing, false, &err), &err);
    if (view.size != j->guest.size)
        fine = judge_wrong(judge, "it has %" PRIu64 " bytes", view.size);
    for (uint64_t i = 0; fine && i < view.size; i++)
        if (view.bytes[i] != j->guest.bytes[i])
            fine = judge_wrong(judge, "over '%s': byte %" PRIu64 " is %#x", name, i, view.bytes[i]);
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
        return judge_wrong(judge, "it does not open: %.200s", err.text);
    }
    name_of(&view, name);
    view_release(&view);
    return judge_name(judge, name, span.first > 0) && judge_bytes(judge, disk, name);
}

static struct judge judge_for(struct breakable *b)
{
    return (struct judge){ .content = content, .user = b };
}

int main(void)
{
    static const struct break_ops ops = {
        .barrier = "before the name",
        .cases = ARRAY_COUNT(cases),
        .states_floor = STATES_FLOOR,
        .faults_floor = FAULTS_FLOOR,
        .open = job_open,
        .close = job_close,
        .run = run,
        .judge = judge_for,
    };

    return break_off(&ops);
}

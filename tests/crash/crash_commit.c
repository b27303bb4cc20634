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
#include "break_off.h"
#include "qcow2_verify.h"
#include "qimg/bitmap.h"
#include "qimg/commit.h"

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
    struct breakable as; /* first member */
    const struct pair *pair;
    struct content base, top; /* before */
};

/* --- the images ----------------------------------------------------------------------------- */

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

    must(qimg_create(j->as.context, name, &how, &j->as.err), &j->as.err);
}

static const char *format_of(const struct job *j, const char *name)
{
    return strcmp(name, "data") == 0 && !j->pair->base_cluster ? "raw" : "qcow2";
}

static struct qimg_image *open_image(const struct job *j, const char *name)
{
    return rig_open(j->as.context, name, format_of(j, name), true);
}

static void add_bitmap(struct job *j)
{
    const struct qimg_bitmap_action add = { .verb = QIMG_BITMAP_ADD,
                                            .name = "b",
                                            .granularity = 4096 };
    struct qimg_image *base = open_image(j, "data");

    must(qimg_image_change_bitmaps(base, &add, 1, &j->as.err), &j->as.err);
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

static struct breakable *job_open(size_t index)
{
    const struct pair *pair = &pairs[index];
    struct job *j = calloc(1, sizeof(*j));
    struct io_engine *engine;

    if (!j || io_sim_new(NULL, NULL, &engine) < 0)
        abort();
    *j = (struct job){ .as = { .name = pair->name, .guest = &j->top }, .pair = pair };
    j->as.context = context_on(engine);
    create(j, "data", pair->base_cluster, pair->base_size);
    create(j, "disk", pair->top_cluster, pair->top_size);
    fill_images(j);
    settle(&j->as.context);
    j->base = rig_read(j->as.context, "data", format_of(j, "data"));
    j->top = rig_read(j->as.context, "disk", "qcow2");
    return &j->as;
}

static void job_close(struct breakable *b)
{
    struct job *j = (struct job *)b;

    tape_release(&j->as.tape);
    free(j->base.bytes);
    free(j->top.bytes);
    qimg_context_free(j->as.context);
    free(j);
}

static int commit(struct breakable *b)
{
    struct job *j = (struct job *)b;
    const struct qimg_commit_options options = { .name = "disk", .open.format = "qcow2" };
    struct qimg_commit_result result;

    qimg_error_clear(&j->as.err);
    const int rc = qimg_commit(j->as.context, &options, &result, &j->as.err);
    return rc == 0 && !result.emptied ? -EINVAL : rc;
}

/* --- the judge ------------------------------------------------------------------------------ */

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
        return judge_wrong(judge, "the base has %" PRIu64 " bytes", view->size);
    for (uint64_t off = 0; off < view->size; off += DISK_SECTOR)
        if (!is_known(j, view, off, ended))
            return judge_wrong(judge, "base: sector at %" PRIu64 " begins with %#x", off,
                               view->bytes[off]);
    if (!j->pair->bitmap)
        return true;
    const int64_t at = view_unrecorded(view, &base, j->base.bytes, j->base.size);
    return at == -1 || judge_wrong(judge, "the base's bitmap does not know of %" PRId64, at);
}

static bool judge_overlay(struct judge *judge, const struct disk *disk, const struct view *below)
{
    const struct job *j = judge->user;
    const struct backing backing = { below->bytes, below->size };
    struct qimg_error err;
    struct view view;
    bool fine = true;

    if (view_take(&view, disk, backing, true, &err) < 0)
        fine = judge_wrong(judge, "the overlay does not open: %.200s", err.text);
    else if (view.size != j->top.size || memcmp(view.bytes, j->top.bytes, view.size) != 0)
        fine = judge_wrong(judge, "the overlay reads differently");
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

static struct judge judge_for(struct breakable *b)
{
    return (struct judge){ .sound = sound, .content = content, .user = b };
}

int main(void)
{
    static const struct break_ops ops = {
        .barrier = "behind the base",
        .cases = ARRAY_COUNT(pairs),
        .states_floor = STATES_FLOOR,
        .faults_floor = FAULTS_FLOOR,
        .open = job_open,
        .close = job_close,
        .run = commit,
        .judge = judge_for,
    };

    return break_off(&ops);
}

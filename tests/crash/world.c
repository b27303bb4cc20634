/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "job_rig.h"
#include "look.h"
#include "qimg/write.h"

#define SECTOR    512u
#define V3(r)     3, (r)
#define V2        2, 16
#define NO_OPTION NULL, NULL

const struct world_layout world_layouts[] = {
    { "512", 9, V3(16), 70, 0, NO_OPTION, false },
    { "512-r1-backing", 9, V3(1), 66, 0, NO_OPTION, true },
    { "512-r64-backing", 9, V3(64), 70, 0, NO_OPTION, true },
    { "512-v2-backing", 9, V2, 66, 0, NO_OPTION, true },
    { "1k-r2-backing", 10, V3(2), 40, 512, NO_OPTION, true },
    { "4k", 12, V3(16), 14, 512, NO_OPTION, false },
    { "4k-backing", 12, V3(16), 14, 1536, NO_OPTION, true },
    { "4k-r4-backing", 12, V3(4), 12, 0, NO_OPTION, true },
    { "4k-v2", 12, V2, 12, 0, NO_OPTION, false },
    { "4k-v2-backing", 12, V2, 12, 512, NO_OPTION, true },
    { "4k-lazy", 12, V3(16), 12, 0, "lazy_refcounts", "on", true },
    { "4k-zstd", 12, V3(8), 12, 0, "compression_type", "zstd", true },
    { "4k-data", 12, V3(16), 12, 512, "data_file", "data", false },
    { "4k-data-backing", 12, V3(16), 12, 512, "data_file", "data", true },
    { "16k-subclusters-backing", 14, V3(16), 7, 512, "extended_l2", "on", true },
    { "16k-subclusters", 14, V3(32), 7, 0, "extended_l2", "on", false },
    { "64k-backing", 16, V3(16), 5, 512, NO_OPTION, true },
    { "64k-subclusters-backing", 16, V3(16), 5, 0, "extended_l2", "on", true },
};
const size_t world_layout_count = ARRAY_COUNT(world_layouts);

const struct world_layout *world_layout_of(const char *name)
{
    for (size_t i = 0; i < world_layout_count; i++)
        if (strcmp(world_layouts[i].name, name) == 0)
            return &world_layouts[i];
    return NULL;
}

bool world_wrong(struct world *w, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(w->wrong, sizeof(w->wrong), fmt, args);
    va_end(args);
    return false;
}

/* --- versions ----------------------------------------------------------------------------------
 */

struct truth *world_now(struct world *w)
{
    return &w->truths[w->truth_count - 1];
}

struct truth *world_next_truth(struct world *w)
{
    if (w->truth_count == WORLD_VERSIONS)
        abort();
    w->truths[w->truth_count] = truth_copy(world_now(w));
    return &w->truths[w->truth_count++];
}

void world_forget_next(struct world *w)
{
    truth_release(&w->truths[--w->truth_count]);
}

static void forget_old(struct world *w)
{
    const struct truth now = *world_now(w);

    while (w->truth_count > 1)
        truth_release(&w->truths[--w->truth_count - 1]);
    w->truths[0] = now;
}

/* --- preparing ---------------------------------------------------------------------------------
 */

static void create(struct world *w, const char *name, const struct qimg_create_options *how)
{
    struct qimg_error err;

    must(qimg_create(w->context, name, how, &err), &err);
}

static void create_below(struct world *w, uint64_t size)
{
    const uint64_t root_size = align_up(3 * size, SECTOR); /* longer than any image will be */
    struct qimg_create_options raw = { .format = "raw", .has_size = true, .size = root_size };
    const struct qimg_option cluster = { "cluster_size", "4k" };
    uint8_t sector[SECTOR];
    struct qimg_error err;

    create(w, "root", &raw);
    struct qimg_image *root = rig_open(w->context, "root", "raw", true);
    for (uint64_t s = 0; s < root_size / SECTOR; s++) {
        look_root(s, sector);
        must(qimg_image_write(root, s * SECTOR, sector, SECTOR, &err), &err);
    }
    rig_finish(root);
    raw.size = align_up(size * 3 / 4, SECTOR);
    create(w, "other", &raw);
    struct qimg_image *other = rig_open(w->context, "other", "raw", true);
    rig_put(other, 0, raw.size / 2 / SECTOR * SECTOR, 0xc1);
    rig_finish(other);
    create(w, "base",
           &(struct qimg_create_options){ .format = "qcow2",
                                          .backing_name = "root",
                                          .backing_format = "raw",
                                          .has_size = true,
                                          .size = align_up(size * 7 / 8, SECTOR),
                                          .options = &cluster,
                                          .option_count = 1 });
    struct qimg_image *base = rig_open(w->context, "base", "qcow2", true);
    rig_put(base, SECTOR, min_u64(size / 3, 6000) / SECTOR * SECTOR, 0xb1);
    rig_finish(base);
}

static void create_disk(struct world *w, uint64_t size)
{
    const struct world_layout *l = w->layout;
    char cluster[16], counts[16];
    const struct qimg_option options[] = { { "cluster_size", cluster },
                                           { "compat", l->version == 2 ? "v2" : "v3" },
                                           { "refcount_bits", counts },
                                           { l->option, l->value } };

    (void)snprintf(cluster, sizeof(cluster), "%u", 1u << l->cluster_bits);
    (void)snprintf(counts, sizeof(counts), "%u", l->refcount_bits);
    create(w, "disk",
           &(struct qimg_create_options){ .format = "qcow2",
                                          .backing_name = l->backing ? "base" : NULL,
                                          .backing_format = l->backing ? "qcow2" : NULL,
                                          .has_size = true,
                                          .size = size,
                                          .options = options,
                                          .option_count = l->option ? 4 : 3 });
}

/* What is there becomes the model; of images that were just made nothing can be wrong. */
static void learn_all(struct world *w)
{
    static const struct truth nothing;
    struct qimg_error err;

    disk_load(&w->start, w->context->engine);
    must(look(&w->truths[0], &w->start, &nothing, true, &err), &err);
    w->truth_count = 1;
}

static void begin_stretch(struct world *w)
{
    w->guests = w->commits = false;
    for (size_t i = 0; i < w->tape.versions.count; i++) {
        free(w->tape.versions.items[i].bytes);
        free(w->tape.versions.items[i].text);
    }
    w->tape.versions.count = 0;
    tape_mark(&w->tape, NULL, 0, "", true);
    tape_record(&w->tape, w->context->engine);
}

static struct io_engine *new_engine(uint64_t seed)
{
    const struct io_sim_options options = { .seed = seed, .no_log = true };
    struct io_engine *engine;

    if (io_sim_new(&options, NULL, &engine) < 0)
        abort();
    return engine;
}

void world_open(struct world *w, const struct world_layout *layout, uint64_t seed)
{
    const uint64_t size = ((uint64_t)layout->clusters << layout->cluster_bits) + layout->more;

    *w = (struct world){ .layout = layout, .seed = seed };
    w->context = context_on(new_engine(seed));
    create_below(w, size);
    create_disk(w, size);
    settle(&w->context);
    learn_all(w);
    begin_stretch(w);
}

void world_close(struct world *w)
{
    io_sim_watch(w->context->engine, NULL, NULL);
    if (w->image)
        qimg_image_close(w->image);
    while (w->truth_count > 0)
        truth_release(&w->truths[--w->truth_count]);
    tape_release(&w->tape);
    disk_release(&w->start);
    qimg_context_free(w->context);
    *w = (struct world){ 0 };
}

void world_clone(struct world *to, struct world *from)
{
    *to = *from;
    to->context = context_on(after_cut(from->context->engine, IO_SIM_ALL, from->seed));
    to->truths[0] = truth_copy(world_now(from));
    to->truth_count = 1;
    to->tape = (struct tape){ 0 };
    disk_load(&to->start, to->context->engine);
    begin_stretch(to);
}

/* --- judging -----------------------------------------------------------------------------------
 */

static bool sound(struct judge *judge, const struct disk *disk)
{
    const struct world *w = judge->user;

    return look_sound(disk, false, true, judge->text) &&
           (!w->commits || look_sound(disk, true, true, judge->text));
}

static bool content(struct judge *judge, const struct disk *disk, const struct tape *tape,
                    struct span span)
{
    struct world *w = judge->user;
    struct qimg_error err;
    struct truth seen;
    bool fine;

    (void)tape;
    if (look(&seen, disk, world_now(w), w->commits, &err) < 0) {
        (void)snprintf(judge->text, sizeof(judge->text), "does not open: %.250s", err.text);
        fine = false;
    } else {
        fine = truth_left(&seen, &w->truths[span.first], span.last - span.first + 1,
                          !w->guests && !w->commits, judge->text);
    }
    truth_release(&seen);
    return fine;
}

static struct judge judge_of(struct world *w)
{
    static_assert(sizeof(((struct judge *)0)->text) >= TRUTH_WHY, "room for a sentence");
    return (struct judge){ .sound = sound, .content = content, .user = w };
}

static bool search(struct world *w)
{
    struct judge judge = judge_of(w);
    struct states_result result;

    for (size_t i = 0; i < w->tape.events.count; i++)
        disk_reserve(&w->start, &w->tape.events.items[i].change);
    if (!w->how)
        return true;
    states_of(&w->tape, &w->start, &judge, w->how, &result);
    w->totals->tried += result.tried;
    w->totals->distinct += result.distinct;
    return result.wrong == 0 || world_wrong(w, "a crash: %s", result.first);
}

static bool judge_now(struct world *w)
{
    struct qimg_error err;
    struct truth seen;
    struct disk disk;
    char why[TRUTH_WHY];

    disk_load(&disk, w->context->engine);
    bool fine =
        look_sound(&disk, false, w->crashed, why) && look_sound(&disk, true, w->crashed, why);
    if (look(&seen, &disk, world_now(w), true, &err) < 0) {
        (void)snprintf(why, sizeof(why), "%.250s", err.text);
        fine = false;
    }
    fine = fine && truth_equals(&seen, world_now(w), why);
    if (fine)
        truth_learn(world_now(w), &seen);
    truth_release(&seen);
    disk_release(&disk);
    return fine || world_wrong(w, "%s", why);
}

/* --- stretches ---------------------------------------------------------------------------------
 */

static bool end_session(struct world *w)
{
    struct qimg_error err;

    if (!w->image)
        return true;
    const int rc = qimg_image_finish(w->image, &err);
    qimg_image_close(w->image);
    w->image = NULL;
    (void)world_next_truth(w);
    tape_mark(&w->tape, NULL, 0, "", true);
    return rc == 0 || world_wrong(w, "finish: %s", err.text);
}

bool world_end_stretch(struct world *w)
{
    if (!end_session(w) || !search(w) || !judge_now(w))
        return false;
    forget_old(w);
    states_settle(&w->tape, &w->start);
    begin_stretch(w);
    return true;
}

struct qimg_image *world_image(struct world *w, bool check)
{
    const struct qimg_open_options how = { .format = "qcow2", .writable = true, .check = check };
    struct qimg_image *image;
    struct qimg_error err;

    if (qimg_image_open(w->context, "disk", &how, &image, &err) == 0)
        return image;
    (void)world_wrong(w, "does not open: %s", err.text);
    return NULL;
}

bool world_begin_session(struct world *w)
{
    if (w->image && w->truth_count < WORLD_VERSIONS - 4)
        return true;
    if (!world_end_stretch(w))
        return false;
    w->guests = true;
    w->image = world_image(w, false);
    return w->image != NULL;
}

/* --- crashes ------------------------------------------------------------------------------------
 */

static void restart(struct world *w, const struct disk *disk, uint64_t seed)
{
    struct io_engine *engine = new_engine(seed);
    uint8_t sector[SECTOR];

    for (unsigned i = 0; i < DISK_FILES; i++) {
        const struct disk_file *f = &disk->files[i];
        if (f->size && io_sim_put(engine, disk_file_names[i], f->bytes, f->size, f->size) < 0)
            abort();
    }
    const uint64_t root_size = io_sim_size(w->context->engine, "root");
    uint8_t *root = calloc(1, root_size + 1);
    for (uint64_t s = 0; root && s < root_size / SECTOR; s++) {
        look_root(s, sector);
        memcpy(root + s * SECTOR, sector, SECTOR);
    }
    if (!root || io_sim_put(engine, "root", root, root_size, root_size) < 0)
        abort();
    free(root);
    qimg_context_free(w->context);
    w->context = context_on(engine);
}

static bool adopt(struct world *w, const struct disk *disk)
{
    struct qimg_error err;
    struct truth seen;

    const int rc = look(&seen, disk, world_now(w), true, &err);
    while (w->truth_count > 0)
        truth_release(&w->truths[--w->truth_count]);
    w->truths[0] = seen;
    w->truth_count = 1;
    truth_adopt(&w->truths[0]);
    return rc == 0 || world_wrong(w, "after a crash: %s", err.text);
}

static bool crash(struct world *w, uint64_t seed)
{
    struct judge judge = judge_of(w);
    struct disk disk;

    io_sim_watch(w->context->engine, NULL, NULL);
    if (w->image)
        qimg_image_close(w->image);
    w->image = NULL;
    if (!search(w))
        return false;
    const size_t moment = states_pick(&w->tape, &w->start, seed, &disk);
    bool fine =
        sound(&judge, &disk) && content(&judge, &disk, &w->tape, tape_span(&w->tape, moment));
    if (!fine)
        (void)world_wrong(w, "the crash after event %zu: %s", moment, judge.text);
    restart(w, &disk, seed + w->seed);
    fine = fine && adopt(w, &disk);
    disk_release(&disk);
    disk_release(&w->start);
    disk_load(&w->start, w->context->engine);
    tape_release(&w->tape);
    w->crashed = true;
    w->totals->crashes++;
    begin_stretch(w);
    return fine;
}

bool world_do(struct world *w, const struct operation *op)
{
    if (op->kind == OP_CRASH)
        return crash(w, op->arg[0]);
    if (op->kind == OP_CLOSE)
        return world_end_stretch(w);
    if (operation_is_guests(op->kind))
        return world_begin_session(w) && world_guest(w, op);
    return world_end_stretch(w) && world_verb(w, op);
}

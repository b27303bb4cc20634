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

#define SECTOR 512u

bool world_wrong(struct world *w, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(w->wrong, sizeof(w->wrong), fmt, args);
    va_end(args);
    return false;
}

/* --- versions --------------------------------------------------------------------------------- */

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

/* --- life ------------------------------------------------------------------------------------- */

void world_begin_stretch(struct world *w)
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
    world_begin_stretch(to);
}

/* --- judging ---------------------------------------------------------------------------------- */

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

/* --- stretches -------------------------------------------------------------------------------- */

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
    world_begin_stretch(w);
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

static bool begin_session(struct world *w)
{
    if (w->image && w->truth_count < WORLD_VERSIONS - 4)
        return true;
    if (!world_end_stretch(w))
        return false;
    w->guests = true;
    w->image = world_image(w, false);
    return w->image != NULL;
}

/* --- crashes ---------------------------------------------------------------------------------- */

static void restart(struct world *w, const struct disk *disk, uint64_t seed)
{
    struct io_engine *engine = world_engine(seed);
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
    world_begin_stretch(w);
    return fine;
}

bool world_do(struct world *w, const struct operation *op)
{
    if (op->kind == OP_CRASH)
        return crash(w, op->arg[0]);
    if (op->kind == OP_CLOSE)
        return world_end_stretch(w);
    if (operation_is_guests(op->kind))
        return begin_session(w) && world_guest(w, op);
    return world_end_stretch(w) && world_verb(w, op);
}

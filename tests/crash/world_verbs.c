/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on the image of a world: each is run by its public call, then done to the model. What is
 * refused has changed nothing; it must be for a reason that has to do with the image, not with the
 * machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "job_rig.h"
#include "qimg/admin.h"
#include "qimg/bitmap.h"
#include "qimg/check.h"
#include "qimg/commit.h"
#include "qimg/rebase.h"
#include "world.h"

#define SECTOR 512u

/* One verb under way. */
struct act {
    struct world *world;
    const struct operation *op;
    struct truth *truth; /* what it shall lead to; begins as what is */
    struct qimg_image *image;
    struct qimg_error err;
};

/* --- snapshots -------------------------------------------------------------------------------- */

static const char *bitmap_name(unsigned which)
{
    static const char *const names[TRUTH_BITMAPS] = { "a", "b" };

    return names[which % TRUTH_BITMAPS];
}

/* Ids count on from the highest. */
static unsigned next_id(const struct truth *t)
{
    unsigned highest = 0;

    for (unsigned i = 0; i < t->snapshot_count; i++)
        highest = (unsigned)max_u64(highest, strtoul(t->snapshots[i].id, NULL, 10));
    return highest + 1;
}

static int snapshot_create(struct act *a)
{
    struct truth *t = a->truth;
    struct kept *kept = &t->snapshots[t->snapshot_count];
    char name[sizeof(kept->name)];

    if (t->snapshot_count == TRUTH_SNAPSHOTS)
        return -EBUSY;
    (void)snprintf(name, sizeof(name), "s%u", ++a->world->names);
    TRY(qimg_snapshot_create(a->image, name, NULL, &a->err));
    memcpy(kept->name, name, sizeof(name));
    (void)snprintf(kept->id, sizeof(kept->id), "%u", next_id(t));
    kept->body = body_copy(&t->disk);
    t->snapshot_count++;
    return 0;
}

static const struct kept *which_snapshot(const struct act *a)
{
    return &a->truth->snapshots[a->op->arg[0] % a->truth->snapshot_count];
}

static int snapshot_apply(struct act *a)
{
    struct truth *t = a->truth;

    if (t->snapshot_count == 0)
        return -EBUSY;
    const struct kept *kept = which_snapshot(a);
    TRY(qimg_snapshot_apply(a->image, kept->name, NULL, &a->err));
    body_release(&t->disk);
    t->disk = body_copy(&kept->body);
    for (uint64_t s = 0; s < sectors_in(t->disk.size); s++)
        if (!t->disk.own[s])
            truth_read_below(t, t->backing, s, t->disk.bytes + s * SECTOR);
    return 0;
}

static int snapshot_delete(struct act *a)
{
    if (a->truth->snapshot_count == 0)
        return -EBUSY;
    const struct kept *kept = which_snapshot(a);
    TRY(qimg_snapshot_delete(a->image, kept->name, NULL, &a->err));
    truth_drop_snapshot(a->truth, (unsigned)(kept - a->truth->snapshots));
    return 0;
}

/* --- bitmaps ---------------------------------------------------------------------------------- */

/* Whatever has been written through the image may be recorded now. */
static void may_record_all(struct truth *t)
{
    for (unsigned i = 0; i < t->bitmap_count; i++)
        if (t->bitmaps[i].enabled)
            memset(t->bitmaps[i].may, 1, sectors_in(t->disk.size));
}

static void resize_marks(struct truth *t, uint64_t old_sectors)
{
    const uint64_t sectors = sectors_in(t->disk.size);

    for (unsigned i = 0; i < t->bitmap_count; i++) {
        struct marks *m = &t->bitmaps[i];
        m->must = realloc(m->must, sectors + 1);
        m->may = realloc(m->may, sectors + 1);
        if (!m->must || !m->may)
            abort();
        for (uint64_t s = old_sectors; s < sectors; s++) {
            m->must[s] = 0;
            m->may[s] = 1;
        }
    }
}

static int change_bitmap(struct act *a, enum qimg_bitmap_verb verb, struct marks **out)
{
    const char *name = bitmap_name(a->op->arg[0]);
    const struct qimg_bitmap_action action = {
        .verb = verb,
        .name = name,
        .granularity = *name == 'a' ? 512 : 4096,
        .source = bitmap_name(a->op->arg[0] + 1),
    };

    *out = NULL;
    for (unsigned i = 0; i < a->truth->bitmap_count; i++)
        if (strcmp(a->truth->bitmaps[i].name, name) == 0)
            *out = &a->truth->bitmaps[i];
    return qimg_image_change_bitmaps(a->image, &action, 1, &a->err);
}

static int bitmap_add(struct act *a)
{
    const size_t room = sectors_in(a->truth->disk.size) + 1;
    struct marks *m;

    TRY(change_bitmap(a, QIMG_BITMAP_ADD, &m));
    m = &a->truth->bitmaps[a->truth->bitmap_count++];
    *m = (struct marks){ .enabled = true, .must = calloc(1, room), .may = calloc(1, room) };
    if (!m->must || !m->may)
        abort();
    memcpy(m->name, bitmap_name(a->op->arg[0]), 2);
    m->granularity = m->name[0] == 'a' ? 512 : 4096;
    return 0;
}

static int bitmap_remove(struct act *a)
{
    struct marks *m;

    TRY(change_bitmap(a, QIMG_BITMAP_REMOVE, &m));
    truth_drop_bitmap(a->truth, (unsigned)(m - a->truth->bitmaps));
    return 0;
}

static int bitmap_clear(struct act *a)
{
    struct marks *m;

    TRY(change_bitmap(a, QIMG_BITMAP_CLEAR, &m));
    memset(m->must, 0, sectors_in(a->truth->disk.size));
    memset(m->may, 0, sectors_in(a->truth->disk.size));
    return 0;
}

static int bitmap_able(struct act *a)
{
    const bool enable = a->op->kind == OP_BM_ENABLE;
    struct marks *m;

    TRY(change_bitmap(a, enable ? QIMG_BITMAP_ENABLE : QIMG_BITMAP_DISABLE, &m));
    m->enabled = enable;
    return 0;
}

static int bitmap_merge(struct act *a)
{
    struct marks *to;

    TRY(change_bitmap(a, QIMG_BITMAP_MERGE, &to));
    const struct marks *from = &a->truth->bitmaps[to == a->truth->bitmaps];
    for (uint64_t s = 0; s < sectors_in(a->truth->disk.size); s++) {
        to->must[s] |= from->must[s];
        for (uint64_t k = s / 8 * 8;
             from->may[s] && k < sectors_in(a->truth->disk.size) && k < s / 8 * 8 + 8; k++)
            to->may[k] = 1; /* in the coarser of both */
    }
    return 0;
}

/* --- size and features ------------------------------------------------------------------------ */

static int resize(struct act *a)
{
    struct truth *t = a->truth;
    const uint64_t most =
        2 * ((uint64_t)a->world->layout->clusters << a->world->layout->cluster_bits);
    const uint64_t size = (1 + a->op->arg[0] % (most / SECTOR)) * SECTOR, old = t->disk.size;
    const struct qimg_resize_options how = {
        .size = size,
        .shrink = true,
        .preallocation =
            a->op->arg[1] % 3 == 1 && size > old ? QIMG_PREALLOC_METADATA : QIMG_PREALLOC_OFF,
    };

    TRY(qimg_image_resize(a->image, &how, &a->err));
    body_resize(&t->disk, size);
    resize_marks(t, sectors_in(old));
    return 0;
}

static int amend(struct act *a)
{
    static const struct qimg_option ways[] = {
        { "compat", "v3" },          { "compat", "v2" },        { "lazy_refcounts", "on" },
        { "lazy_refcounts", "off" }, { "refcount_bits", "16" }, { "refcount_bits", "64" },
        { "refcount_bits", "4" },    { "refcount_bits", "1" },
    };
    const struct qimg_option *way = &ways[a->op->arg[0] % ARRAY_COUNT(ways)];
    const struct qimg_amend_options how = { .options = way, .option_count = 1 };
    struct truth *t = a->truth;

    TRY(qimg_image_amend(a->image, &how, &a->err));
    if (way->key[0] == 'c') {
        t->version = way->value[1] == '2' ? 2 : 3;
        t->lazy = t->lazy && t->version == 3;
        while (t->version == 2 && t->bitmap_count > 0)
            truth_drop_bitmap(t, 0); /* version 2 has none; QEMU drops them, too */
    } else if (way->key[0] == 'l') {
        t->lazy = strcmp(way->value, "on") == 0;
    } else {
        t->refcount_bits = (unsigned)strtoul(way->value, NULL, 10);
    }
    may_record_all(t);
    return 0;
}

/* --- chains ----------------------------------------------------------------------------------- */

static const char *format_below(enum below below)
{
    static const char *const formats[] = { "qcow2", "raw", NULL };

    return formats[below];
}

static const char *name_below(enum below below)
{
    return below == BELOW_NONE ? NULL : below_names[below];
}

static int rebase(struct act *a)
{
    const enum below onto = (enum below)(a->op->arg[0] % (BELOW_COUNT + 1));
    const struct qimg_rebase_options how = { .backing_name = name_below(onto),
                                             .backing_format = format_below(onto) };
    struct qimg_pull_result done;

    TRY(qimg_rebase(a->image, &how, &done, &a->err));
    a->truth->backing = onto;
    may_record_all(a->truth);
    return 0;
}

static int rebase_unsafe(struct act *a)
{
    const enum below onto = (enum below)(a->op->arg[0] % (BELOW_COUNT + 1));
    struct truth *t = a->truth;

    TRY(qimg_image_set_backing(a->image, name_below(onto), format_below(onto), &a->err));
    t->backing = onto;
    for (uint64_t s = 0; s < sectors_in(t->disk.size); s++)
        if (!t->disk.own[s])
            truth_read_below(t, onto, s, t->disk.bytes + s * SECTOR);
    return 0;
}

static int stream(struct act *a)
{
    const struct qimg_stream_options how = { .base = NULL };
    struct qimg_pull_result done;

    TRY(qimg_stream(a->image, &how, &done, &a->err));
    a->truth->backing = BELOW_NONE;
    may_record_all(a->truth);
    return 0;
}

/* Opens the chain itself. */
static int commit(struct act *a)
{
    const struct qimg_commit_options how = { .name = "disk", .open.format = "qcow2" };
    struct qimg_commit_result done;
    struct truth *t = a->truth;

    qimg_image_close(a->image);
    a->image = NULL;
    TRY(qimg_commit(a->world->context, &how, &done, &a->err));
    struct body *into = &t->below[t->backing];
    body_resize(into, max_u64(into->size, t->disk.size));
    memcpy(into->bytes, t->disk.bytes, t->disk.size);
    may_record_all(t);
    return 0;
}

/* --- repair ----------------------------------------------------------------------------------- */

static int repair_image(struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_check_options how = { .fix = QIMG_CHECK_FIX_ALL };
    struct qimg_check_result found;

    TRY(qimg_image_check(image, &how, &found, err));
    if (found.corruptions || found.check_errors || found.leaks > found.leaks_fixed)
        return qimg_fail(err, EIO, "repair finds %llu corruptions, %llu errors",
                         (unsigned long long)found.corruptions,
                         (unsigned long long)found.check_errors);
    return 0;
}

/* The base of a commit that was broken off may have leaks, too. */
static int repair(struct act *a)
{
    const struct qimg_open_options how = { .format = "qcow2", .writable = true, .check = true };
    struct qimg_image *base;

    TRY(repair_image(a->image, &a->err));
    qimg_image_close(a->image); /* it has a lock on its base */
    a->image = NULL;
    TRY(qimg_image_open(a->world->context, "base", &how, &base, &a->err));
    const int rc = repair_image(base, &a->err);
    qimg_image_close(base);
    return rc;
}

/* --- one verb --------------------------------------------------------------------------------- */

/* Has to do with the image. */
static bool may_refuse(int rc)
{
    static const int reasons[] = { ENOTSUP, EINVAL, EBUSY, ENOENT, EEXIST, EFBIG };

    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++)
        if (rc == -reasons[i])
            return true;
    return false;
}

static int run(struct act *a)
{
    static int (*const verbs[OP_COUNT])(struct act *) = {
        [OP_SNAP_C] = snapshot_create,  [OP_SNAP_A] = snapshot_apply, [OP_SNAP_D] = snapshot_delete,
        [OP_RESIZE] = resize,           [OP_REBASE] = rebase,         [OP_REBASE_U] = rebase_unsafe,
        [OP_STREAM] = stream,           [OP_COMMIT] = commit,         [OP_BM_ADD] = bitmap_add,
        [OP_BM_REMOVE] = bitmap_remove, [OP_BM_CLEAR] = bitmap_clear, [OP_BM_ENABLE] = bitmap_able,
        [OP_BM_DISABLE] = bitmap_able,  [OP_BM_MERGE] = bitmap_merge, [OP_AMEND] = amend,
        [OP_REPAIR] = repair,
    };
    const int rc = verbs[a->op->kind](a);

    if (a->image)
        qimg_image_close(a->image);
    return rc;
}

bool world_verb(struct world *w, const struct operation *op)
{
    struct act a = { .world = w, .op = op, .image = world_image(w, op->kind == OP_REPAIR) };

    if (!a.image)
        return false;
    w->commits = op->kind == OP_COMMIT || op->kind == OP_REPAIR;
    a.truth = world_next_truth(w);
    const int rc = run(&a);
    if (rc < 0 && !may_refuse(rc))
        return world_wrong(w, "%s fails: %s", operation_word(op->kind), a.err.text);
    (*(rc < 0 ? &w->totals->refused : &w->totals->done))[op->kind]++;
    if (rc < 0) {
        world_forget_next(w);
        return true;
    }
    tape_mark(&w->tape, NULL, 0, "", true);
    w->crashed = w->crashed && op->kind != OP_REPAIR;
    return true;
}

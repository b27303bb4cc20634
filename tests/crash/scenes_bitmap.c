/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent bitmaps: verbs on them, and guest writes that they record.
 */
#include "bitmap_request.h"
#include "bits.h"
#include "scene.h"

static bool version_3(const struct layout *l)
{
    return l->spec.version == 3;
}

static int change(struct image *image, const void *argument, struct qimg_error *err)
{
    struct bitmap_request request = { .steps = argument, .count = 1, .shown = "disk" };

    return image->ops->change_bitmaps(image, &request, err);
}

static int do_step(struct stage *s, enum bitmap_verb verb, const char *name, const char *source)
{
    const struct bitmap_step step = { .verb = verb, .name = name, .source_name = source };

    return stage_do(s, change, &step);
}

/* Two bitmaps, both with bits; "two" is disabled. */
static int two_bitmaps(struct stage *s)
{
    TRY(do_step(s, BITMAP_ADD, "one", NULL));
    TRY(do_step(s, BITMAP_ADD, "two", NULL));
    TRY(stage_begin(s));
    TRY(stage_write(s, 0, 1024, 0x21));
    TRY(stage_end(s));
    TRY(do_step(s, BITMAP_DISABLE, "two", NULL));
    TRY(stage_begin(s));
    TRY(stage_write(s, 9 * stage_cluster(s), 512, 0x22));
    return stage_end(s);
}

static int one_clean(struct stage *s)
{
    return do_step(s, BITMAP_ADD, "one", NULL);
}

static int add(struct stage *s)
{
    return do_step(s, BITMAP_ADD, "three", NULL);
}

static int remove_one(struct stage *s)
{
    return do_step(s, BITMAP_REMOVE, "one", NULL);
}

static int clear(struct stage *s)
{
    return do_step(s, BITMAP_CLEAR, "one", NULL);
}

static int enable(struct stage *s)
{
    return do_step(s, BITMAP_ENABLE, "two", NULL);
}

static int disable(struct stage *s)
{
    return do_step(s, BITMAP_DISABLE, "one", NULL);
}

static int merge(struct stage *s)
{
    return do_step(s, BITMAP_MERGE, "two", "one");
}

static int recorded(struct stage *s)
{
    const uint64_t cs = stage_cluster(s);

    TRY(stage_begin(s));
    TRY(stage_write(s, 6 * cs, 1024, 0x23));
    TRY(stage_flush(s));
    TRY(stage_zero(s, 0, cs, 0));
    TRY(stage_discard(s, 9 * cs, cs));
    return stage_end(s);
}

#define VERB .verb = true, .atomic = true, .fits = version_3, .prepare = two_bitmaps

const struct scene bitmap_scenes[] = {
    { .name = "bitmap-first", .verb = true, .atomic = true, .fits = version_3, .run = add },
    { .name = "bitmap-add", VERB, .run = add },
    { .name = "bitmap-remove", VERB, .run = remove_one },
    { .name = "bitmap-clear", VERB, .run = clear },
    { .name = "bitmap-enable", VERB, .run = enable },
    { .name = "bitmap-disable", VERB, .run = disable },
    { .name = "bitmap-merge", VERB, .run = merge },
    { .name = "bitmap-write", .fits = version_3, .prepare = one_clean, .run = recorded },
};
const size_t bitmap_scene_count = ARRAY_COUNT(bitmap_scenes);

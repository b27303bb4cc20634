/* SPDX-License-Identifier: Apache-2.0 */
#include "scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "qcow2.h"
#include "qcow2_walk.h"

#define V2(bits)            .version = 2, .cluster_size = 1u << (bits), .refcount_bits = 16
#define V3(bits, refcounts) .version = 3, .cluster_size = 1u << (bits), .refcount_bits = (refcounts)

const struct layout layouts[] = {
    { "64k", 16 * 65536 + 512, { V3(16, 16) }, .backing = false },
    { "64k-r64-backing", 16 * 65536, { V3(16, 64) }, .backing = true },
    { "64k-subclusters", 14 * 65536, { V3(16, 16), .extended_l2 = true }, .backing = false },
    { "16k-subclusters-backing",
      20 * 16384 + 512,
      { V3(14, 16), .extended_l2 = true },
      .backing = true },
    { "4k", 50 * 4096, { V3(12, 16) }, .backing = false },
    { "4k-backing", 50 * 4096 - 512, { V3(12, 16) }, .backing = true },
    { "4k-v2", 50 * 4096, { V2(12) }, .backing = false },
    { "4k-v2-backing", 50 * 4096, { V2(12) }, .backing = true },
    { "4k-r1", 50 * 4096, { V3(12, 1) }, .backing = false },
    { "4k-lazy", 50 * 4096, { V3(12, 16), .lazy_refcounts = true }, .backing = false },
    { "4k-zstd", 50 * 4096, { V3(12, 8), .compression = CODEC_ZSTD }, .backing = false },
    { "4k-data", 50 * 4096, { V3(12, 16), .data_file_name = "data" }, .backing = false },
    { "4k-data-odd", 50 * 4096 - 512, { V3(12, 16), .data_file_name = "data" }, .backing = false },
    { "512", 200 * 512, { V3(9, 16) }, .backing = false },
    { "512-r1-backing", 200 * 512, { V3(9, 1) }, .backing = true },
    { "512-r64-backing", 200 * 512, { V3(9, 64) }, .backing = true },
};
const size_t layout_count = ARRAY_COUNT(layouts);

static uint8_t backing_bytes[16 * 65536];

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "scene: %s: %s\n", what, strerror(-rc));
    abort();
}

const struct scene *scene_at(size_t index)
{
    const struct {
        const struct scene *scenes;
        size_t count;
    } lists[] = { { write_scenes, write_scene_count },
                  { bitmap_scenes, bitmap_scene_count },
                  { verb_scenes, verb_scene_count },
                  { head_scenes, head_scene_count } };

    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        if (index < lists[i].count)
            return &lists[i].scenes[index];
        index -= lists[i].count;
    }
    return NULL;
}

/* --- the image -------------------------------------------------------------------------------- */

static void create(struct stage *s)
{
    const struct io_open_options how = { .writable = true, .create = true };
    struct create_spec spec = s->layout->spec;
    struct io_file *file, *data = NULL;
    struct qimg_error err;

    spec.size = s->layout->size;
    if (s->layout->backing) {
        spec.backing_name = "base";
        spec.backing_format = "raw";
    }
    must(io_file_open(s->engine, "disk", &how, &file), "create");
    if (spec.data_file_name)
        must(io_file_open(s->engine, "data", &how, &data), "create");
    must(qcow2_create(file, data, &spec, &err), s->layout->name);
    must(io_sync(file), "sync");
    io_file_close(file);
    io_file_close(data);
}

/* Clusters 0, 1 data; 2, 3 packed; 4 zeros; 5 zeros with a place; 6, 7 nothing; 8 written in part;
 * 9, 10 data; the last one data; all others nothing. */
static int fill(struct stage *s)
{
    const uint64_t cs = stage_cluster(s), size = s->layout->size;
    const uint64_t part = min_u64(cs, 1024);

    TRY(stage_write(s, 0, 2 * cs, 0x11));
    if (s->guest.image->packs) {
        TRY(stage_packed(s, 2 * cs, 0x12));
        TRY(stage_packed(s, 3 * cs, 0x13));
    }
    TRY(stage_write(s, 5 * cs, cs, 0x15));
    TRY(stage_zero(s, 4 * cs, 2 * cs, 0));
    TRY(stage_write(s, 8 * cs, part, 0x18));
    TRY(stage_write(s, 9 * cs, 2 * cs, 0x19));
    return stage_write(s, size - 512, 512, 0x1f);
}

/* Everything so far is durable, names too. */
static void settle(struct stage *s)
{
    struct io_engine *after;

    must(io_sim_power_cut(s->engine, &(struct io_sim_cut){ .survivors = IO_SIM_ALL }, &after),
         "settle");
    io_engine_free(s->engine);
    s->engine = after;
}

void stage_open(struct stage *s, const struct scene *scene, const struct layout *layout,
                uint64_t seed)
{
    const struct io_sim_options options = { .seed = seed };

    *s = (struct stage){ .layout = layout, .seed = seed, .verb = scene->verb };
    for (size_t i = 0; i < sizeof(backing_bytes); i++)
        backing_bytes[i] = (uint8_t)(0xb0 + i / 512 % 13);
    if (layout->backing)
        s->backing = (struct backing){ backing_bytes, layout->size * 3 / 4 };
    must(io_sim_new(&options, NULL, &s->engine), "engine");
    create(s);
    must(stage_begin(s), "open");
    must(fill(s), "fill");
    must(stage_end(s), "close");
    if (scene->prepare)
        must(scene->prepare(s), scene->name);
    settle(s);
}

void stage_record(struct stage *s)
{
    struct qimg_error err;
    struct view view;

    if (view_engine(&view, s->engine, s->backing, s->verb, &err) < 0) {
        fprintf(stderr, "scene: %s\n", err.text);
        abort();
    }
    s->text = str_take(&view.text);
    tape_mark(&s->tape, view.bytes, view.size, s->text, true);
    view_release(&view);
    s->recording = true;
    tape_record(&s->tape, s->engine);
}

void stage_close(struct stage *s)
{
    if (s->guest.image)
        guest_drop(&s->guest);
    tape_release(&s->tape);
    io_engine_free(s->engine);
    free(s->text);
    *s = (struct stage){ 0 };
}

/* --- steps ------------------------------------------------------------------------------------ */

uint64_t stage_cluster(const struct stage *s)
{
    return s->layout->spec.cluster_size;
}

static void mark(struct stage *s, const uint8_t *bytes, bool durable)
{
    if (s->recording)
        tape_mark(&s->tape, bytes, s->guest.image->size, s->text, durable);
}

/* After a failure the guest may go on; whatever comes of that, the image stays sound. */
static void go_on(struct stage *s)
{
    struct guest *g = &s->guest;

    (void)!guest_write(g, (struct qimg_range){ 0, 512 }, 0x77);
    mark(s, g->attempt, false);
    mark(s, g->model, false);
    (void)!guest_flush(g);
    (void)!guest_close(g);
}

static int step(struct stage *s, int rc, bool durable)
{
    struct guest *g = &s->guest;

    if (rc >= 0) {
        mark(s, g->model, durable);
        return 0;
    }
    s->err = g->err;
    mark(s, g->attempt, false);
    mark(s, g->model, false);
    if (s->persist)
        go_on(s);
    else
        guest_drop(g);
    return rc;
}

int stage_begin(struct stage *s)
{
    const int rc = guest_open(&s->guest, s->engine, s->backing.bytes, s->backing.len);

    if (rc < 0)
        s->err = s->guest.err;
    return rc;
}

int stage_end(struct stage *s)
{
    struct guest *g = &s->guest;
    const int rc = g->image->ops->write->end(g->image, &g->err);

    mark(s, g->model, rc == 0);
    s->err = g->err;
    guest_drop(g);
    return rc;
}

int stage_write(struct stage *s, uint64_t off, uint64_t len, uint8_t fill_byte)
{
    qimg_error_clear(&s->guest.err);
    return step(s, guest_write(&s->guest, (struct qimg_range){ off, len }, fill_byte), false);
}

int stage_packed(struct stage *s, uint64_t off, uint8_t fill_byte)
{
    qimg_error_clear(&s->guest.err);
    const int rc = guest_write_packed(&s->guest, off, fill_byte);
    return step(s, rc == -ENOSPC && stage_cluster(s) == 512 ? 0 : rc, false);
}

int stage_zero(struct stage *s, uint64_t off, uint64_t len, unsigned flags)
{
    qimg_error_clear(&s->guest.err);
    return step(s, guest_zero(&s->guest, (struct qimg_range){ off, len }, flags), false);
}

int stage_discard(struct stage *s, uint64_t off, uint64_t len)
{
    qimg_error_clear(&s->guest.err);
    const int rc = guest_discard(&s->guest, (struct qimg_range){ off, len });
    if (rc < 0) { /* what it got done reads as zeros, or as the backing file */
        uint8_t *attempt = s->guest.attempt;
        const uint64_t below = min_u64(s->backing.len, off + len);
        memset(attempt + off, 0, len);
        mark(s, attempt, false);
        if (below > off)
            memcpy(attempt + off, s->backing.bytes + off, below - off);
    }
    return step(s, rc, false);
}

int stage_flush(struct stage *s)
{
    qimg_error_clear(&s->guest.err);
    return step(s, guest_flush(&s->guest), true);
}

int stage_walk(struct stage *s, unsigned steps)
{
    uint64_t state = s->seed;

    for (unsigned i = 0; i < steps; i++) {
        bool flushed;
        qimg_error_clear(&s->guest.err);
        const int rc = walk_step(&s->guest, &state, &flushed);
        TRY(step(s, rc, flushed));
    }
    return 0;
}

/* --- verbs ------------------------------------------------------------------------------------ */

static int open_image(struct stage *s, struct image **out)
{
    const struct io_open_options how = { .writable = true };
    const struct image_open_options as = { .writable = true };
    struct io_file *file;

    must(io_file_open(s->engine, "disk", &how, &file), "open");
    const int rc = qcow2_ops.open(file, &as, out, &s->err);
    if (rc < 0) {
        io_file_close(file);
        return rc;
    }
    if ((*out)->needs_data_file)
        must(io_file_open(s->engine, "data", &how, &(*out)->data_file), "open");
    return 0;
}

int stage_do(struct stage *s, stage_verb verb, const void *argument)
{
    struct image *image;
    struct view view;
    struct qimg_error err;

    qimg_error_clear(&s->err);
    TRY(open_image(s, &image));
    const int rc = verb(image, argument, &s->err);
    image_close(image);
    if (rc < 0 || !s->recording)
        return rc;
    if (view_engine(&view, s->engine, s->backing, s->verb, &err) < 0) {
        s->err = err;
        return -err.code;
    }
    tape_mark(&s->tape, view.bytes, view.size, view.text.text, true);
    view_release(&view);
    return 0;
}

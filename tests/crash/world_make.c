/* SPDX-License-Identifier: Apache-2.0
 *
 * The layouts of worlds, and their images as they are at first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "job_rig.h"
#include "look.h"
#include "qimg/write.h"
#include "world.h"

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

/* --- preparing -------------------------------------------------------------------------------- */

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

struct io_engine *world_engine(uint64_t seed)
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
    w->context = context_on(world_engine(seed));
    create_below(w, size);
    create_disk(w, size);
    settle(&w->context);
    learn_all(w);
    world_begin_stretch(w);
}

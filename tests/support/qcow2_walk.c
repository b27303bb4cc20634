/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "qcow2.h"

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "walk: %s: %s\n", what, strerror(-rc));
    abort();
}

#define V2(bits)            .version = 2, .cluster_size = 1u << (bits), .refcount_bits = 16
#define V3(bits, refcounts) .version = 3, .cluster_size = 1u << (bits), .refcount_bits = (refcounts)

const struct walk_layout walk_layouts[WALK_LAYOUTS] = {
    { "512, 16 bits", 200 * 1024, { V3(9, 16) }, .backing = false },
    { "512, 64 bits, backing", 200 * 1024 + 512, { V3(9, 64) }, .backing = true },
    { "512, 1 bit", 100 * 1024, { V3(9, 1) }, .backing = false },
    { "1K, 2 bits, backing", 300 * 1024, { V3(10, 2) }, .backing = true },
    { "4K, 16 bits", MiB, { V3(12, 16) }, .backing = false },
    { "4K, 4 bits, backing", MiB + 1536, { V3(12, 4) }, .backing = true },
    { "4K, 8 bits", MiB - 512, { V3(12, 8) }, .backing = false },
    { "4K, v2", MiB, { V2(12) }, .backing = false },
    { "4K, v2, backing", MiB - 1024, { V2(12) }, .backing = true },
    { "512, v2", 150 * 1024, { V2(9) }, .backing = false },
    { "64K, 16 bits, backing", 3 * MiB, { V3(16, 16) }, .backing = true },
    { "64K, 32 bits", 3 * MiB + 4096, { V3(16, 32) }, .backing = false },
    { "64K, zstd", 2 * MiB, { V3(16, 16), .compression = CODEC_ZSTD }, .backing = false },
    { "64K, subclusters", 2 * MiB, { V3(16, 16), .extended_l2 = true }, .backing = false },
    { "16K, subclusters, backing",
      MiB + 512,
      { V3(14, 16), .extended_l2 = true },
      .backing = true },
    { "16K, subclusters, 1 bit", MiB, { V3(14, 1), .extended_l2 = true }, .backing = true },
    { "2M", 9 * MiB, { V3(21, 16) }, .backing = false, .steps = 20 },
    { "4K, data file", MiB - 512, { V3(12, 16), .data_file_name = "data" }, .backing = false },
    { "4K, data file, backing", MiB, { V3(12, 16), .data_file_name = "data" }, .backing = true },
    { "16K, data file, subclusters",
      MiB,
      { V3(14, 16), .data_file_name = "data", .extended_l2 = true },
      .backing = true },
    { "4K, raw data file",
      MiB,
      { V3(12, 16), .data_file_name = "data", .data_file_raw = true },
      .backing = false },
    { "4K, preallocated",
      MiB,
      { V3(12, 16), .preallocation = PREALLOC_METADATA },
      .backing = false },
};

static uint8_t backing_bytes[2 * MiB];

struct io_engine *walk_fresh(const struct walk_layout *l, uint64_t seed)
{
    const struct io_sim_options options = { .seed = seed };
    const struct io_open_options how = { .writable = true, .create = true };
    struct create_spec spec = l->spec;
    struct io_engine *engine;
    struct io_file *file, *data = NULL;
    struct qimg_error err;

    must(io_sim_new(&options, NULL, &engine), "engine");
    spec.size = l->size;
    if (l->backing) {
        spec.backing_name = "base";
        spec.backing_format = "raw";
    }
    must(io_file_open(engine, "disk", &how, &file), "open");
    if (spec.data_file_name)
        must(io_file_open(engine, "data", &how, &data), "open");
    must(qcow2_create(file, data, &spec, &err), l->title);
    must(io_sync(file), "sync");
    io_file_close(file);
    io_file_close(data);
    must(io_sync_directory(engine, "disk"), "directory");
    must(io_sync_directory(engine, "data"), "directory");
    return engine;
}

const uint8_t *walk_backing(const struct walk_layout *l, uint64_t *len)
{
    for (size_t i = 0; i < sizeof(backing_bytes); i++)
        backing_bytes[i] = (uint8_t)(0xb0 + i / 512 % 13);
    *len = l->backing ? min_u64(l->size * 3 / 4, sizeof(backing_bytes)) : 0;
    return l->backing ? backing_bytes : NULL;
}

int walk_open(struct guest *g, const struct walk_layout *l, struct io_engine *engine)
{
    uint64_t len;
    const uint8_t *backing = walk_backing(l, &len);

    return guest_open(g, engine, backing, len);
}

/* QIMG_TEST_SEED walks elsewhere. */
uint64_t walk_seed(void)
{
    const char *seed = getenv("QIMG_TEST_SEED");

    return 5 + (seed ? strtoull(seed, NULL, 10) * 1000 : 0);
}

uint64_t walk_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* A sector-aligned range, most often small. */
static struct qimg_range some_range(const struct guest *g, uint64_t *state)
{
    const uint64_t sectors = g->image->size / 512;
    const uint64_t cluster = g->image->cluster_size / 512;
    const uint64_t longest[] = { 1, 8, cluster, 3 * cluster, 9 * cluster, 60 * cluster };
    uint64_t off = walk_random(state) % sectors;

    if (walk_random(state) % 3 == 0)
        off = align_down(off, cluster);
    const uint64_t most = longest[walk_random(state) % 6]; /* before len: one order everywhere */
    uint64_t len = 1 + walk_random(state) % most;
    if (walk_random(state) % 4 == 0)
        len = min_u64(cluster, sectors);
    return (struct qimg_range){ off * 512, min_u64(len, sectors - off) * 512 };
}

int walk_step(struct guest *g, uint64_t *state, bool *flushed)
{
    const struct qimg_range range = some_range(g, state);
    const uint8_t fill = (uint8_t)(1 + walk_random(state) % 0xa0);

    *flushed = false;
    switch (walk_random(state) % 12) {
    case 0:
    case 1:
        return guest_zero(g, range, 0);
    case 2:
        return guest_zero(g, range, WRITE_MAY_UNMAP);
    case 3:
    case 4:
        return guest_discard(g, range);
    case 5:
    case 6: {
        const int rc =
            g->image->packs
                ? guest_write_packed(g, align_down(range.off, g->image->cluster_size), fill)
                : 0;
        return rc == -EIO || rc == -ENOSPC ? 0 : rc; /* taken, or does not get smaller */
    }
    case 7:
        *flushed = true;
        return guest_flush(g);
    default:
        return guest_write(g, range, fill);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "map.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "build_qcow2.h"
#include "bytes.h"
#include "qimg/write.h"
#include "scratch.h"

#define SECTOR     512u
#define LAYERS_MAX 6
#define SECTORS    2048u /* of the largest disk: 1 MiB */
#define CLUSTERS   40
#define COPIED     (UINT64_C(1) << 63)

/* What one layer says of each sector: its own byte, or nothing. */
struct model_layer {
    uint64_t sectors;
    bool has[SECTORS], zero[SECTORS];
    uint8_t fill[SECTORS];
};

struct model {
    struct model_layer layers[LAYERS_MAX];
    unsigned count;
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void model_cluster(struct model_layer *m, const struct build_cluster *c, unsigned bits)
{
    const uint64_t per = (UINT64_C(1) << bits) / SECTOR;
    for (uint64_t s = c->index * per; s < (c->index + 1) * per && s < m->sectors; s++) {
        m->has[s] = true;
        m->zero[s] = c->kind != BUILD_DATA;
        m->fill[s] = c->fill;
    }
}

/* Layer @i of a random chain, as a file and as a model. */
static void make_layer(const char *dir, unsigned i, unsigned count, struct model_layer *m,
                       uint32_t *seed)
{
    struct build_cluster clusters[CLUSTERS];
    const unsigned bits = 9 + next_random(seed) % 8;
    const bool whole = i == 0 || next_random(seed) % 3 != 0;
    m->sectors = whole ? SECTORS : 1 + next_random(seed) % SECTORS;
    const uint64_t guest_clusters = div_up(m->sectors * SECTOR, UINT64_C(1) << bits);
    const enum build_kind kinds[] = { BUILD_DATA, BUILD_DATA, BUILD_ZERO, BUILD_ZERO_ALLOC };
    for (unsigned k = 0; k < CLUSTERS; k++) {
        clusters[k] = (struct build_cluster){
            .index = next_random(seed) % guest_clusters,
            .kind = kinds[next_random(seed) % 4],
            .fill = (uint8_t)(1 + next_random(seed) % 255),
        };
        model_cluster(m, &clusters[k], bits);
    }
    const struct build_extension format = { .type = 0xe2792aca, .data = "qcow2", .len = 5 };
    char backing[32], path[256];
    snprintf(backing, sizeof(backing), "%u", i + 1);
    snprintf(path, sizeof(path), "%s/%u", dir, i);
    const struct build_qcow2 spec = { .cluster_bits = bits,
                                      .size = m->sectors * SECTOR,
                                      .backing_name = i + 1 < count ? backing : NULL,
                                      .extensions = &format,
                                      .extension_count = i + 1 < count,
                                      .clusters = clusters,
                                      .cluster_count = CLUSTERS };
    build_qcow2_file(&spec, path);
}

/* Sector @s as the chain has it: kind, layer and byte. */
static struct run model_sector(const struct model *model, uint64_t s, uint8_t *fill)
{
    *fill = 0;
    for (unsigned i = 0; i < model->count; i++) {
        const struct model_layer *m = &model->layers[i];
        if (s >= m->sectors)
            return (struct run){ .kind = RUN_UNALLOCATED, .layer = i - 1 };
        if (!m->has[s])
            continue;
        *fill = m->zero[s] ? 0 : m->fill[s];
        return (struct run){ .kind = m->zero[s] ? RUN_ZERO : RUN_DATA, .layer = i };
    }
    return (struct run){ .kind = RUN_UNALLOCATED, .layer = model->count - 1 };
}

static void check_lookups(struct qimg_image *image, const struct model *model, uint32_t seed)
{
    struct qimg_error err;
    struct run runs[7];
    for (unsigned round = 0; round < 60; round++) {
        const uint64_t off = next_random(&seed) % (SECTORS * SECTOR);
        const struct qimg_range want = { off, 1 + next_random(&seed) % (256 * KiB) };
        const int count = chain_map_lookup(image->map, want, runs, ARRAY_COUNT(runs), &err);
        cr_assert_gt(count, 0);
        uint64_t at = off;
        for (int i = 0; i < count; i++) {
            cr_assert_eq(runs[i].guest_off, at, "gap before %lu", runs[i].guest_off);
            for (uint64_t b = at; b < at + runs[i].len; b += SECTOR) {
                uint8_t fill;
                const struct run should = model_sector(model, b / SECTOR, &fill);
                cr_assert(runs[i].kind == should.kind && runs[i].layer == should.layer,
                          "offset %lu: kind %u layer %u, not kind %u layer %u", b, runs[i].kind,
                          runs[i].layer, should.kind, should.layer);
            }
            at += runs[i].len;
        }
    }
}

static void check_bytes(struct qimg_image *image, const struct model *model, uint32_t seed)
{
    static uint8_t buf[SECTORS * SECTOR];
    struct qimg_error err;
    for (unsigned round = 0; round < 30; round++) {
        const uint64_t off = next_random(&seed) % sizeof(buf);
        const size_t len =
            round == 0 ? sizeof(buf) - off : next_random(&seed) % (sizeof(buf) - off);
        memset(buf, 0xaa, sizeof(buf));
        cr_assert_eq(qimg_image_read(image, off, buf, len, &err), 0, "%s", err.text);
        for (size_t i = 0; i < len; i++) {
            uint8_t fill;
            if (i == 0 || (off + i) % SECTOR == 0)
                (void)model_sector(model, (off + i) / SECTOR, &fill);
            cr_assert_eq(buf[i], fill, "byte %lu is %u, not %u", off + i, buf[i], fill);
        }
        cr_assert_eq(buf[len], len < sizeof(buf) ? 0xaa : buf[len], "wrote past the end");
    }
}

static struct qimg_image *open_in(struct qimg_context *context, const char *dir)
{
    struct qimg_error err;
    struct qimg_image *image = NULL;
    char path[256];
    snprintf(path, sizeof(path), "%s/0", dir);
    cr_assert_eq(qimg_image_open(context, path, NULL, &image, &err), 0, "%s", err.text);
    return image;
}

static void check_chain(uint32_t seed, uint64_t budget)
{
    static struct model model;
    struct qimg_error err;
    struct qimg_stats stats;
    const struct qimg_context_options options = { .map_budget = budget };
    struct qimg_context *context = NULL;
    char *dir = scratch_new();
    memset(&model, 0, sizeof(model));
    model.count = 1 + next_random(&seed) % LAYERS_MAX;
    for (unsigned i = 0; i < model.count; i++)
        make_layer(dir, i, model.count, &model.layers[i], &seed);
    cr_assert_eq(qimg_context_new(&options, &context, &err), 0);
    struct qimg_image *image = open_in(context, dir);
    cr_assert_eq(qimg_image_depth(image), model.count);
    check_lookups(image, &model, seed);
    check_bytes(image, &model, seed);
    qimg_context_stats(context, &stats);
    cr_expect_leq(stats.map_bytes, budget, "seed %u: %lu bytes of map", seed, stats.map_bytes);
    qimg_image_close(image);
    qimg_context_stats(context, &stats);
    cr_expect_eq(stats.map_bytes, 0);
    qimg_context_free(context);
    scratch_remove(dir);
}

Test(map, random_chains_read_as_their_model_says)
{
    for (uint32_t seed = 1; seed <= 60; seed++)
        check_chain(seed, 32 * MiB);
}

Test(map, a_budget_that_holds_few_windows_changes_nothing_but_the_loads)
{
    for (uint32_t seed = 1; seed <= 25; seed++)
        check_chain(seed, 16 * KiB);
}

/* A chain of @depth images of @size bytes; layer @holder alone has one cluster, at 0. */
static void make_sparse_chain(const char *dir, unsigned depth, uint64_t size, unsigned holder)
{
    for (unsigned i = 0; i < depth; i++) {
        const struct build_extension format = { .type = 0xe2792aca, .data = "qcow2", .len = 5 };
        const struct build_cluster cluster = { .index = 0, .fill = 7 };
        const struct build_cluster other = { .index = 100, .fill = 9 };
        char backing[32], path[256];
        snprintf(backing, sizeof(backing), "%u", i + 1);
        snprintf(path, sizeof(path), "%s/%u", dir, i);
        build_qcow2_file(&(struct build_qcow2){ .size = size,
                                                .backing_name = i + 1 < depth ? backing : NULL,
                                                .extensions = &format,
                                                .extension_count = i + 1 < depth,
                                                .clusters = i == holder ? &cluster : &other,
                                                .cluster_count = 1 },
                         path);
    }
}

Test(map, a_window_that_the_top_covers_reads_no_table_below)
{
    char *dir = scratch_new();
    struct qimg_error err;
    struct qimg_context *context = NULL;
    struct qimg_stats stats;
    uint8_t byte;
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0);
    make_sparse_chain(dir, 8, 64 * KiB, 0); /* the disk is just the one cluster that the top has */
    struct qimg_image *image = open_in(context, dir);
    cr_assert_eq(qimg_image_read(image, 0, &byte, 1, &err), 0);
    cr_expect_eq(byte, 7);
    qimg_context_stats(context, &stats);
    cr_expect_eq(stats.tables_loaded, 1, "%lu tables", stats.tables_loaded);
    qimg_image_close(image);
    qimg_context_free(context);
    scratch_remove(dir);
}

Test(map, one_read_from_64_images_of_1_tib_loads_a_slice_of_each_and_stays_small)
{
    char *dir = scratch_new();
    struct qimg_error err;
    const struct qimg_context_options options = { .map_budget = MiB };
    struct qimg_context *context = NULL;
    struct qimg_stats stats;
    uint8_t buf[4096];
    cr_assert_eq(qimg_context_new(&options, &context, &err), 0);
    make_sparse_chain(dir, 64, TiB, 63);
    struct qimg_image *image = open_in(context, dir);
    cr_assert_eq(qimg_image_read(image, 4096, buf, sizeof(buf), &err), 0);
    cr_expect_eq(buf[0], 7);
    qimg_context_stats(context, &stats);
    cr_expect_eq(stats.tables_loaded, 64);
    cr_expect_eq(stats.table_bytes, 64 * 4 * KiB);
    cr_expect_leq(stats.map_bytes, 4 * KiB);
    qimg_image_close(image);
    qimg_context_free(context);
    scratch_remove(dir);
}

/* Loads of windows, for reads at the beginning, in the middle and at the end of a disk that has
 * nothing but its last cluster. */
static uint64_t count_loads(unsigned cluster_bits, uint64_t size)
{
    char *dir = scratch_new();
    char path[256];
    struct qimg_error err;
    struct qimg_context *context = NULL;
    struct qimg_stats stats;
    uint8_t byte = 1;
    const struct build_cluster last = { .index = (size >> cluster_bits) - 1, .fill = 7 };
    snprintf(path, sizeof(path), "%s/0", dir);
    build_qcow2_file(
        &(struct build_qcow2){
            .cluster_bits = cluster_bits, .size = size, .clusters = &last, .cluster_count = 1 },
        path);
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0);
    struct qimg_image *image = open_in(context, dir);
    cr_assert_eq(qimg_image_read(image, 0, &byte, 1, &err), 0);
    cr_assert_eq(qimg_image_read(image, size / 3, &byte, 1, &err), 0);
    cr_expect_eq(byte, 0);
    cr_assert_eq(qimg_image_read(image, size - 1, &byte, 1, &err), 0);
    cr_expect_eq(byte, 7);
    qimg_context_stats(context, &stats);
    qimg_image_close(image);
    qimg_context_free(context);
    scratch_remove(dir);
    return stats.map_misses;
}

Test(map, a_stretch_without_any_table_is_one_window)
{
    cr_expect_eq(count_loads(21, UINT64_C(1) << 50), 2);
    cr_expect_eq(count_loads(9, 256 * MiB), 2, "more tables than are looked for at once");
}

/* An image of 1 GiB whose L1 table links @tables L2 tables in its hole, @step bytes apart. */
static void make_linked(const char *path, int64_t first, int64_t step, uint64_t tables)
{
    uint8_t word[8];
    build_qcow2_file(&(struct build_qcow2){ .size = tables << 29 }, path);
    const int fd = open(path, O_RDWR);
    cr_assert_eq(pread(fd, word, sizeof(word), 40), 8);
    const off_t l1 = (off_t)load_be64(word);
    for (uint64_t i = 0; i < tables; i++) {
        store_be64(word, COPIED | (uint64_t)(first + step * (int64_t)i));
        cr_assert_eq(pwrite(fd, word, sizeof(word), l1 + 8 * (off_t)i), 8);
    }
    cr_assert_eq(ftruncate(fd, GiB), 0);
    close(fd);
}

/* Bytes that are read to map all but its first GiB, as one extent. */
static uint64_t bytes_to_map(const char *dir, bool writable)
{
    char path[256];
    struct qimg_error err;
    struct qimg_context *context = NULL;
    struct qimg_image *image = NULL;
    struct qimg_stats stats;
    struct qimg_extent extent;
    const struct qimg_open_options options = { .format = "qcow2", .writable = writable };
    snprintf(path, sizeof(path), "%s/0", dir);
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0);
    cr_assert_eq(qimg_image_open(context, path, &options, &image, &err), 0, "%s", err.text);
    if (writable)
        cr_assert_eq(qimg_image_write(image, 0, "x", 1, &err), 0, "%s", err.text);
    const struct qimg_range all = { GiB, qimg_image_size(image) - GiB };
    cr_assert_eq(qimg_image_map(image, all, false, &extent, 1, &err), 1, "%s", err.text);
    cr_expect_eq(extent.len, all.len);
    cr_expect_eq(extent.kind, QIMG_UNALLOCATED);
    qimg_context_stats(context, &stats);
    qimg_image_close(image);
    qimg_context_free(context);
    return stats.bytes_read + stats.table_bytes;
}

Test(map, tables_of_zeros_are_not_read_again_and_again)
{
    static const struct {
        const char *what;
        int64_t first, step;
        bool writable;
    } cases[] = {
        { "in a hole", 64 * MiB, 64 * KiB, false },
        { "in a hole, backwards", 900 * MiB, -(int64_t)(64 * KiB), false },
        { "all the same", 64 * MiB, 0, false },
        { "in a hole, while writing", 64 * MiB, 64 * KiB, true },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char *dir = scratch_new();
        char path[256];
        snprintf(path, sizeof(path), "%s/0", dir);
        make_linked(path, cases[i].first, cases[i].step, 8192);
        const uint64_t bytes = bytes_to_map(dir, cases[i].writable);
        cr_expect_lt(bytes, 4 * MiB, "%s: %lu", cases[i].what, bytes);
        scratch_remove(dir);
    }
}

/* Table @tables - 1 lies in a hole that is known by the time that it is written to. */
Test(map, what_is_written_under_a_table_in_a_hole_shows)
{
    const uint64_t tables = 256, at = (tables - 1) << 29;
    char *dir = scratch_new();
    char path[256];
    struct qimg_error err;
    struct qimg_context *context = NULL;
    struct qimg_image *image = NULL;
    struct qimg_extent e[2];
    uint8_t byte = 0;
    const struct qimg_open_options options = { .format = "qcow2", .writable = true };
    snprintf(path, sizeof(path), "%s/0", dir);
    make_linked(path, 64 * MiB, 64 * KiB, tables);
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0);
    cr_assert_eq(qimg_image_open(context, path, &options, &image, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_write(image, 0, "x", 1, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_map(image, (struct qimg_range){ 0, at }, false, e, 2, &err), 2);
    cr_assert_eq(qimg_image_write(image, at, "x", 1, &err), 0, "%s", err.text);
    for (int flushed = 0; flushed <= 1; flushed++) {
        chain_map_forget(image->map);
        const struct qimg_range there = { at - 64 * KiB, 256 * KiB };
        cr_assert_eq(qimg_image_map(image, there, false, e, 2, &err), 2, "%s", err.text);
        cr_expect_eq(e[1].guest_off, at);
        cr_expect_eq(e[1].kind, QIMG_DATA);
        cr_assert_eq(qimg_image_read(image, at, &byte, 1, &err), 0, "%s", err.text);
        cr_expect_eq(byte, 'x');
        cr_assert_eq(qimg_image_flush(image, &err), 0, "%s", err.text);
    }
    qimg_image_close(image);
    qimg_context_free(context);
    scratch_remove(dir);
}

Test(map, a_table_that_cannot_be_trusted_fails_only_who_needs_it)
{
    char *dir = scratch_new();
    char path[256];
    struct qimg_error err;
    struct qimg_context *context = NULL;
    uint8_t buf[512];
    const struct build_cluster clusters[] = { { .index = 0, .fill = 3 },
                                              { .index = 1, .kind = BUILD_WORD, .word = 0x200 } };
    snprintf(path, sizeof(path), "%s/0", dir);
    build_qcow2_file(&(struct build_qcow2){ .size = MiB, .clusters = clusters, .cluster_count = 2 },
                     path);
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0);
    struct qimg_image *image = open_in(context, dir);
    cr_expect_eq(qimg_image_read(image, 0, buf, sizeof(buf), &err), 0, "%s", err.text);
    cr_expect_eq(buf[0], 3);
    cr_expect_eq(qimg_image_read(image, 65536, buf, sizeof(buf), &err), -EIO);
    cr_expect(strstr(err.text, path), "%s", err.text);
    cr_expect_eq(qimg_image_read(image, 131072, buf, sizeof(buf), &err), 0, "%s", err.text);
    qimg_image_close(image);
    qimg_context_free(context);
    scratch_remove(dir);
}

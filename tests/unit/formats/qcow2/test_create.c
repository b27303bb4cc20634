/* SPDX-License-Identifier: Apache-2.0
 *
 * New images: as long as QEMU's, counted exactly, mapped as asked, and never half there.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io_sim.h"
#include "qcow2.h"

#define NAME "disk"
#define DATA "data"

static struct create_spec spec_of(uint64_t size, uint32_t cluster_size)
{
    return (struct create_spec){
        .size = size,
        .version = 3,
        .cluster_size = cluster_size,
        .refcount_bits = 16,
    };
}

static struct io_file *empty_file(struct io_engine *engine, const char *name)
{
    const struct io_open_options how = { .writable = true, .create = true };
    struct io_file *file;

    cr_assert_eq(io_file_open(engine, name, &how, &file), 0);
    return file;
}

static int create_in(struct io_engine *engine, const struct create_spec *spec,
                     struct qimg_error *err)
{
    struct io_file *file = empty_file(engine, NAME);
    struct io_file *data = spec->data_file_name ? empty_file(engine, DATA) : NULL;
    const int rc = qcow2_create(file, data, spec, err);

    io_file_close(file);
    io_file_close(data);
    return rc;
}

static struct qcow2 *open_in(struct io_engine *engine, struct qimg_error *err)
{
    const struct image_open_options as = { 0 };
    struct io_file *file;
    struct image *image;

    cr_assert_eq(io_file_open(engine, NAME, &(struct io_open_options){ 0 }, &file), 0);
    if (qcow2_ops.open(file, &as, &image, err) < 0) {
        io_file_close(file);
        return NULL;
    }
    return qcow2_of(image);
}

static struct io_engine *new_engine(void)
{
    struct io_engine *engine;

    cr_assert_eq(io_sim_new(&(struct io_sim_options){ .no_log = true }, NULL, &engine), 0);
    return engine;
}

/* --- lengths -------------------------------------------------------------------------------- */

Test(qcow2_create, files_are_as_long_as_qemus)
{
    static const struct {
        uint64_t size;
        uint32_t cluster_size;
        unsigned refcount_bits;
        enum preallocation preallocation;
        bool extended_l2;
        uint64_t want;
    } cases[] = {
        /* lengths that qemu-img 7.2 gave */
        { 0, 65536, 16, PREALLOC_OFF, false, 196608 },
        { MiB, 65536, 16, PREALLOC_OFF, false, 196616 },
        { GiB, 65536, 16, PREALLOC_OFF, false, 0x30010 },
        { MiB, 512, 16, PREALLOC_OFF, false, 1792 },
        { MiB, 2 * MiB, 64, PREALLOC_OFF, false, 6291464 },
        { MiB, 65536, 16, PREALLOC_METADATA, false, 1376256 },
        { MiB, 4096, 16, PREALLOC_FALLOC, false, 1069056 },
        { MiB, 512, 16, PREALLOC_METADATA, false, 1071104 },
        { 512, 2 * MiB, 16, PREALLOC_METADATA, true, 10551296 },
        { 512, 2 * MiB, 16, PREALLOC_FULL, true, 12582912 },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct io_engine *engine = new_engine();
        struct create_spec spec = spec_of(cases[i].size, cases[i].cluster_size);
        struct qimg_error err;
        spec.refcount_bits = cases[i].refcount_bits;
        spec.preallocation = cases[i].preallocation;
        spec.extended_l2 = cases[i].extended_l2;
        cr_assert_eq(create_in(engine, &spec, &err), 0, "case %zu: %s", i, err.text);
        cr_expect_eq(io_sim_size(engine, NAME), cases[i].want, "case %zu: %lu", i,
                     (unsigned long)io_sim_size(engine, NAME));
        io_engine_free(engine);
    }
}

/* --- counts and maps ------------------------------------------------------------------------ */

/* Count of cluster @index, 0 where no block covers it. */
static uint64_t count_of(struct io_engine *engine, const struct qcow2 *q, uint64_t index)
{
    const uint64_t cluster = qcow2_cluster_size(q);
    const uint64_t per_block = cluster * 8 >> q->header.refcount_order;
    uint8_t raw[8];

    if (index / per_block >= q->header.reftable_clusters * cluster / 8)
        return 0;
    cr_assert(io_sim_get(engine, NAME, q->header.reftable_off + index / per_block * 8, raw, 8));
    const uint64_t block_off = load_be64(raw);
    if (block_off == 0)
        return 0;
    uint8_t *block = malloc(cluster);
    cr_assert(io_sim_get(engine, NAME, block_off, block, cluster));
    const uint64_t count = qcow2_refcount_get(block, q->header.refcount_order, index % per_block);
    free(block);
    return count;
}

static void expect_exact_counts(struct io_engine *engine, const struct qcow2 *q, const char *what)
{
    const uint64_t clusters = div_up(io_sim_size(engine, NAME), qcow2_cluster_size(q));
    const uint64_t step = clusters > 3000 ? clusters / 1500 : 1;

    for (uint64_t i = 0; i < clusters; i += step)
        cr_assert_eq(count_of(engine, q, i), 1, "%s: cluster %lu of %lu", what, (unsigned long)i,
                     (unsigned long)clusters);
    cr_expect_eq(count_of(engine, q, clusters - 1), 1, "%s: the last cluster", what);
    for (uint64_t i = clusters; i < clusters + 20; i++)
        cr_expect_eq(count_of(engine, q, i), 0, "%s: %lu is past the end", what, (unsigned long)i);
}

static void expect_map(struct qcow2 *q, const struct create_spec *spec, const char *what)
{
    struct extent_vec map = { 0 };
    struct qimg_error err;
    uint64_t data = 0;
    const bool mapped =
        spec->preallocation != PREALLOC_OFF && (!spec->extended_l2 || spec->data_file_raw);

    cr_assert_eq(image_map(&q->image, (struct qimg_range){ 0, q->image.size }, &map, &err), 0, "%s",
                 err.text);
    for (size_t i = 0; i < map.count; i++) {
        cr_expect_eq(map.items[i].kind, mapped ? EXTENT_DATA : EXTENT_RESERVED, "%s: kind %d", what,
                     map.items[i].kind);
        if (map.items[i].kind == EXTENT_DATA)
            data += map.items[i].len;
    }
    cr_expect_eq(data, mapped ? spec->size : 0, "%s: %lu bytes mapped", what, (unsigned long)data);
    extent_vec_release(&map);
}

Test(qcow2_create, every_cluster_is_counted_once_and_mapped_as_asked)
{
    static const uint32_t clusters[] = { 512, 4096, 65536 };
    static const unsigned widths[] = { 1, 2, 4, 8, 16, 32, 64 };
    static const uint64_t sizes[] = { 0, 512, MiB, MiB + 1536, 9 * MiB + 512 };

    for (size_t c = 0; c < ARRAY_COUNT(clusters); c++) {
        for (size_t w = 0; w < ARRAY_COUNT(widths); w++) {
            for (size_t s = 0; s < 2 * ARRAY_COUNT(sizes); s++) {
                struct create_spec spec = spec_of(sizes[s / 2], clusters[c]);
                struct io_engine *engine = new_engine();
                struct qimg_error err;
                char what[80];
                spec.refcount_bits = widths[w];
                spec.preallocation = s & 1 ? PREALLOC_METADATA : PREALLOC_OFF;
                spec.extended_l2 = (s & 2) && clusters[c] >= 16384;
                snprintf(what, sizeof(what), "clusters %u, width %u, size %lu, mode %d",
                         clusters[c], widths[w], (unsigned long)spec.size, spec.preallocation);
                cr_assert_eq(create_in(engine, &spec, &err), 0, "%s: %s", what, err.text);
                struct qcow2 *q = open_in(engine, &err);
                cr_assert_not_null(q, "%s: %s", what, err.text);
                expect_exact_counts(engine, q, what);
                expect_map(q, &spec, what);
                qcow2_ops.close(&q->image);
                io_engine_free(engine);
            }
        }
    }
}

/* --- header --------------------------------------------------------------------------------- */

Test(qcow2_create, the_header_says_what_was_asked_for)
{
    struct create_spec spec = spec_of(MiB, 65536);
    struct io_engine *engine = new_engine();
    struct qimg_error err;
    uint8_t name[8];

    spec.refcount_bits = 2;
    spec.lazy_refcounts = true;
    spec.compression = CODEC_ZSTD;
    spec.backing_name = "base.img";
    spec.backing_format = "raw";
    cr_assert_eq(create_in(engine, &spec, &err), 0, "%s", err.text);
    struct qcow2 *q = open_in(engine, &err);
    cr_assert_not_null(q, "%s", err.text);
    cr_expect_eq(q->header.refcount_order, 1);
    cr_expect_eq(q->header.compatible, QCOW2_COMPAT_LAZY_REFCOUNTS);
    cr_expect_eq(q->header.incompatible, QCOW2_INCOMPAT_COMPRESSION);
    cr_expect_eq(q->header.compression_type, QCOW2_COMPRESSION_ZSTD);
    cr_expect_str_eq(q->image.backing_name, "base.img");
    cr_expect_str_eq(q->image.backing_format, "raw");
    /* 112 + format 16 + names 392 + end 8: where QEMU puts it too */
    cr_expect_eq(q->header.backing_off, 528);
    cr_assert(io_sim_get(engine, NAME, 528, name, 8));
    cr_expect_eq(memcmp(name, "base.img", 8), 0);
    cr_expect_eq(q->extensions.feature_names_len, 8 * QCOW2_FEATURE_NAME_BYTES);
    qcow2_ops.close(&q->image);
    io_engine_free(engine);
}

Test(qcow2_create, a_raw_data_file_is_mapped_one_to_one)
{
    struct create_spec spec = spec_of(MiB + 512, 65536);
    struct io_engine *engine = new_engine();
    struct qimg_error err;

    spec.data_file_name = "data";
    spec.data_file_raw = true;
    spec.preallocation = PREALLOC_METADATA;
    cr_assert_eq(create_in(engine, &spec, &err), 0, "%s", err.text);
    cr_expect_eq(io_sim_size(engine, DATA), spec.size);
    struct qcow2 *q = open_in(engine, &err);
    cr_assert_not_null(q, "%s", err.text);
    expect_exact_counts(engine, q, "data file");
    struct extent_vec map = { 0 };
    cr_assert_eq(image_map(&q->image, (struct qimg_range){ 0, q->image.size }, &map, &err), 0);
    cr_assert_eq(map.count, 1);
    cr_expect_eq(map.items[0].kind, EXTENT_DATA);
    cr_expect_eq(map.items[0].host_off, 0);
    cr_expect_eq(map.items[0].len, spec.size);
    cr_expect_str_eq(q->image.data_file_name, "data");
    cr_expect_eq(q->header.autoclear, QCOW2_AUTOCLEAR_DATA_FILE_RAW);
    extent_vec_release(&map);
    qcow2_ops.close(&q->image);
    io_engine_free(engine);
}

Test(qcow2_create, too_large_and_names_without_room_are_refused_before_anything_is_written)
{
    static char long_name[1025];
    struct io_engine *engine = new_engine();
    struct qimg_error err;

    memset(long_name, 'n', 1024);
    struct create_spec large = spec_of(128 * GiB + 512, 512);
    struct create_spec name = spec_of(MiB, 65536);
    struct create_spec room = spec_of(MiB, 512);
    name.backing_name = long_name;
    name.backing_format = "raw";
    room.backing_name = long_name + 600;
    room.backing_format = "raw";
    cr_expect_eq(create_in(engine, &large, &err), -EFBIG);
    cr_expect_str_eq(err.text, "The image size is too large for file format 'qcow2' "
                               "(try using a larger cluster size)");
    cr_expect_eq(create_in(engine, &name, &err), -EINVAL);
    cr_expect_not_null(strstr(err.text, "' with format 'raw': Invalid argument"));
    cr_expect_eq(create_in(engine, &room, &err), -ENOSPC);
    cr_expect_eq(io_sim_size(engine, NAME), 0);
    io_engine_free(engine);
}

Test(qcow2_create, two_pebibytes_take_no_more_than_their_counts)
{
    struct create_spec spec = spec_of(UINT64_C(2) << 50, 65536);
    struct io_engine *engine = new_engine();
    struct qimg_error err;

    cr_assert_eq(create_in(engine, &spec, &err), 0, "%s", err.text);
    cr_expect_eq(io_sim_size(engine, NAME), 196608 + 32 * MiB);
    struct io_file *file = empty_file(engine, NAME);
    struct io_stat st;
    cr_assert_eq(io_stat(file, &st), 0);
    cr_expect_leq(st.allocated, MiB, "%lu", (unsigned long)st.allocated);
    io_file_close(file);
    struct qcow2 *q = open_in(engine, &err);
    cr_assert_not_null(q, "%s", err.text);
    expect_exact_counts(engine, q, "2 PiB");
    qcow2_ops.close(&q->image);
    io_engine_free(engine);
}

/* --- crashes -------------------------------------------------------------------------------- */

Test(qcow2_create, a_power_cut_leaves_a_whole_image_or_none)
{
    struct create_spec spec = spec_of(3 * MiB, 4096);
    spec.preallocation = PREALLOC_METADATA;
    spec.backing_name = NULL;

    for (uint64_t n = 1;; n++) {
        struct io_engine *engine = new_engine();
        struct qimg_error err;
        struct io_file *file = empty_file(engine, NAME);
        cr_assert_eq(io_sync_directory(engine, NAME), 0);
        io_sim_stop_after(engine, io_sim_operations(engine) + n);
        int rc = qcow2_create(file, NULL, &spec, &err);
        if (rc == 0)
            rc = io_sync(file);
        for (uint64_t seed = 0; seed < 8; seed++) {
            const struct io_sim_cut cut = { .survivors = seed ? IO_SIM_RANDOM : IO_SIM_NONE,
                                            .seed = seed,
                                            .torn = true };
            struct io_engine *after;
            uint8_t magic[4];
            cr_assert_eq(io_sim_power_cut(engine, &cut, &after), 0);
            const bool there = io_sim_size(after, NAME) >= 4 &&
                               io_sim_get(after, NAME, 0, magic, 4) &&
                               load_be32(magic) == QCOW2_MAGIC;
            cr_expect(there || rc < 0, "stop %lu: done and not there", (unsigned long)n);
            if (there) {
                struct qcow2 *q = open_in(after, &err);
                cr_assert_not_null(q, "stop %lu: %s", (unsigned long)n, err.text);
                expect_exact_counts(after, q, "after a cut");
                expect_map(q, &spec, "after a cut");
                qcow2_ops.close(&q->image);
            }
            io_engine_free(after);
        }
        io_file_close(file);
        io_engine_free(engine);
        if (rc == 0)
            return;
    }
}

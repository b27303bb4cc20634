/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check_image.h"

static const struct build_cluster clusters[] = {
    { .index = 0, .fill = 1 },
    { .index = 1, .fill = 2 },
    { .index = 3, .kind = BUILD_ZERO },
    { .index = 4, .kind = BUILD_ZERO_ALLOC },
    { .index = 6, .kind = BUILD_COMPRESSED, .packed = "xyz", .packed_len = 3 },
};

static const struct build_snapshot snapshots[] = {
    { .id = "1", .name = "s", .clusters = clusters, .cluster_count = 2 },
};

static const struct build_bitmap bitmaps[] = { { .name = "b" } };

static const struct build_qcow2 spec = {
    .size = MiB + 512,
    .clusters = clusters,
    .cluster_count = ARRAY_COUNT(clusters),
    .snapshots = snapshots,
    .snapshot_count = 1,
    .bitmaps = bitmaps,
    .bitmap_count = 1,
};

static const struct check_how look = { 0 };
static const struct check_how repair = { .fix = QIMG_CHECK_FIX_ALL };

Test(qcow2_check, healthy_images_of_every_width_and_size_are_healthy)
{
    for (unsigned bits = 1; bits <= 64; bits *= 2)
        for (unsigned cluster_bits = 9; cluster_bits <= 18; cluster_bits += 3) {
            struct build_qcow2 s = spec;
            s.refcount_bits = bits;
            s.cluster_bits = cluster_bits;
            struct checked c = check_built(&s, look);
            cr_expect_eq(c.rc, 0, "%s", c.err.text);
            cr_expect_str_eq(c.said, "", "%u bits, 2^%u", bits, cluster_bits);
            cr_expect_eq(c.result.corruptions + c.result.leaks + c.result.check_errors, 0);
            cr_expect_eq(c.result.total_clusters, div_up(s.size, UINT64_C(1) << cluster_bits));
            cr_expect_eq(c.result.allocated_clusters, 4);
            cr_expect_eq(c.result.compressed_clusters, 1);
            cr_expect_eq(c.result.fragmented_clusters, 1, "the packed one");
            checked_release(&c);
        }
}

Test(qcow2_check, version_2_and_subclusters_and_data_files_are_healthy_too)
{
    struct build_qcow2 v2 = { .version = 2, .size = MiB, .clusters = clusters, .cluster_count = 2 };
    static const struct build_cluster part[] = {
        { .index = 0, .kind = BUILD_SUBCLUSTERS, .alloc = 3, .zero = 4 },
        { .index = 1, .kind = BUILD_ZERO },
    };
    struct build_qcow2 extended = {
        .size = MiB, .extended_l2 = true, .clusters = part, .cluster_count = 2
    };
    const struct build_qcow2 *const all[] = { &v2, &extended };

    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        struct checked c = check_built(all[i], look);
        cr_expect_eq(c.rc, 0, "%zu: %s", i, c.err.text);
        cr_expect_str_eq(c.said, "", "%zu", i);
        checked_release(&c);
    }
}

Test(qcow2_check, repairing_a_healthy_image_writes_nothing)
{
    struct io_engine *engine = check_machine(&spec);
    size_t count;

    check_repairs(engine);
    const struct io_sim_entry *log = io_sim_log(engine, &count);
    for (size_t i = 0; i < count; i++)
        cr_expect_neq(log[i].op, IO_SIM_WRITE);
    io_engine_free(engine);
}

Test(qcow2_check, dirty_and_corrupt_bits_go_once_nothing_is_wrong)
{
    struct build_qcow2 s = spec;
    uint8_t header[80];

    s.incompatible = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    for (int fix = QIMG_CHECK_FIX_NONE; fix <= QIMG_CHECK_FIX_ALL; fix++) {
        struct io_engine *engine = check_machine(&s);
        struct checked c =
            check_disk(engine, (struct check_how){ .fix = (enum qimg_check_fix)fix });
        cr_expect_eq(c.rc, 0, "%s", c.err.text);
        cr_assert(io_sim_get(engine, "disk", 0, header, sizeof(header)));
        cr_expect_eq(load_be64(header + 72), fix == QIMG_CHECK_FIX_NONE ? 3 : 0, "fix %d", fix);
        checked_release(&c);
        io_engine_free(engine);
    }
}

Test(qcow2_check, the_corrupt_bit_stays_where_something_is_left)
{
    struct build_qcow2 s = spec;
    const struct build_cluster bad[] = { { .index = 0, .kind = BUILD_WORD, .word = 0x40200 } };
    uint8_t header[80];

    s.clusters = bad;
    s.cluster_count = 1;
    s.incompatible = QCOW2_INCOMPAT_CORRUPT;
    struct io_engine *engine = check_machine(&s);
    struct checked c = check_disk(engine, repair);
    cr_expect_eq(c.rc, 0, "%s", c.err.text);
    cr_expect_geq(c.result.corruptions, 1, "%s", c.said);
    cr_assert(io_sim_get(engine, "disk", 0, header, sizeof(header)));
    cr_expect_eq(load_be64(header + 72), QCOW2_INCOMPAT_CORRUPT);
    checked_release(&c);
    io_engine_free(engine);
}

static void listen(void *user, const char *text)
{
    strncat(user, text, 200);
}

Test(qcow2_check, a_dirty_image_is_repaired_when_it_is_opened_for_writing)
{
    const struct io_open_options file_how = { .writable = true };
    char said[2000] = "";
    const struct image_open_options how = { .writable = true, .said = listen, .user = said };
    struct build_qcow2 s = spec;
    struct qimg_error err;
    struct io_file *file;
    struct image *image;

    s.incompatible = QCOW2_INCOMPAT_DIRTY;
    struct built built = build_qcow2(&s);
    const uint64_t block = load_be64(built.bytes + built.reftable_off);
    const struct build_patch patch = { block, 2, 0 }; /* the header is not counted */
    s.patches = &patch;
    s.patch_count = 1;
    struct io_engine *engine = check_machine(&s);
    cr_assert_eq(io_file_open(engine, "disk", &file_how, &file), 0);
    cr_assert_eq(qcow2_ops.open(file, &how, &image, &err), 0, "%s", err.text);
    cr_expect_eq(strncmp(said, "ERROR cluster 0 refcount=0 reference=1", 38), 0, "%s", said);
    cr_expect_eq(qcow2_of(image)->header.incompatible, 0);
    cr_expect_eq(qcow2_of(image)->snapshots.count, 1);
    cr_expect_neq(qcow2_of(image)->header.reftable_off, built.reftable_off, "rebuilt elsewhere");
    image_close(image);
    struct checked c = check_disk(engine, look);
    cr_expect_str_eq(c.said, "");
    checked_release(&c);
    built_release(&built);
    io_engine_free(engine);
}

Test(qcow2_check, a_dirty_image_that_cannot_be_repaired_is_not_opened_for_writing)
{
    const struct io_open_options file_how = { .writable = true };
    const struct image_open_options how = { .writable = true };
    struct build_qcow2 s = spec;
    unsigned refused = 0;

    s.incompatible = QCOW2_INCOMPAT_DIRTY;
    for (uint64_t n = 1; n < 40; n++) {
        struct io_engine *engine = check_machine(&s);
        struct qimg_error err;
        struct io_file *file;
        struct image *image;
        io_sim_fault(engine, n, IO_SIM_EIO, true);
        cr_assert_eq(io_file_open(engine, "disk", &file_how, &file), 0);
        if (qcow2_ops.open(file, &how, &image, &err) == 0) {
            cr_expect_eq(qcow2_of(image)->header.incompatible, 0, "operation %u", (unsigned)n);
            image_close(image);
        } else {
            refused += strcmp(err.text, "Could not repair dirty image: Input/output error") == 0;
            io_file_close(file);
        }
        io_engine_free(engine);
    }
    cr_expect_gt(refused, 5);
}

/* Every byte of metadata broken in turn: whatever is said, repair twice, and what the second run
 * still finds the third finds too (nothing gets worse, nothing loops, nothing crashes). */
Test(qcow2_check, any_broken_byte_of_metadata_is_survived_and_repair_converges)
{
    struct build_qcow2 s = spec;
    s.cluster_bits = 9;
    s.size = 64 * KiB;
    struct built built = build_qcow2(&s);

    for (size_t at = 24; at < built.len; at += 3) {
        struct io_engine *engine;
        const uint8_t kept = built.bytes[at];
        built.bytes[at] ^= (uint8_t)(1u << at % 8);
        cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
        cr_assert_eq(io_sim_put(engine, "disk", built.bytes, built.len, built.len), 0);
        built.bytes[at] = kept;
        struct checked first = check_disk(engine, repair), second = check_disk(engine, repair);
        if (first.rc == 0 && !first.result.corruptions && !first.result.leaks &&
            !first.result.check_errors)
            cr_expect_eq(second.result.corruptions_fixed + second.result.leaks_fixed, 0,
                         "byte %zu: first\n%ssecond\n%s", at, first.said, second.said);
        if (first.rc == 0)
            cr_expect_leq(second.result.corruptions, first.result.corruptions, "byte %zu", at);
        checked_release(&first);
        checked_release(&second);
        io_engine_free(engine);
    }
    built_release(&built);
}

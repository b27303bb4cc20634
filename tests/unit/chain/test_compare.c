/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "build_qcow2.h"
#include "sim_rig.h"

#define BLOCK 4096u

static int compare(struct sim_rig *rig, struct qimg_image *a, struct qimg_image *b, bool strict,
                   struct qimg_compare_result *out, struct qimg_error *err)
{
    const struct qimg_compare_options options = { .a = a, .b = b, .strict = strict };

    qimg_error_clear(err);
    return qimg_compare(rig->context, &options, out, err);
}

static const struct {
    const char *name, *a, *b;
    bool strict;
    enum qimg_compare_verdict verdict;
    uint64_t offset;
    bool size_mismatch;
    uint64_t proved, read;
} cases[] = {
    { "equal", "ab.c", "ab.c", false, QIMG_COMPARE_IDENTICAL, 0, false, BLOCK, 3 * BLOCK },
    { "equal, strictly", "ab.c", "ab.c", true, QIMG_COMPARE_IDENTICAL, 0, false, BLOCK, 3 * BLOCK },
    { "written zeros equal a hole", "a0c", "a.c", false, QIMG_COMPARE_IDENTICAL, 0, false, 0,
      3 * BLOCK },
    { "not strictly", "a0c.", "a.c.", true, QIMG_COMPARE_STATUS, BLOCK, false, 0, UINT64_MAX },
    { "strictly, one range up to the end is something else", "a0c", "a.c", true,
      QIMG_COMPARE_STATUS, 0, false, 0, 0 },
    { "other content", "abc", "abd", false, QIMG_COMPARE_CONTENT, 2 * BLOCK, false, 0, UINT64_MAX },
    { "data against a hole", "a.", "ab", false, QIMG_COMPARE_CONTENT, BLOCK, false, 0, UINT64_MAX },
    { "the first difference counts", "abcdefgh", "abXdefgX", false, QIMG_COMPARE_CONTENT, 2 * BLOCK,
      false, 0, UINT64_MAX },
    { "longer by zeros", "ab", "ab.0", false, QIMG_COMPARE_IDENTICAL, 0, true, BLOCK, 3 * BLOCK },
    { "longer by data", "ab.x", "ab", false, QIMG_COMPARE_CONTENT, 3 * BLOCK, true, BLOCK,
      UINT64_MAX },
    { "a difference before the longer part", "Xb.x", "ab", false, QIMG_COMPARE_CONTENT, 0, false,
      UINT64_MAX, UINT64_MAX },
    { "sizes, strictly", "ab", "ab.", true, QIMG_COMPARE_SIZE, 0, true, 0, 0 },
    { "nothing", "", "", false, QIMG_COMPARE_IDENTICAL, 0, false, 0, 0 },
    { "nothing and zeros", "", "..", false, QIMG_COMPARE_IDENTICAL, 0, true, 2 * BLOCK, 0 },
};

Test(compare, verdicts_are_qemus)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (uint64_t seed = 0; seed < 4; seed++) {
            struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .seed = seed });
            struct qimg_compare_result got;
            struct qimg_error err;

            sim_rig_raw(rig, "a", cases[i].a);
            sim_rig_raw(rig, "b", cases[i].b);
            struct qimg_image *a = sim_rig_open(rig, "a", NULL);
            struct qimg_image *b = sim_rig_open(rig, "b", NULL);
            cr_expect_eq(compare(rig, a, b, cases[i].strict, &got, &err), 0, "%s: %s",
                         cases[i].name, err.text);
            cr_expect_eq(got.verdict, cases[i].verdict, "%s: %d", cases[i].name, got.verdict);
            cr_expect_eq(got.offset, cases[i].offset, "%s: %lu", cases[i].name,
                         (unsigned long)got.offset);
            cr_expect_eq(got.size_mismatch, cases[i].size_mismatch, "%s", cases[i].name);
            if (cases[i].proved != UINT64_MAX)
                cr_expect_eq(got.proved_bytes, cases[i].proved, "%s: proved %lu", cases[i].name,
                             (unsigned long)got.proved_bytes);
            if (cases[i].read != UINT64_MAX)
                cr_expect_eq(got.read_bytes, cases[i].read, "%s: read %lu", cases[i].name,
                             (unsigned long)got.read_bytes);
            qimg_image_close(a);
            qimg_image_close(b);
            sim_rig_free(rig);
        }
    }
}

Test(compare, the_differing_sector_is_named)
{
    uint8_t bytes[2 * BLOCK];
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_compare_result got;
    struct qimg_error err;

    memset(bytes, 'a', sizeof(bytes));
    cr_assert_eq(io_sim_put(rig->engine, "a", bytes, sizeof(bytes), sizeof(bytes)), 0);
    bytes[BLOCK + 1535] = 'b';
    cr_assert_eq(io_sim_put(rig->engine, "b", bytes, sizeof(bytes), sizeof(bytes)), 0);
    struct qimg_image *a = sim_rig_open(rig, "a", NULL), *b = sim_rig_open(rig, "b", NULL);
    cr_expect_eq(compare(rig, a, b, false, &got, &err), 0);
    cr_expect_eq(got.verdict, QIMG_COMPARE_CONTENT);
    cr_expect_eq(got.offset, BLOCK + 1024);
    qimg_image_close(a);
    qimg_image_close(b);
    sim_rig_free(rig);
}

Test(compare, what_both_take_from_one_place_is_never_read)
{
    static const struct build_extension format = { .type = 0xe2792aca, .data = "raw", .len = 3 };
    static const struct build_cluster own = { .index = 1, .kind = BUILD_DATA, .fill = 'b' };
    struct built plain = build_qcow2(&(struct build_qcow2){
        .size = 3 * 65536, .backing_name = "base", .extensions = &format, .extension_count = 1 });
    struct built other = build_qcow2(&(struct build_qcow2){ .size = 3 * 65536,
                                                            .backing_name = "base",
                                                            .extensions = &format,
                                                            .extension_count = 1,
                                                            .clusters = &own,
                                                            .cluster_count = 1 });
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_compare_result got;
    struct qimg_error err;

    sim_rig_raw(rig, "base", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    cr_assert_eq(io_sim_put(rig->engine, "a", plain.bytes, plain.len, plain.len), 0);
    cr_assert_eq(io_sim_put(rig->engine, "b", other.bytes, other.len, other.len), 0);
    struct qimg_image *a = sim_rig_open(rig, "a", "qcow2"), *b = sim_rig_open(rig, "b", "qcow2");
    cr_expect_eq(compare(rig, a, b, false, &got, &err), 0, "%s", err.text);
    cr_expect_eq(got.verdict, QIMG_COMPARE_IDENTICAL);
    cr_expect_eq(got.proved_bytes, 2 * 65536);
    cr_expect_eq(got.read_bytes, 65536);
    qimg_image_close(a);
    qimg_image_close(b);
    built_release(&plain);
    built_release(&other);
    sim_rig_free(rig);
}

/* --- all differences ------------------------------------------------------------------------ */

static char told[1024];

static void note(void *user, const struct qimg_compare_difference *d)
{
    static const char *const why[] = { "same", "content", "size", "status" };
    const size_t len = strlen(told);

    (void)user;
    (void)snprintf(told + len, sizeof(told) - len, "%s %g+%g; ", why[d->why],
                   (double)d->range.off / BLOCK, (double)d->range.len / BLOCK);
}

static const struct {
    const char *a, *b;
    bool strict;
    enum qimg_compare_verdict verdict;
    uint64_t offset;
    const char *told; /* in blocks */
} all_cases[] = {
    { "ab.c", "ab.c", true, QIMG_COMPARE_IDENTICAL, 0, "" },
    { "abcdefgh", "aXXdefgX", false, QIMG_COMPARE_CONTENT, BLOCK, "content 1+2; content 7+1; " },
    { "ab..cd", "abX.cX", false, QIMG_COMPARE_CONTENT, 2 * BLOCK, "content 2+1; content 5+1; " },
    { "abc", "abc.d.", false, QIMG_COMPARE_CONTENT, 4 * BLOCK, "size 3+3; content 4+1; " },
    { "Xbc", "abc..", false, QIMG_COMPARE_CONTENT, 0, "content 0+1; size 3+2; " },
    { "abc", "abc..", false, QIMG_COMPARE_IDENTICAL, 0, "size 3+2; " },
    { "abc", "abX..", true, QIMG_COMPARE_SIZE, 0, "content 2+1; size 3+2; " },
    { "a0c", "a.c", true, QIMG_COMPARE_STATUS, 0, "status 1+1; " }, /* the verdict is QEMU's */
    { "a0bc.", "a.bX.", true, QIMG_COMPARE_STATUS, BLOCK, "status 1+1; content 3+1; " },
    { "a00c.", "a..X.", true, QIMG_COMPARE_STATUS, BLOCK, "status 1+2; content 3+1; " },
    { "axbc.", "a.bc.", true, QIMG_COMPARE_STATUS, BLOCK, "content 1+1; " }, /* looked at first */
};

Test(compare, all_differences_are_told_and_the_verdict_stays)
{
    for (size_t i = 0; i < sizeof(all_cases) / sizeof(all_cases[0]); i++) {
        struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .seed = i });
        struct qimg_compare_result got;
        struct qimg_error err;

        sim_rig_raw(rig, "a", all_cases[i].a);
        sim_rig_raw(rig, "b", all_cases[i].b);
        struct qimg_image *a = sim_rig_open(rig, "a", NULL), *b = sim_rig_open(rig, "b", NULL);
        const struct qimg_compare_options options = {
            .a = a, .b = b, .strict = all_cases[i].strict, .difference = note
        };
        *told = '\0';
        qimg_error_clear(&err);
        cr_expect_eq(qimg_compare(rig->context, &options, &got, &err), 0, "%s", err.text);
        cr_expect_str_eq(told, all_cases[i].told, "%zu: %s", i, told);
        cr_expect_eq(got.verdict, all_cases[i].verdict, "%zu: %d", i, got.verdict);
        cr_expect_eq(got.offset, all_cases[i].offset, "%zu: %lu", i, (unsigned long)got.offset);
        qimg_image_close(a);
        qimg_image_close(b);
        sim_rig_free(rig);
    }
}

static int stop(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return 1;
}

/* Maps of a million runs that are alike fill no slot for a long time. */
Test(compare, a_long_plan_can_be_cancelled)
{
    enum { CLUSTERS = 8192 };
    struct build_cluster *clusters = calloc(CLUSTERS / 2, sizeof(*clusters));
    for (uint32_t i = 0; i < CLUSTERS / 2; i++)
        clusters[i] = (struct build_cluster){ .index = 2 * i, .kind = BUILD_ZERO };
    struct built built = build_qcow2(&(struct build_qcow2){ .size = CLUSTERS * UINT64_C(512),
                                                            .cluster_bits = 9,
                                                            .clusters = clusters,
                                                            .cluster_count = CLUSTERS / 2 });
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_compare_result got;
    struct qimg_error err;

    qimg_error_clear(&err);
    cr_assert_eq(io_sim_put(rig->engine, "a", built.bytes, built.len, built.len), 0);
    struct qimg_image *a = sim_rig_open(rig, "a", "qcow2"), *b = sim_rig_open(rig, "a", "qcow2");
    const struct qimg_compare_options options = { .a = a, .b = b, .progress = stop };
    cr_expect_eq(qimg_compare(rig->context, &options, &got, &err), -ECANCELED);
    qimg_image_close(a);
    qimg_image_close(b);
    built_release(&built);
    sim_rig_free(rig);
    free(clusters);
}

Test(compare, read_errors_name_file_and_offset)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_compare_result got;
    struct qimg_error err;

    sim_rig_raw(rig, "a", ".ab");
    sim_rig_raw(rig, "b", "...");
    struct qimg_image *a = sim_rig_open(rig, "a", NULL), *b = sim_rig_open(rig, "b", NULL);
    io_sim_fault(rig->engine, io_sim_operations(rig->engine) + 1, IO_SIM_EIO, true);
    cr_expect_eq(compare(rig, a, b, false, &got, &err), -EIO);
    cr_expect_str_eq(err.text, "Error while reading offset 4096 of a: Input/output error");
    cr_expect_eq(got.stage, QIMG_COMPARE_READING);
    qimg_image_close(a);
    qimg_image_close(b);
    sim_rig_free(rig);
}

Test(compare, a_difference_before_a_wrong_table_word_is_found_first)
{
    static const struct build_cluster clusters[] = {
        { .index = 0, .kind = BUILD_DATA, .fill = 'a' },
        { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(1) << 63 | 0x50200 },
    };
    struct built built = build_qcow2(
        &(struct build_qcow2){ .size = 2 * 65536, .clusters = clusters, .cluster_count = 2 });
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_compare_result got;
    struct qimg_error err;

    cr_assert_eq(io_sim_put(rig->engine, "bad", built.bytes, built.len, built.len), 0);
    sim_rig_raw(rig, "a", "aaaaaaaaaaaaaaaa................");
    sim_rig_raw(rig, "b", "aaaaaaaaaaaaaaab................");
    struct qimg_image *bad = sim_rig_open(rig, "bad", "qcow2");
    struct qimg_image *a = sim_rig_open(rig, "a", NULL), *b = sim_rig_open(rig, "b", NULL);
    cr_expect_eq(compare(rig, bad, a, false, &got, &err), -EIO);
    cr_expect_str_eq(err.text, "Sector allocation test failed for bad");
    cr_expect_eq(got.stage, QIMG_COMPARE_MAPPING);
    cr_expect_eq(compare(rig, bad, b, false, &got, &err), 0, "%s", err.text);
    cr_expect_eq(got.verdict, QIMG_COMPARE_CONTENT);
    cr_expect_eq(got.offset, 15 * BLOCK);
    qimg_image_close(bad);
    qimg_image_close(a);
    qimg_image_close(b);
    built_release(&built);
    sim_rig_free(rig);
}

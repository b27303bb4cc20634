/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "build_qcow2.h"
#include "qimg/qimg.h"
#include "scratch.h"

static const struct build_cluster clusters[] = { { .index = 0, .fill = 1, .shared = true } };
static const struct build_qcow2 spec = { .size = MiB, .clusters = clusters, .cluster_count = 1 };

static struct qimg_context *context;
static struct qimg_error err;
static char *directory;

static void set_up(void)
{
    directory = scratch_new();
    cr_assert_eq(chdir(directory), 0);
    build_qcow2_file(&spec, "a.qcow2");
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0, "%s", err.text);
}

static void tear_down(void)
{
    qimg_context_free(context);
    cr_assert_eq(chdir("/"), 0);
    scratch_remove(directory);
}

TestSuite(check, .init = set_up, .fini = tear_down);

static void count(void *user, const struct qimg_check_finding *finding)
{
    (void)finding;
    ++*(unsigned *)user;
}

static int check(enum qimg_check_fix fix, const char *undo, struct qimg_check_result *result,
                 unsigned *found)
{
    const struct qimg_open_options how = { .check = true, .writable = fix != QIMG_CHECK_FIX_NONE };
    const struct qimg_check_options options = {
        .fix = fix, .undo_name = undo, .finding = count, .user = found
    };
    struct qimg_image *image;

    *found = 0;
    cr_assert_eq(qimg_image_open(context, "a.qcow2", &how, &image, &err), 0, "%s", err.text);
    const int rc = qimg_image_check(image, &options, result, &err);
    qimg_image_close(image);
    return rc;
}

Test(check, tells_its_caller_and_mends_and_takes_it_back)
{
    struct qimg_check_result result;
    unsigned found;

    cr_assert_eq(check(QIMG_CHECK_FIX_NONE, NULL, &result, &found), 0, "%s", err.text);
    cr_expect_eq(found, 1);
    cr_expect_eq(result.corruptions, 1);
    cr_expect_gt(result.count_bytes, 0);
    cr_assert_eq(check(QIMG_CHECK_FIX_ALL, "u", &result, &found), 0, "%s", err.text);
    cr_expect_eq(result.corruptions_fixed, 1);
    cr_assert_eq(check(QIMG_CHECK_FIX_NONE, NULL, &result, &found), 0, "%s", err.text);
    cr_expect_eq(found, 0);
    cr_assert_eq(qimg_check_undo(context, "u", "a.qcow2", &err), 0, "%s", err.text);
    cr_assert_eq(check(QIMG_CHECK_FIX_NONE, NULL, &result, &found), 0, "%s", err.text);
    cr_expect_eq(result.corruptions, 1);
}

Test(check, leaves_no_undo_file_where_nothing_was_mended)
{
    struct qimg_check_result result;
    unsigned found;

    cr_assert_eq(check(QIMG_CHECK_FIX_ALL, NULL, &result, &found), 0, "%s", err.text);
    cr_assert_eq(check(QIMG_CHECK_FIX_ALL, "u", &result, &found), 0, "%s", err.text);
    cr_expect_eq(found, 0);
    cr_expect_lt(access("u", F_OK), 0);
}

Test(check, never_overwrites_an_undo_file)
{
    struct qimg_check_result result;
    unsigned found;
    FILE *file = fopen("u", "w");

    fclose(file);
    cr_expect_eq(check(QIMG_CHECK_FIX_ALL, "u", &result, &found), -EEXIST);
    cr_expect_str_eq(err.text, "Could not open undo file 'u': File exists");
    cr_expect_eq(found, 0);
}

Test(check, of_a_format_without_one_is_refused)
{
    const struct qimg_open_options how = { .format = "raw", .check = true };
    const struct qimg_check_options options = { 0 };
    struct qimg_check_result result;
    struct qimg_image *image;

    cr_assert_eq(qimg_image_open(context, "a.qcow2", &how, &image, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_check(image, &options, &result, &err), -ENOTSUP);
    cr_expect_str_eq(err.text, "This image format does not support checks");
    qimg_image_close(image);
}

Test(check, does_not_undo_onto_another_image)
{
    struct qimg_check_result result;
    unsigned found;

    cr_assert_eq(check(QIMG_CHECK_FIX_ALL, "u", &result, &found), 0, "%s", err.text);
    cr_expect_lt(qimg_check_undo(context, "nox", "a.qcow2", &err), 0);
    cr_expect_lt(qimg_check_undo(context, "u", "nox", &err), 0);
    cr_expect_lt(qimg_check_undo(context, "a.qcow2", "a.qcow2", &err), 0);
    cr_expect_not_null(strstr(err.text, "not an undo file"), "%s", err.text);
}

struct telling {
    unsigned calls, stop_at; /* 0 = never */
    uint64_t last, total;
};

static int tell(void *user, uint64_t done, uint64_t total)
{
    struct telling *t = user;

    cr_expect_geq(done, t->last);
    cr_expect_leq(done, total);
    t->last = done;
    t->total = total;
    return ++t->calls == t->stop_at;
}

/* Four L2 tables; one entry lacks its COPIED flag. */
static int check_four_tables(enum qimg_check_fix fix, struct telling *t)
{
    static const struct build_cluster four[] = {
        { .index = 0, .fill = 1 },
        { .index = 64, .fill = 2 },
        { .index = 128, .fill = 3 },
        { .index = 192, .fill = 4, .shared = true },
    };
    static const struct build_qcow2 small = {
        .size = 256 * 512, .cluster_bits = 9, .clusters = four, .cluster_count = 4
    };
    const struct qimg_open_options how = { .check = true, .writable = fix != QIMG_CHECK_FIX_NONE };
    const struct qimg_check_options options = { .fix = fix, .progress = tell, .user = t };
    struct qimg_check_result result;
    struct qimg_image *image;

    build_qcow2_file(&small, "four.qcow2");
    cr_assert_eq(qimg_image_open(context, "four.qcow2", &how, &image, &err), 0, "%s", err.text);
    const int rc = qimg_image_check(image, &options, &result, &err);
    qimg_image_close(image);
    return rc;
}

Test(check, progress_counts_up_through_all_its_walks)
{
    struct telling looked = { 0 }, mended = { 0 };

    cr_expect_eq(check_four_tables(QIMG_CHECK_FIX_NONE, &looked), 0);
    cr_expect_eq(looked.total, 2 * 4);
    cr_expect_eq(looked.calls, 2 * 4);
    cr_expect_eq(check_four_tables(QIMG_CHECK_FIX_ALL, &mended), 0);
    cr_expect_eq(mended.total, 2 * 4);
    cr_expect_eq(mended.calls, 2 * 4);
}

Test(check, it_can_be_stopped_until_it_mends)
{
    for (unsigned at = 1; at <= 8; at++) {
        struct telling looks = { .stop_at = at }, mends = { .stop_at = at };
        cr_expect_eq(check_four_tables(QIMG_CHECK_FIX_NONE, &looks), -ECANCELED, "at %u", at);
        cr_expect_eq(check_four_tables(QIMG_CHECK_FIX_ALL, &mends), at <= 4 ? -ECANCELED : 0,
                     "at %u", at);
    }
}

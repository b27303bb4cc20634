/* SPDX-License-Identifier: Apache-2.0
 *
 * qimg_create and qimg_image_set_backing: QEMU's words, whose file may be touched, what is left
 * where they fail.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "sim_rig.h"

struct heard {
    char text[1024];
};

static void hear(void *user, const char *text)
{
    struct heard *heard = user;
    (void)snprintf(heard->text, sizeof(heard->text), "%s", text);
}

static int make(struct sim_rig *rig, const char *name, struct qimg_create_options how,
                struct heard *heard, struct qimg_error *err)
{
    heard->text[0] = '\0';
    how.announce = hear;
    how.user = heard;
    qimg_error_clear(err);
    return qimg_create(rig->context, name, &how, err);
}

static struct qimg_create_options qcow2(uint64_t size)
{
    return (struct qimg_create_options){ .format = "qcow2", .has_size = true, .size = size };
}

#define DEFAULTS(size) \
    "Formatting 'a', fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib " \
    "size=" size " lazy_refcounts=off refcount_bits=16"

Test(create, the_line_and_the_refusal_are_qemus)
{
    static const struct {
        struct qimg_option option;
        const char *line, *error; /* NULL: not there */
    } cases[] = {
        { { "lazy_refcounts", "off" }, DEFAULTS("1048576"), NULL },
        { { "refcount_bits", "0x10" }, DEFAULTS("1048576"), NULL },
        { { "cluster_size", "100" },
          "Formatting 'a', fmt=qcow2 cluster_size=100 extended_l2=off compression_type=zlib "
          "size=1048576 lazy_refcounts=off refcount_bits=16",
          "a: Cluster size must be a power of two between 512 and 2048k" },
        { { "compat", "v9" },
          "Formatting 'a', fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib "
          "size=1048576 compat=v9 lazy_refcounts=off refcount_bits=16",
          "a: Parameter 'version' does not accept value 'v9'" },
        { { "preallocation", "some" },
          "Formatting 'a', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=some "
          "compression_type=zlib size=1048576 lazy_refcounts=off refcount_bits=16",
          "a: Parameter 'preallocation' does not accept value 'some'" },
        { { "data_file_raw", "on" },
          "Formatting 'a', fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib "
          "size=1048576 data_file_raw=on lazy_refcounts=off refcount_bits=16",
          "a: data-file-raw requires data-file" },
        { { "foo", "on" }, NULL, "a: Invalid parameter 'foo'" },
        { { "size", "2M" }, NULL, "a: The image size must be specified only once" },
        { { "lazy_refcounts", "maybe" },
          NULL,
          "a: Parameter 'lazy_refcounts' expects 'on' or 'off'" },
        { { "refcount_bits", "16x" }, NULL, "a: Parameter 'refcount_bits' expects a number" },
        { { "cluster_size", "1Q" },
          NULL,
          "a: Parameter 'cluster_size' expects a non-negative number below 2^64" },
        { { "cluster_size", "99999999999999999999" },
          NULL,
          "a: Value '99999999999999999999' is out of range for parameter 'cluster_size'" },
        { { "backing_file", "" }, NULL, "a: Expected backing file name, got empty string" },
        { { "backing_file", "a" },
          NULL,
          "a: Error: Trying to create an image with the same filename as the backing file" },
        { { "encryption", "on" },
          "Formatting 'a', fmt=qcow2 encryption=on cluster_size=65536 extended_l2=off "
          "compression_type=zlib size=1048576 lazy_refcounts=off refcount_bits=16",
          "a: Parameter 'encryption': creating encrypted images is not supported" },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        struct qimg_create_options how = qcow2(MiB);
        struct heard heard;
        struct qimg_error err;
        how.options = &cases[i].option;
        how.option_count = 1;
        const int rc = make(rig, "a", how, &heard, &err);
        cr_expect_str_eq(heard.text, cases[i].line ? cases[i].line : "", "%s: %s",
                         cases[i].option.key, heard.text);
        cr_expect_str_eq(rc < 0 ? err.text : "", cases[i].error ? cases[i].error : "", "%s: %s",
                         cases[i].option.key, err.text);
        cr_expect_eq(io_sim_size(rig->engine, "a") == UINT64_MAX, rc < 0, "%s",
                     cases[i].option.key);
        sim_rig_free(rig);
    }
}

Test(create, commas_are_doubled_and_a_raw_size_is_shown_as_given)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_create_options how = qcow2(MiB);
    struct heard heard;
    struct qimg_error err;

    how.backing_name = "x,y";
    how.backing_format = "raw";
    how.backing_unchecked = true;
    cr_expect_eq(make(rig, "o", how, &heard, &err), 0, "%s", err.text);
    cr_expect_not_null(strstr(heard.text, " backing_file=x,,y backing_fmt=raw "), "%s", heard.text);
    cr_expect_eq(make(rig, "r", (struct qimg_create_options){ .has_size = true, .size = 1000 },
                      &heard, &err),
                 0);
    cr_expect_str_eq(heard.text, "Formatting 'r', fmt=raw size=1000");
    cr_expect_eq(io_sim_size(rig->engine, "r"), 1024);
    sim_rig_free(rig);
}

/* --- the backing file ----------------------------------------------------------------------- */

Test(create, size_comes_from_the_backing_file_and_its_own_references_stay_closed)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_create_options how = { .format = "qcow2", .backing_format = "qcow2" };
    struct heard heard;
    struct qimg_error err;
    struct qimg_create_options broken = qcow2(5 * MiB);

    broken.backing_name = "gone";
    broken.backing_format = "raw";
    broken.backing_unchecked = true;
    cr_assert_eq(make(rig, "dir/mid", broken, &heard, &err), 0, "%s", err.text);
    how.backing_name = "mid";
    cr_expect_eq(make(rig, "dir/top", how, &heard, &err), 0, "%s", err.text);
    cr_expect_not_null(strstr(heard.text, " size=5242880 "), "%s", heard.text);

    how.backing_name = "nox";
    cr_expect_lt(make(rig, "dir/x", how, &heard, &err), 0);
    cr_expect_str_eq(err.text, "dir/x: Could not open 'dir/nox': No such file or directory");
    cr_expect_str_eq(err.hint, "Could not open backing image.");
    cr_expect_str_eq(heard.text, "");

    how.backing_name = "mid";
    how.backing_format = NULL;
    cr_expect_lt(make(rig, "dir/x", how, &heard, &err), 0);
    cr_expect_str_eq(err.text, "dir/x: Backing file specified without backing format");
    cr_expect_str_eq(err.hint, "Detected format of qcow2.");

    how.backing_unchecked = true;
    how.backing_format = "raw";
    cr_expect_lt(make(rig, "dir/x", how, &heard, &err), 0);
    cr_expect_str_eq(err.text, "dir/x: Image creation needs a size parameter");
    sim_rig_free(rig);
}

Test(create, the_backing_file_under_another_spelling_is_not_overwritten)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_create_options how = { .backing_name = "base", .backing_format = "raw" };
    struct heard heard;
    struct qimg_error err;
    char where[] = "/tmp/qimg-create-XXXXXX", base[64], other[64];

    how.format = "qcow2";
    sim_rig_free(rig);
    cr_assert_not_null(mkdtemp(where));
    (void)snprintf(base, sizeof(base), "%s/base", where);
    (void)snprintf(other, sizeof(other), "%s/./base", where);
    FILE *file = fopen(base, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fputs("guest data", file) < 0, 0);
    (void)fclose(file);

    struct sim_rig real = { 0 };
    cr_assert_eq(qimg_context_new(NULL, &real.context, &err), 0);
    cr_expect_lt(make(&real, other, how, &heard, &err), 0);
    cr_expect_not_null(strstr(err.text, "same filename as the backing file"), "%s", err.text);
    char text[16] = "";
    file = fopen(base, "r");
    cr_assert_not_null(file);
    cr_expect_not_null(fgets(text, sizeof(text), file));
    (void)fclose(file);
    cr_expect_str_eq(text, "guest data");
    qimg_context_free(real.context);
    (void)unlink(base);
    (void)rmdir(where);
}

/* --- what failures leave -------------------------------------------------------------------- */

Test(create, a_failure_at_any_operation_leaves_nothing_or_an_older_file_empty)
{
    for (int older = 0; older < 2; older++) {
        for (uint64_t n = 1;; n++) {
            struct sim_rig *rig = sim_rig_new(NULL);
            struct heard heard;
            struct qimg_error err;
            if (older)
                cr_assert_eq(io_sim_put(rig->engine, "a", "old", 3, 3), 0);
            io_sim_fault(rig->engine, io_sim_operations(rig->engine) + n, IO_SIM_EIO, false);
            const int rc = make(rig, "a", qcow2(MiB), &heard, &err);
            const bool met = io_sim_operations(rig->engine) >= n;
            const uint64_t size = io_sim_size(rig->engine, "a");
            if (rc < 0 && older)
                cr_expect(size == 0 || size == 3, "fault %lu: %lu bytes", (unsigned long)n,
                          (unsigned long)size);
            if (rc < 0 && !older)
                cr_expect_eq(size, UINT64_MAX, "fault %lu: still there", (unsigned long)n);
            sim_rig_free(rig);
            if (rc == 0 && !met)
                break;
            cr_assert_lt(n, 60);
        }
    }
}

Test(create, a_data_file_is_made_beside_the_image_and_is_never_a_protocol)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    const struct qimg_option data = { "data_file", "d.raw" }, url = { "data_file", "nbd:x" };
    struct qimg_create_options how = qcow2(MiB);
    struct heard heard;
    struct qimg_error err;

    how.options = &data;
    how.option_count = 1;
    cr_expect_eq(make(rig, "dir/a", how, &heard, &err), 0, "%s", err.text);
    cr_expect_eq(io_sim_size(rig->engine, "dir/d.raw"), MiB);
    how.options = &url;
    cr_expect_lt(make(rig, "dir/b", how, &heard, &err), 0);
    cr_expect_str_eq(err.text, "dir/b: Unknown protocol 'nbd'");
    cr_expect_eq(io_sim_size(rig->engine, "dir/b"), UINT64_MAX);
    sim_rig_free(rig);
}

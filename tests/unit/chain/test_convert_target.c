/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "sim_rig.h"

static const struct {
    const char *name;
    struct qimg_convert_options options;
    const char *before; /* what "out" holds */
    int want;
    const char *text;
} refusals[] = {
    { "unknown format",
      { .target = "out", .target_format = "nosuch" },
      NULL,
      -ENOENT,
      "Unknown file format 'nosuch'" },
    { "a format without images to make",
      { .target = "out", .target_format = "bochs" },
      NULL,
      -ENOTSUP,
      "Format driver 'bochs' does not support image creation" },
    { "unknown format of what is there",
      { .target = "out", .target_format = "nosuch", .no_create = true },
      "x",
      -EINVAL,
      "Could not open 'out': Unknown driver 'nosuch'" },
    { "an overlay of raw",
      { .target = "out", .backing_name = "a", .backing_format = "raw" },
      NULL,
      -EINVAL,
      "Backing file not supported for file format 'raw'" },
    { "an overlay without format",
      { .target = "out", .target_format = "qcow2", .backing_name = "a" },
      NULL,
      -EINVAL,
      "Use of backing file requires explicit backing format" },
    { "an overlay of nothing",
      { .target = "out", .target_format = "qcow2", .backing_name = "nox", .backing_format = "raw" },
      "x",
      -ENOENT,
      "Could not open 'out': Could not open backing file: "
      "Could not open 'nox': No such file or directory" },
    { "an overlay of itself",
      { .target = "out", .target_format = "qcow2", .backing_name = "out", .backing_format = "raw" },
      "x",
      -EINVAL,
      "out: error while converting qcow2: Error: Trying to create an image with the same "
      "filename as the backing file" },
    { "a compressed raw file",
      { .target = "out", .compress = true },
      NULL,
      -ENOTSUP,
      "Compression not supported for this file format" },
    { "a compressed raw file that is there",
      { .target = "out", .compress = true, .no_create = true, .target_format = "raw" },
      "x",
      -ENOTSUP,
      "Compression not supported for this file format" },
    { "bitmaps of raw",
      { .target = "out", .target_format = "qcow2", .bitmaps = true },
      NULL,
      -ENOTSUP,
      "Source lacks bitmap support" },
    { "too small",
      { .target = "out", .no_create = true },
      "x",
      -EINVAL,
      "output file is smaller than input file" },
    { "not there",
      { .target = "out", .no_create = true },
      NULL,
      -ENOENT,
      "Could not open 'out': Could not open 'out': No such file or directory" },
    { "unknown option",
      { .target = "out", .option_count = 1, .options = &(const struct qimg_option){ "foo", "1" } },
      NULL,
      -EINVAL,
      "Invalid parameter 'foo'" },
    { "the source itself",
      { .target = "a" },
      NULL,
      -EAGAIN,
      "a: error while converting raw: Failed to get \"write\" lock" },
    { "the source itself, -n",
      { .target = "a", .no_create = true },
      NULL,
      -EAGAIN,
      "Could not open 'a': Failed to get \"write\" lock" },
};

Test(convert_target, refusals_are_qemus_and_touch_nothing)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        struct qimg_convert_options options = refusals[i].options;
        struct qimg_error err;

        sim_rig_raw(rig, "a", "abc");
        if (refusals[i].before)
            sim_rig_raw(rig, "out", refusals[i].before);
        struct qimg_image *source = sim_rig_open(rig, "a", NULL);
        options.sources = &source;
        options.source_count = 1;
        options.sparse_size = 4096;
        cr_expect_eq(qimg_convert(rig->context, &options, &err), refusals[i].want, "%s",
                     refusals[i].name);
        cr_expect_str_eq(err.text, refusals[i].text, "%s: %s", refusals[i].name, err.text);
        cr_expect_eq(io_sim_size(rig->engine, "out"), refusals[i].before ? 4096 : UINT64_MAX, "%s",
                     refusals[i].name);
        cr_expect_eq(io_sim_size(rig->engine, "a"), 3 * 4096, "%s", refusals[i].name);
        qimg_image_close(source);
        sim_rig_free(rig);
    }
}

static unsigned count_allocations(struct sim_rig *rig)
{
    size_t count;
    unsigned n = 0;
    const struct io_sim_entry *log = io_sim_log(rig->engine, &count);

    for (size_t i = 0; i < count; i++)
        n += log[i].op == IO_SIM_ALLOCATE && log[i].off == 0 && log[i].len == 8 * 4096;
    return n;
}

static uint64_t allocated(struct sim_rig *rig, const char *name)
{
    struct io_file *file;
    struct io_stat st;

    cr_assert_eq(io_file_open(rig->engine, name, &(struct io_open_options){ 0 }, &file), 0);
    cr_assert_eq(io_stat(file, &st), 0);
    cr_expect_eq(st.size, 8 * 4096);
    io_file_close(file);
    return st.allocated;
}

Test(convert_target, preallocation_reserves_all_of_the_file)
{
    static const struct {
        const char *mode;
        uint64_t written;
        unsigned allocations;
    } modes[] = { { "off", 2 * 4096, 0 }, { "falloc", 2 * 4096, 1 }, { "full", 8 * 4096, 0 } };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        const struct qimg_option option = { "preallocation", modes[i].mode };
        struct qimg_error err;

        sim_rig_raw(rig, "a", "a......b");
        struct qimg_image *source = sim_rig_open(rig, "a", NULL);
        const struct qimg_convert_options options = { .sources = &source,
                                                      .source_count = 1,
                                                      .target = "out",
                                                      .options = &option,
                                                      .option_count = 1,
                                                      .sparse_size = 4096 };
        cr_assert_eq(qimg_convert(rig->context, &options, &err), 0, "%s", err.text);
        const uint64_t got = allocated(rig, "out");
        cr_expect_eq(got, modes[i].written, "%s: %lu", modes[i].mode, (unsigned long)got);
        cr_expect_eq(count_allocations(rig), modes[i].allocations, "%s", modes[i].mode);
        qimg_image_close(source);
        sim_rig_free(rig);
    }
}

/* Converts "a" into the image "out" on a machine that stops after @operations; false: it had
 * enough of them. */
static bool stops(struct sim_rig *rig, uint64_t operations)
{
    struct qimg_image *source = sim_rig_open(rig, "a", NULL);
    const struct qimg_convert_options options = { .sources = &source,
                                                  .source_count = 1,
                                                  .target = "out",
                                                  .target_format = "qcow2",
                                                  .sparse_size = 4096 };
    struct qimg_error err;

    io_sim_stop_after(rig->engine, io_sim_operations(rig->engine) + operations);
    const int rc = qimg_convert(rig->context, &options, &err);
    qimg_image_close(source);
    return rc < 0;
}

/* After a power cut "out" is whole, or it is no image at all. */
static void expect_whole_or_nothing(struct sim_rig *rig, uint64_t seed, bool finished)
{
    struct io_engine *after, *before = rig->engine;
    struct qimg_image *image = NULL;
    struct qimg_error err;
    char block[4096];

    cr_assert_eq(io_sim_power_cut(before,
                                  &(struct io_sim_cut){ .survivors = IO_SIM_RANDOM, .seed = seed },
                                  &after),
                 0);
    rig->context->engine = after;
    const struct qimg_open_options how = { .format = "qcow2" };
    const int rc = qimg_image_open(rig->context, "out", &how, &image, &err);
    cr_expect(rc == 0 || !finished, "%s", err.text);
    if (rc == 0) {
        cr_expect_eq(qimg_image_size(image), 6 * 4096u);
        for (size_t i = 0; i < 6; i++) {
            cr_assert_eq(qimg_image_read(image, i * 4096, block, sizeof(block), &err), 0);
            cr_expect_eq(block[99], "ab\0c\0d"[i], "seed %lu, block %zu", (unsigned long)seed, i);
        }
        qimg_image_close(image);
    }
    rig->context->engine = before;
    io_engine_free(after);
}

Test(convert_target, a_new_image_is_whole_or_nothing_after_a_power_cut)
{
    unsigned whole = 0;

    for (uint64_t n = 1; whole == 0 && n < 200; n++) {
        struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .seed = n });
        sim_rig_raw(rig, "a", "ab.c0d");
        whole += !stops(rig, n);
        for (uint64_t seed = 0; seed < 6; seed++)
            expect_whole_or_nothing(rig, seed, whole > 0);
        sim_rig_free(rig);
    }
    cr_expect_eq(whole, 1);
}

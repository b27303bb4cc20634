/* SPDX-License-Identifier: Apache-2.0
 *
 * Other lengths of raw images.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "admin.h"
#include "bits.h"
#include "io_sim.h"
#include "raw.h"

static struct image *open_raw(struct io_engine *engine)
{
    const struct io_open_options how = { .writable = true };
    const struct image_open_options as = { .writable = true };
    struct io_file *file;
    struct image *image;
    struct qimg_error err;

    cr_assert_eq(io_file_open(engine, "disk", &how, &file), 0);
    cr_assert_eq(raw_ops.open(file, &as, &image, &err), 0);
    return image;
}

static int resize_to(struct image *image, uint64_t size, enum preallocation mode,
                     struct qimg_error *err)
{
    const struct resize_request request = { .size = size, .preallocation = mode };

    return raw_admin_ops.resize(image, &request, err);
}

Test(raw_resize, the_file_gets_the_length_and_the_disk_whole_sectors)
{
    static const struct {
        uint64_t size, disk;
        enum preallocation mode;
    } cases[] = {
        { 8192, 8192, PREALLOC_OFF },
        { 1000, 1024, PREALLOC_OFF },
        { 100000, 100352, PREALLOC_FALLOC },
        { 200192, 200192, PREALLOC_FULL },
    };
    struct io_engine *engine;
    struct qimg_error err;
    uint8_t byte;

    cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
    cr_assert_eq(io_sim_put(engine, "disk", "data", 4, 4096), 0);
    struct image *image = open_raw(engine);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_assert_eq(resize_to(image, cases[i].size, cases[i].mode, &err), 0, "%s", err.text);
        cr_expect_eq(io_sim_size(engine, "disk"), cases[i].size, "case %zu", i);
        cr_expect_eq(image->size, cases[i].disk, "case %zu", i);
        cr_assert(io_sim_get(engine, "disk", cases[i].size - 1, &byte, 1));
        cr_expect_eq(byte, 0);
    }
    image_close(image);
    io_engine_free(engine);
}

Test(raw_resize, what_cannot_be_preallocated_leaves_the_old_length)
{
    struct io_engine *engine;
    struct qimg_error err;

    cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
    cr_assert_eq(io_sim_put(engine, "disk", "data", 4, 4096), 0);
    struct image *image = open_raw(engine);
    cr_expect_eq(resize_to(image, 8192, PREALLOC_METADATA, &err), -ENOTSUP);
    cr_expect_str_eq(err.text, "Unsupported preallocation mode: metadata");
    io_sim_fault(engine, io_sim_operations(engine) + 1, IO_SIM_ENOSPC, false);
    cr_expect_eq(resize_to(image, 1 << 20, PREALLOC_FULL, &err), -ENOSPC);
    cr_expect_str_eq(err.text, "Could not write zeros for preallocation: No space left on device");
    cr_expect_eq(io_sim_size(engine, "disk"), 4096);
    cr_expect_eq(image->size, 4096);
    image_close(image);
    io_engine_free(engine);
}

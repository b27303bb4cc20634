/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls around verbs: QEMU's words in front, sizes refused, maps that follow.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "qimg/admin.h"
#include "qimg/check.h"
#include "sim_rig.h"

static struct qimg_image *open_writable(struct sim_rig *rig, const char *name, const char *format)
{
    const struct qimg_open_options how = { .format = format, .writable = true };
    struct qimg_image *image;
    struct qimg_error err;

    cr_assert_eq(qimg_image_open(rig->context, name, &how, &image, &err), 0, "%s", err.text);
    return image;
}

static void create(struct sim_rig *rig, const char *name)
{
    const struct qimg_create_options options = {
        .format = "qcow2", .sync = true, .has_size = true, .size = 1 << 20
    };
    struct qimg_error err;

    cr_assert_eq(qimg_create(rig->context, name, &options, &err), 0, "%s", err.text);
}

Test(chain_admin, errors_begin_as_qemu_img_begins_them)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_error err;

    sim_rig_raw(rig, "raw", "aa");
    create(rig, "disk");
    struct qimg_image *raw = open_writable(rig, "raw", "raw");
    struct qimg_image *disk = open_writable(rig, "disk", "qcow2");
    cr_expect_eq(qimg_snapshot_create(raw, "s", NULL, &err), -ENOTSUP);
    cr_expect_str_eq(err.text, "Could not create snapshot 's': Operation not supported");
    cr_expect_eq(qimg_snapshot_apply(raw, "s", NULL, &err), -ENOTSUP);
    cr_expect_str_eq(err.text, "Could not apply snapshot 's': Block driver does not support "
                               "internal snapshots");
    cr_expect_eq(qimg_snapshot_delete(raw, "s", NULL, &err), -ENOENT);
    cr_expect_str_eq(err.text, "Could not delete snapshot 's': snapshot not found");
    cr_expect_eq(qimg_snapshot_apply(disk, "s", NULL, &err), -ENOENT);
    cr_expect_str_eq(err.text, "Could not apply snapshot 's': Failed to load snapshot: No such "
                               "file or directory");
    qimg_image_close(raw);
    qimg_image_close(disk);
    sim_rig_free(rig);
}

Test(chain_admin, an_image_that_is_open_for_reading_is_refused)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    const struct qimg_resize_options bigger = { .size = 2 << 20 };
    struct qimg_error err;

    create(rig, "disk");
    struct qimg_image *image = sim_rig_open(rig, "disk", "qcow2");
    cr_expect_eq(qimg_image_resize(image, &bigger, &err), -EACCES);
    cr_expect_eq(qimg_snapshot_create(image, "s", NULL, &err), -EACCES);
    qimg_image_close(image);
    sim_rig_free(rig);
}

Test(chain_admin, size_and_map_of_the_open_image_follow)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_extent extents[4];
    struct qimg_error err;
    struct qimg_resize_options to = { .size = 3 << 20 };

    create(rig, "disk");
    struct qimg_image *image = open_writable(rig, "disk", "qcow2");
    cr_expect_eq(qimg_image_map(image, (struct qimg_range){ 0, 1 << 20 }, false, extents, 4, &err),
                 1);
    cr_assert_eq(qimg_image_resize(image, &to, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_size(image), 3 << 20);
    cr_expect_eq(qimg_image_map(image, (struct qimg_range){ 0, 3 << 20 }, false, extents, 4, &err),
                 1);
    cr_expect_eq(extents[0].len, 3 << 20);
    to.size = 1 << 20;
    cr_expect_eq(qimg_image_resize(image, &to, &err), -EINVAL);
    cr_expect_str_eq(err.text, "Use the --shrink option to perform a shrink operation.");
    to.shrink = true;
    to.preallocation = QIMG_PREALLOC_FULL;
    cr_expect_eq(qimg_image_resize(image, &to, &err), -EINVAL);
    cr_expect_str_eq(err.text, "Preallocation can only be used for growing images");
    to = (struct qimg_resize_options){ .size = INT64_MAX };
    cr_expect_lt(qimg_image_resize(image, &to, &err), 0);
    cr_expect_str_eq(err.text, "offset(9223372036854775807) exceeds maximum(9223372035781033984)");
    qimg_image_close(image);
    sim_rig_free(rig);
}

struct telling {
    unsigned calls, stop_at;
    uint64_t last, total;
};

static int tell(void *user, uint64_t done, uint64_t total)
{
    struct telling *t = user;

    cr_expect_geq(done, t->last);
    t->last = done;
    t->total = total;
    return t->calls++ == t->stop_at;
}

Test(chain_admin, a_resize_that_is_stopped_leaves_the_image_as_it_was)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_error err;

    create(rig, "disk");
    sim_rig_raw(rig, "raw", "aa");
    static const char *const formats[] = { "qcow2", "raw" };
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "raw" : "disk";
        const uint64_t before = io_sim_size(rig->engine, name);
        struct qimg_image *image = open_writable(rig, name, formats[i]);
        const uint64_t size = qimg_image_size(image);
        struct telling t = { .stop_at = 2 };
        struct qimg_resize_options to = {
            .size = 16 << 20, .preallocation = QIMG_PREALLOC_FULL, .progress = tell, .user = &t
        };
        qimg_error_clear(&err);
        cr_expect_eq(qimg_image_resize(image, &to, &err), -ECANCELED, "%s", name);
        cr_expect_eq(err.code, ECANCELED);
        cr_expect_eq(qimg_image_size(image), size);
        qimg_image_close(image);
        if (i)
            cr_expect_eq(io_sim_size(rig->engine, name), before);

        image = open_writable(rig, name, formats[i]);
        t = (struct telling){ .stop_at = UINT32_MAX };
        cr_expect_eq(qimg_image_resize(image, &to, &err), 0, "%s: %s", name, err.text);
        cr_expect_gt(t.calls, 4);
        cr_expect_eq(t.total, (16 << 20) - size);
        qimg_image_close(image);
    }
    struct qimg_check_result found;
    const struct qimg_open_options how = { .check = true };
    const struct qimg_check_options only_look = { .fix = QIMG_CHECK_FIX_NONE };
    struct qimg_image *image;
    cr_assert_eq(qimg_image_open(rig->context, "disk", &how, &image, &err), 0);
    cr_expect_eq(qimg_image_check(image, &only_look, &found, &err), 0);
    cr_expect_eq(found.corruptions + found.leaks + found.check_errors, 0);
    qimg_image_close(image);
    sim_rig_free(rig);
}

Test(chain_admin, modes_have_the_names_of_qemu)
{
    enum qimg_preallocation mode;

    cr_expect_eq(qimg_preallocation_parse("falloc", &mode), 0);
    cr_expect_eq(mode, QIMG_PREALLOC_FALLOC);
    cr_expect_eq(qimg_preallocation_parse("foo", &mode), -EINVAL);
}
